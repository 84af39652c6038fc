//! Data of a run.

use super::options::BatchLimit;
use crate::data::{
    BadRecords, BatchPlan, DataError, Encoder, Lengths, Loader, LoaderOptions, PlanOptions, RecordResult,
};
use crate::step::BatchSize;
use burn::data::dataset::Dataset;
use std::sync::Arc;

/// A data set, how its records become samples, and how long each is.
#[derive(Clone)]
pub struct TrainingData {
    dataset: Arc<dyn Dataset<RecordResult>>,
    encoder: Arc<Encoder>,
    lengths: Lengths,
    loader: LoaderOptions,
}

impl TrainingData {
    /// Measures all records of `dataset`, which ends at the first bad one. `progress` is told how many are done.
    ///
    /// # Errors
    /// As [`Lengths::measure`].
    pub fn new(
        dataset: impl Dataset<RecordResult> + 'static,
        encoder: Encoder,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Self, DataError> {
        Self::with_loader(dataset, encoder, LoaderOptions::default(), progress)
    }

    /// The same with the loader's options: threads, and what is done about bad records.
    ///
    /// # Errors
    /// As [`Lengths::measure`].
    pub fn with_loader(
        dataset: impl Dataset<RecordResult> + 'static,
        encoder: Encoder,
        loader: LoaderOptions,
        progress: &mut dyn FnMut(usize),
    ) -> Result<Self, DataError> {
        let lengths = Lengths::measure(&dataset, &encoder, loader.bad, progress)?;
        Ok(Self { dataset: Arc::new(dataset), encoder: Arc::new(encoder), lengths, loader })
    }

    /// How long the records are.
    pub fn lengths(&self) -> &Lengths {
        &self.lengths
    }

    /// What makes samples of them.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// Whether bad records are left out.
    pub fn skips_bad_records(&self) -> bool {
        self.loader.bad == BadRecords::Skip
    }

    /// The batches of an epoch.
    pub(super) fn plan(&self, options: &PlanOptions, epoch: u64) -> Result<Arc<BatchPlan>, DataError> {
        BatchPlan::new(&self.lengths, options, epoch).map(Arc::new)
    }

    /// Delivers the batches of a plan, from batch `first` on.
    pub(super) fn load(&self, plan: &Arc<BatchPlan>, first: usize) -> Result<Loader, DataError> {
        Loader::start(self.dataset.clone(), self.encoder.clone(), plan.clone(), first, self.loader)
    }

    /// Labels that count in the batches `range` of a plan.
    pub(super) fn targets(&self, plan: &BatchPlan, range: std::ops::Range<usize>) -> usize {
        let records = range.filter_map(|batch| plan.get(batch)).flatten();
        records.filter_map(|&record| self.lengths.targets(record)).sum()
    }

    /// The largest that a batch can be, whatever the order of the records.
    pub(super) fn largest_batch(&self, limit: BatchLimit) -> BatchSize {
        find_largest(&self.lengths, limit)
    }
}

fn find_largest(lengths: &Lengths, limit: BatchLimit) -> BatchSize {
    let column = |of: &dyn Fn(usize) -> Option<usize>| (0..lengths.len()).filter_map(of).collect::<Vec<_>>();
    let tokens = column(&|record| lengths.tokens(record));
    let targets = column(&|record| lengths.targets(record));
    let patches = column(&|record| lengths.patches(record));
    let most = |counts: &[usize]| match limit {
        BatchLimit::Records(records) => {
            let mut counts = counts.to_vec();
            counts.sort_unstable_by(|a, b| b.cmp(a));
            counts.iter().take(records).sum()
        }
        // As dense as the densest record.
        BatchLimit::Tokens(limit) => {
            let densest = counts.iter().zip(&tokens).map(|(&count, &tokens)| count as f64 / tokens.max(1) as f64);
            let bound = densest.fold(0.0, f64::max) * limit as f64;
            (bound.ceil() as usize).min(counts.iter().sum())
        }
    };
    let longest = tokens.iter().copied().max().unwrap_or(0);
    let frame = patches.iter().copied().max().unwrap_or(0);
    BatchSize { tokens: most(&tokens), longest, patches: most(&patches), frame, targets: most(&targets) }
}

#[cfg(test)]
mod tests {
    use super::super::options::TrainOptions;
    use super::*;

    #[test]
    fn no_batch_is_larger_than_the_largest() {
        let lengths = Lengths::new((1..=40).map(|tokens| (10 + (7 * tokens) % 31, tokens % 5)));
        for limit in [BatchLimit::Records(3), BatchLimit::Records(99), BatchLimit::Tokens(64)] {
            let options = TrainOptions { batch: limit, ..TrainOptions::default() };
            let largest = find_largest(&lengths, limit);
            for epoch in 0..5 {
                let plan = BatchPlan::new(&lengths, &options.plan(), epoch).unwrap();
                for batch in plan.iter() {
                    let tokens: usize = batch.iter().map(|&record| lengths.tokens(record).unwrap()).sum();
                    let targets: usize = batch.iter().map(|&record| lengths.targets(record).unwrap()).sum();
                    assert!(tokens <= largest.tokens && targets <= largest.targets, "{limit:?} {largest:?}");
                }
            }
        }
    }
}
