//! What a run leaves on the disk.

use super::error::RunError;
use super::event::{RunEvent, RunObserver};
use super::folder::{RunFolder, replace_file};
use super::metrics::{MetricsFile, StepMetrics};
use super::plot;
use super::save::{Output, write_checkpoint};
use super::state::RunState;
use crate::optim::AdamW;
use burn_autodiff::Autodiff;
use burn_kiln_fusion::TrainingOps;
use qwen3_vl_burn::Qwen3Vl;

const METRICS: &str = "metrics.csv";
const PLOT: &str = "loss.svg";

/// Metrics, checkpoints and the result of a run in its folder.
#[derive(Debug)]
pub(super) struct Recording {
    folder: RunFolder,
    output: Output,
    metrics: MetricsFile,
    /// The step of the last checkpoint.
    saved: u64,
}

impl Recording {
    /// Goes on behind `step`.
    pub fn new(folder: RunFolder, output: Output, step: u64) -> Result<Self, RunError> {
        let metrics = MetricsFile::open(&folder.path().join(METRICS), step)?;
        Ok(Self { folder, output, metrics, saved: step })
    }

    pub fn push(&mut self, step: StepMetrics) -> Result<(), RunError> {
        self.metrics.push(step)
    }

    /// Writes the model as the result so far.
    pub fn write_result<B: TrainingOps>(&self, model: &Qwen3Vl<Autodiff<B>>) -> Result<(), RunError> {
        self.folder.write_result(self.output.folder(), |dir| self.output.write(model, dir)).map(drop)
    }

    /// Writes a checkpoint and the plot, and removes old checkpoints.
    pub fn save<B: TrainingOps>(
        &mut self,
        state: &RunState,
        learnt: (&Qwen3Vl<Autodiff<B>>, &AdamW<B>),
        keep: usize,
        observer: &mut dyn RunObserver,
    ) -> Result<(), RunError> {
        let path = write_checkpoint(&self.folder, &self.output, learnt, state)?;
        self.saved = state.step;
        observer.notice(&RunEvent::Checkpoint { step: state.step, path: &path });
        self.folder.thin_out(keep)?;
        let title = format!("{} steps", state.step);
        replace_file(&self.folder.path().join(PLOT), plot::render(self.metrics.steps(), &title).as_bytes())
    }

    /// Saves what is not saved, and the result where no evaluation has chosen one.
    pub fn finish<B: TrainingOps>(
        &mut self,
        state: &RunState,
        learnt: (&Qwen3Vl<Autodiff<B>>, &AdamW<B>),
        keep: usize,
        observer: &mut dyn RunObserver,
    ) -> Result<(), RunError> {
        if state.step > self.saved {
            self.save(state, learnt, keep, observer)?;
        }
        if state.ended && state.best.is_none() {
            self.write_result(learnt.0)?;
        }
        Ok(())
    }
}
