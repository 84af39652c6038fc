//! Data of a run.

use crate::data::{
    BadRecords, BatchPlan, DataError, Encoder, Lengths, Loader, LoaderOptions, PlanOptions, RecordResult,
};
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
}
