//! Sizes of batches.

use crate::data::Batch;

/// The size of a batch, or the largest of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BatchSize {
    /// Rows of the decoder.
    pub tokens: usize,
    /// Rows of the longest sample.
    pub longest: usize,
    /// Patches of all pictures.
    pub patches: usize,
    /// Patches of the largest frame.
    pub frame: usize,
    /// Labels that count.
    pub targets: usize,
}

impl BatchSize {
    /// That of a batch.
    pub fn of(batch: &Batch) -> Self {
        let grids = || {
            batch.samples.iter().flat_map(|sample| sample.inputs.images.grids.iter().chain(&sample.inputs.videos.grids))
        };
        Self {
            tokens: batch.tokens(),
            longest: batch.samples.iter().map(|sample| sample.len()).max().unwrap_or(0),
            patches: grids().map(|grid| grid.patches()).sum(),
            frame: grids().map(|grid| grid.h * grid.w).max().unwrap_or(0),
            targets: batch.targets(),
        }
    }

    /// The larger of both in each respect.
    pub fn max(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.max(other.tokens),
            longest: self.longest.max(other.longest),
            patches: self.patches.max(other.patches),
            frame: self.frame.max(other.frame),
            targets: self.targets.max(other.targets),
        }
    }
}
