//! What a run tells whoever looks.

use super::metrics::StepMetrics;
use std::path::Path;

/// Something that has happened in a run.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum RunEvent<'a> {
    /// A step of the optimiser is done.
    Step {
        /// What it measured.
        metrics: &'a StepMetrics,
        /// The number of the last step.
        last: u64,
    },
    /// The evaluation data were run through.
    Evaluation {
        /// The step behind which they were.
        step: u64,
        /// Mean cross entropy, nats a token.
        loss: f64,
        /// Whether no evaluation before it was as good.
        best: bool,
    },
    /// A checkpoint is written.
    Checkpoint {
        /// Its step.
        step: u64,
        /// Its folder.
        path: &'a Path,
    },
}

/// Is told of everything that happens in a run. Any `FnMut(&RunEvent)` is one; [`NoObserver`] ignores all.
pub trait RunObserver {
    /// Something has happened.
    fn notice(&mut self, event: &RunEvent<'_>);
}

impl<F: FnMut(&RunEvent<'_>)> RunObserver for F {
    fn notice(&mut self, event: &RunEvent<'_>) {
        self(event);
    }
}

/// Nobody looks.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

impl RunObserver for NoObserver {
    fn notice(&mut self, _: &RunEvent<'_>) {}
}
