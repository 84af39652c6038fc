//! Which records make which batch.

use std::collections::BTreeSet;

use qwen3_vl_train::data::{BadRecords, BatchPlan, Batching, DataError, EncodeOptions, Lengths, PlanOptions};

use crate::setup::{byte_encoder, in_memory, texts};

fn lengths(count: usize) -> Lengths {
    // Between 10 and 209, in no order.
    Lengths::new((0..count).map(|n| (10 + n * n * 7919 % 200, 5)))
}

fn options(batching: Batching, group: bool) -> PlanOptions {
    PlanOptions { batching, group, shuffle: true, seed: 7 }
}

const KINDS: [(Batching, bool); 4] = [
    (Batching::Records(3), false),
    (Batching::Records(3), true),
    (Batching::Tokens(400), false),
    (Batching::Tokens(400), true),
];

#[test]
fn every_record_comes_once() {
    let lengths = lengths(1000);
    for (batching, group) in KINDS {
        let plan = BatchPlan::new(&lengths, &options(batching, group), 0).unwrap();
        let mut seen = BTreeSet::new();
        for batch in plan.iter() {
            assert!(!batch.is_empty());
            assert!(batch.iter().all(|&record| seen.insert(record)), "{batching:?}");
            match batching {
                Batching::Records(count) => assert!(batch.len() <= count),
                Batching::Tokens(limit) => {
                    assert!(batch.iter().map(|&r| lengths.tokens(r).unwrap()).sum::<usize>() <= limit);
                }
            }
        }
        assert_eq!(seen.len(), 1000);
        assert_eq!(plan.iter().len(), plan.len());
        assert!(plan.get(plan.len()).is_none());
    }
}

#[test]
fn seed_and_epoch_tell_the_order() {
    let lengths = lengths(200);
    for (batching, group) in KINDS {
        let options = options(batching, group);
        let plan = |options: &PlanOptions, epoch| BatchPlan::new(&lengths, options, epoch).unwrap();
        assert_eq!(plan(&options, 3), plan(&options, 3));
        assert_ne!(plan(&options, 3), plan(&options, 4), "{batching:?}");
        assert_ne!(plan(&options, 3), plan(&PlanOptions { seed: 8, ..options }, 3));
        let fixed = PlanOptions { shuffle: false, ..options };
        assert_eq!(plan(&fixed, 3), plan(&fixed, 4));
    }
}

/// The order of a version must stay that of later ones, or training that was begun could not go on.
#[test]
fn the_order_is_the_recorded_one() {
    let plan = BatchPlan::new(&lengths(8), &options(Batching::Records(1), false), 2).unwrap();
    let order: Vec<usize> = plan.iter().map(|batch| batch[0]).collect();
    assert_eq!(order, RECORDED);
    let fixed = PlanOptions { shuffle: false, batching: Batching::Records(3), ..PlanOptions::default() };
    let plan = BatchPlan::new(&lengths(8), &fixed, 0).unwrap();
    assert_eq!(plan.iter().collect::<Vec<_>>(), [&[0, 1, 2][..], &[3, 4, 5], &[6, 7]]);
}

const RECORDED: [usize; 8] = [5, 2, 6, 1, 7, 4, 0, 3];

#[test]
fn grouping_fills_batches_and_joins_like_lengths() {
    let lengths = lengths(2000);
    let plan = |batching, group| BatchPlan::new(&lengths, &options(batching, group), 1).unwrap();
    let total: usize = (0..2000).map(|record| lengths.tokens(record).unwrap()).sum();
    let (limit, batches) = (1000, plan(Batching::Tokens(1000), true).len());
    // Best fit leaves 2% at most, but for what each pool leaves.
    assert!(batches * limit < total * 104 / 100, "{batches} batches of {limit} for {total} tokens");
    assert!(plan(Batching::Tokens(1000), false).len() > batches);

    let range = |plan: &BatchPlan| -> usize {
        let spread = |batch: &[usize]| {
            let tokens = || batch.iter().map(|&record| lengths.tokens(record).unwrap());
            tokens().max().unwrap() - tokens().min().unwrap()
        };
        plan.iter().map(spread).sum()
    };
    assert!(range(&plan(Batching::Records(8), true)) * 4 < range(&plan(Batching::Records(8), false)));
}

#[test]
fn what_cannot_be_planned() {
    let plan = |lengths: &Lengths, batching| BatchPlan::new(lengths, &options(batching, true), 0);
    assert!(matches!(
        plan(&Lengths::new([(5, 1), (401, 1), (500, 1)]), Batching::Tokens(400)),
        Err(DataError::Batch { record: 1, tokens: 401, limit: 400 })
    ));
    assert!(matches!(plan(&lengths(4), Batching::Records(0)), Err(DataError::Option { .. })));
    assert!(matches!(plan(&lengths(4), Batching::Tokens(0)), Err(DataError::Option { .. })));
    assert!(matches!(plan(&Lengths::new([]), Batching::Records(1)), Err(DataError::Empty { .. })));
}

#[test]
fn lengths_are_those_of_samples() {
    let data = in_memory(texts(&[5, 70, 1, 300]));
    let encoder = byte_encoder(EncodeOptions { max_tokens: 200, ..Default::default() });
    let mut told = Vec::new();
    let found = Lengths::measure(&*data, &encoder, BadRecords::Skip, &mut |done| told.push(done)).unwrap();
    assert_eq!(told, [4]);
    assert_eq!((found.len(), found.bad(), found.tokens(3), found.tokens(4)), (4, 1, None, None));
    for record in 0..3 {
        let sample = encoder.encode(&data.get(record).unwrap().unwrap()).unwrap();
        assert_eq!(found.tokens(record), Some(sample.len()));
        assert_eq!(found.targets(record), Some(sample.targets()));
    }
    // A bad record is in no batch.
    let plan = BatchPlan::new(&found, &options(Batching::Records(2), false), 0).unwrap();
    assert_eq!(plan.iter().flatten().collect::<BTreeSet<_>>(), BTreeSet::from([&0, &1, &2]));

    let stop = Lengths::measure(&*data, &encoder, BadRecords::Stop, &mut |_| {}).unwrap_err();
    assert!(matches!(stop, DataError::Record { at, .. } if at.record == 4));
    let all = Lengths::measure(&*in_memory(texts(&[300, 400])), &encoder, BadRecords::Skip, &mut |_| {}).unwrap_err();
    assert!(matches!(all, DataError::AllBad { records: 2, .. }), "{all}");
    let none = Lengths::measure(&*in_memory(Vec::new()), &encoder, BadRecords::Skip, &mut |_| {}).unwrap_err();
    assert!(matches!(none, DataError::Empty { .. }));
}
