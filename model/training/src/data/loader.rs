//! Batches ahead of the step that needs them, encoded on threads of their own.
//!
//! Threads take the records of the plan one after the other, in its order, and wait where a record belongs to a batch
//! that is further ahead than allowed; the consumer takes batches in order as they become whole. So what is delivered
//! doesn't depend on how fast a thread is, and no more than `ahead + 1` batches are held.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use burn::data::dataset::Dataset;
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::lengths::get;
use super::{BadRecords, Batch, BatchPlan, DataError, Encoder, RecordResult, Sample};

/// How batches are loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoaderOptions {
    /// Threads that decode and encode (2).
    pub threads: usize,
    /// Batches that may be ready or in work beside the one that was asked for (1).
    pub ahead: usize,
    /// What is done about a bad record.
    pub bad: BadRecords,
}

impl Default for LoaderOptions {
    fn default() -> Self {
        Self { threads: 2, ahead: 1, bad: BadRecords::Stop }
    }
}

/// A batch of the plan.
#[derive(Debug)]
pub struct Loaded {
    /// Its step in the plan.
    pub step: usize,
    /// Its samples.
    pub batch: Batch,
    /// Bad records that were left out: of this step, and of steps before it in which nothing was left.
    pub skipped: Vec<DataError>,
}

/// Delivers the batches of a plan in order. Dropping it ends its threads, after the records at hand.
///
/// The iterator ends behind the last batch, and behind the first error. A step whose records are all bad is passed over
/// under [`BadRecords::Skip`].
pub struct Loader {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Ends with the loader; dropped before the threads are waited for.
    pool: Option<ThreadPool>,
    bad: BadRecords,
    /// The step that comes next.
    step: usize,
    ended: bool,
}

/// What threads and consumer share.
struct Shared {
    dataset: Arc<dyn Dataset<RecordResult>>,
    encoder: Arc<Encoder>,
    plan: Arc<BatchPlan>,
    ahead: usize,
    state: Mutex<State>,
    changed: Condvar,
}

/// A record on its way; `None` while it is in work.
type Slot = Option<Result<Sample, DataError>>;

struct State {
    /// The batches at hand: the one that the consumer waits for, and those ahead of it.
    batches: VecDeque<Vec<Slot>>,
    /// The step of the first of these.
    first: usize,
    /// What is to be encoded next: a step, and the place in its batch.
    next: (usize, usize),
    stopped: bool,
}

impl Loader {
    /// Starts at a step of the plan: 0, or the one at which training goes on.
    ///
    /// # Errors
    /// [`DataError::Option`] for no threads, or for more than the system gives.
    pub fn start(
        dataset: Arc<dyn Dataset<RecordResult>>,
        encoder: Arc<Encoder>,
        plan: Arc<BatchPlan>,
        step: usize,
        options: LoaderOptions,
    ) -> Result<Self, DataError> {
        let value = options.threads.to_string();
        if options.threads == 0 {
            return Err(DataError::Option { name: "threads", value, expected: "a positive number" });
        }
        let state = State { batches: VecDeque::new(), first: step, next: (step, 0), stopped: false };
        let (state, changed, ahead) = (Mutex::new(state), Condvar::new(), options.ahead);
        let shared = Arc::new(Shared { dataset, encoder, plan, ahead, state, changed });
        // A pool of its own: what a picture's rows are computed on must not wait for the kernels of a training step.
        let mut threads = Vec::new();
        let pool = ThreadPoolBuilder::new().num_threads(options.threads).spawn_handler(|thread| {
            let name = format!("loader {}", thread.index());
            threads.push(thread::Builder::new().name(name).spawn(|| thread.run())?);
            Ok(())
        });
        let Ok(pool) = pool.build() else {
            return Err(DataError::Option { name: "threads", value, expected: "as many as the system gives" });
        };
        // Not `spawn`: a thread that waits for a part of its picture would take a loop that was not begun, and never
        // come back to the picture that everyone waits for.
        let worker = shared.clone();
        pool.spawn_broadcast(move |_| worker.work());
        Ok(Self { shared, threads, pool: Some(pool), bad: options.bad, step, ended: false })
    }

    /// The samples of the step that comes next, and what is wrong with the others.
    fn wait(&mut self) -> (Vec<Sample>, Vec<DataError>) {
        let mut state = self.shared.lock();
        loop {
            let whole = |batch: &Vec<Slot>| batch.iter().all(Option::is_some);
            if let Some(batch) = state.batches.pop_front_if(|batch| whole(batch)) {
                state.first += 1;
                self.shared.changed.notify_all();
                drop(state);
                let (mut samples, mut errors) = (Vec::new(), Vec::new());
                for result in batch.into_iter().flatten() {
                    match result {
                        Ok(sample) => samples.push(sample),
                        Err(error) => errors.push(error),
                    }
                }
                return (samples, errors);
            }
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Iterator for Loader {
    type Item = Result<Loaded, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut skipped = Vec::new();
        while !self.ended && self.step < self.shared.plan.len() {
            let step = self.step;
            let (samples, errors) = self.wait();
            self.step += 1;
            for error in errors {
                if self.bad == BadRecords::Stop {
                    self.ended = true;
                    return Some(Err(error));
                }
                tracing::warn!("left out: {error}");
                skipped.push(error);
            }
            if !samples.is_empty() {
                return Some(Ok(Loaded { step, batch: Batch { samples }, skipped }));
            }
        }
        self.ended = true;
        None
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.shared.changed.notify_all();
        drop(self.pool.take());
        for thread in self.threads.drain(..) {
            // Work catches its panics.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Nothing is left half done by a thread that panics inside.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a thread does until the plan or the loader ends.
    fn work(&self) {
        while let Some((step, place, record)) = self.take() {
            let result = catch_unwind(AssertUnwindSafe(|| self.encoder.encode(&get(&*self.dataset, record)?)));
            let result = result.unwrap_or_else(|panic| {
                let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
                Err(DataError::Worker { record, reason: format!("a panic: {text}") })
            });
            let mut state = self.lock();
            let first = state.first;
            if let Some(batch) = step.checked_sub(first).and_then(|at| state.batches.get_mut(at)) {
                batch[place] = Some(result);
            }
            self.changed.notify_all();
        }
    }

    /// The next record to encode, with its step and place; `None` at the end.
    fn take(&self) -> Option<(usize, usize, usize)> {
        let mut state = self.lock();
        loop {
            let (step, place) = state.next;
            if state.stopped || step >= self.plan.len() {
                return None;
            }
            if step <= state.first.saturating_add(self.ahead) {
                let records = self.plan.get(step)?;
                if records.is_empty() {
                    // Another node's.
                    state.batches.push_back(Vec::new());
                    state.next = (step + 1, 0);
                    self.changed.notify_all();
                    continue;
                }
                if place == 0 {
                    state.batches.push_back(records.iter().map(|_| None).collect());
                }
                state.next = if place + 1 < records.len() { (step, place + 1) } else { (step + 1, 0) };
                return Some((step, place, records[place]));
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
