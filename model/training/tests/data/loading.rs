//! Batches ahead of the step that needs them.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use burn::data::dataset::Dataset;
use qwen3_vl_train::data::{
    BadRecords, BatchPlan, Batching, DataError, EncodeOptions, Encoder, Lengths, Loader, LoaderOptions, PlanOptions,
    Problem, RecordResult, Source,
};

use crate::setup::{byte_encoder, in_memory, texts};

/// Records of text that take a while, each another one; some are bad, one panics.
struct Slow {
    inner: Arc<dyn Dataset<RecordResult>>,
    delay: fn(usize) -> u64,
    bad: BTreeSet<usize>,
    panics: Option<usize>,
    asked: Mutex<Vec<usize>>,
    alive: Arc<AtomicUsize>,
}

impl Slow {
    fn new(count: usize) -> Self {
        Self {
            inner: in_memory(texts(&(1..=count).collect::<Vec<_>>())),
            delay: |_| 0,
            bad: BTreeSet::new(),
            panics: None,
            asked: Mutex::default(),
            alive: Arc::default(),
        }
    }
}

impl Dataset<RecordResult> for Slow {
    fn get(&self, index: usize) -> Option<RecordResult> {
        self.alive.fetch_add(1, Ordering::SeqCst);
        self.asked.lock().unwrap().push(index);
        thread::sleep(Duration::from_millis((self.delay)(index)));
        self.alive.fetch_sub(1, Ordering::SeqCst);
        assert_ne!(self.panics, Some(index), "record {index} is cursed");
        if self.bad.contains(&index) {
            let at = Source { file: Arc::new("bad.jsonl".into()), record: index + 1, line: index + 1 };
            return Some(Err(DataError::Record { at, problem: Box::new(Problem::NoAnswer) }));
        }
        self.inner.get(index)
    }

    fn len(&self) -> usize {
        self.inner.len()
    }
}

fn encoder() -> Arc<Encoder> {
    Arc::new(byte_encoder(EncodeOptions::default()))
}

fn plan(count: usize, batch: usize) -> Arc<BatchPlan> {
    let options = PlanOptions { batching: Batching::Records(batch), seed: 3, ..Default::default() };
    Arc::new(BatchPlan::new(&Lengths::new((0..count).map(|n| (n, 1))), &options, 0).unwrap())
}

fn start(data: Arc<Slow>, plan: &Arc<BatchPlan>, step: usize, options: LoaderOptions) -> Loader {
    Loader::start(data, encoder(), plan.clone(), step, options).unwrap()
}

/// The records of each batch, by their numbers from 0.
fn records(loader: Loader) -> Vec<(usize, Vec<usize>)> {
    let batch = |loaded: Result<qwen3_vl_train::data::Loaded, DataError>| {
        let loaded = loaded.unwrap();
        (loaded.step, loaded.batch.samples.iter().map(|sample| sample.source.record - 1).collect())
    };
    loader.map(batch).collect()
}

#[test]
fn batches_come_in_the_order_of_the_plan() {
    let plan = plan(40, 3);
    let expected: Vec<_> = plan.iter().map(<[usize]>::to_vec).enumerate().collect();
    for (threads, ahead) in [(1, 0), (1, 1), (4, 1), (4, 5)] {
        let data = Slow { delay: |index| [0, 7, 2, 4][index % 4], ..Slow::new(40) };
        let options = LoaderOptions { threads, ahead, ..Default::default() };
        assert_eq!(records(start(Arc::new(data), &plan, 0, options)), expected, "{threads} {ahead}");
    }
    // From a step on, nothing before it is touched.
    let data = Arc::new(Slow::new(40));
    assert_eq!(records(start(data.clone(), &plan, 10, LoaderOptions::default())), expected[10..]);
    let asked: BTreeSet<usize> = data.asked.lock().unwrap().iter().copied().collect();
    assert_eq!(asked, expected[10..].iter().flat_map(|(_, batch)| batch.clone()).collect());
    assert!(records(start(Arc::new(Slow::new(40)), &plan, plan.len(), LoaderOptions::default())).is_empty());
}

#[test]
fn samples_are_those_of_the_encoder() {
    let plan = plan(6, 2);
    let (data, encoder) = (Arc::new(Slow::new(6)), encoder());
    let loader = Loader::start(data.clone(), encoder.clone(), plan, 0, LoaderOptions::default()).unwrap();
    for loaded in loader {
        let loaded = loaded.unwrap();
        assert!(loaded.skipped.is_empty());
        for sample in loaded.batch.samples {
            let record = data.get(sample.source.record - 1).unwrap().unwrap();
            assert_eq!(sample, encoder.encode(&record).unwrap());
        }
    }
}

#[test]
fn no_more_than_ahead_is_read() {
    for ahead in [0, 1, 3] {
        let plan = plan(40, 2);
        let data = Arc::new(Slow::new(40));
        let mut loader = start(data.clone(), &plan, 0, LoaderOptions { threads: 3, ahead, ..Default::default() });
        for delivered in 1..4 {
            assert!(loader.next().unwrap().is_ok());
            // Long enough for threads that would not wait.
            thread::sleep(Duration::from_millis(30));
            let asked = data.asked.lock().unwrap().len();
            assert_eq!(asked, 2 * (delivered + ahead + 1), "{delivered} {ahead}");
        }
    }
}

#[test]
fn dropping_it_ends_its_threads() {
    let data = Arc::new(Slow { delay: |_| 20, ..Slow::new(100) });
    let plan = plan(100, 10);
    let begin = Instant::now();
    let mut loader = start(data.clone(), &plan, 0, LoaderOptions { threads: 3, ahead: 2, ..Default::default() });
    assert!(loader.next().unwrap().is_ok());
    drop(loader);
    assert_eq!(data.alive.load(Ordering::SeqCst), 0);
    assert!(data.asked.lock().unwrap().len() < 40);
    assert!(begin.elapsed() < Duration::from_secs(10));
    // Threads hold the data set: they are gone.
    assert_eq!(Arc::strong_count(&data), 1);
    // Before the first batch, and without asking for one.
    drop(start(Arc::new(Slow::new(100)), &plan, 0, LoaderOptions::default()));
}

#[test]
fn a_bad_record_stops_or_is_skipped() {
    let plan = plan(12, 3);
    let bad: BTreeSet<usize> = [plan.get(1).unwrap()[2], plan.get(1).unwrap()[1]].into();
    let data = || Arc::new(Slow { bad: bad.clone(), delay: |index| index as u64 % 5, ..Slow::new(12) });
    let mut stop = start(data(), &plan, 0, LoaderOptions { threads: 3, ..Default::default() });
    assert!(stop.next().unwrap().is_ok());
    // The first in the order of the plan, with file and line.
    let error = stop.next().unwrap().unwrap_err();
    let line = plan.get(1).unwrap()[1] + 1;
    assert!(error.to_string().starts_with(&format!("bad.jsonl:{line}: ")), "{error}");
    assert!(stop.next().is_none() && stop.next().is_none());

    let skip = LoaderOptions { bad: BadRecords::Skip, threads: 2, ..Default::default() };
    let loaded: Vec<_> = start(data(), &plan, 0, skip).map(Result::unwrap).collect();
    assert_eq!(
        loaded.iter().map(|l| (l.step, l.batch.samples.len(), l.skipped.len())).collect::<Vec<_>>(),
        [(0, 3, 0), (1, 1, 2), (2, 3, 0), (3, 3, 0)]
    );
    // A step of which nothing is left is passed over, its errors told with the next.
    let all: BTreeSet<usize> = plan.get(0).unwrap().iter().copied().collect();
    let data = Arc::new(Slow { bad: all, ..Slow::new(12) });
    let loaded: Vec<_> = start(data, &plan, 0, skip).map(Result::unwrap).collect();
    assert_eq!((loaded.len(), loaded[0].step, loaded[0].skipped.len()), (3, 1, 3));
}

#[test]
fn a_panic_is_an_error() {
    let plan = plan(4, 2);
    let cursed = plan.get(1).unwrap()[0];
    let data = Arc::new(Slow { panics: Some(cursed), ..Slow::new(4) });
    let results: Vec<_> = start(data, &plan, 0, LoaderOptions::default()).collect();
    assert_eq!(results.len(), 2);
    match results[1].as_ref().unwrap_err() {
        DataError::Worker { record, reason } => assert!(*record == cursed && reason.contains("cursed"), "{reason}"),
        other => panic!("{other}"),
    }
}

#[test]
fn a_data_set_shorter_than_it_says() {
    let plan = plan(6, 6);
    let data = in_memory(texts(&[1, 2]));
    let mut loader = Loader::start(data, encoder(), plan.clone(), 0, LoaderOptions::default()).unwrap();
    assert!(matches!(loader.next(), Some(Err(DataError::Worker { .. }))));
    let options = LoaderOptions { threads: 0, ..Default::default() };
    let error = Loader::start(in_memory(texts(&[1])), encoder(), plan, 0, options).err().unwrap();
    assert!(matches!(error, DataError::Option { name: "threads", .. }));
}
