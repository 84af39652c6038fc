//! Loss without gradients.

use super::inputs::{Inputs, upload};
use super::layer_plan::LOSS_CHUNK;
use super::loss::{mean_loss, read, take_rows};
use super::{BatchLoss, StepError};
use crate::data::Batch;
use burn_kiln_fusion::TrainingOps;
use qwen3_vl_burn::Qwen3Vl;

/// The loss of a batch, for a model that need not be on an autodiff backend: `model.valid()` of one that trains.
///
/// # Errors
/// [`StepError`]; a loss that is no number is none.
pub fn evaluate<B: TrainingOps>(model: &Qwen3Vl<B>, batch: &Batch) -> Result<BatchLoss, StepError> {
    let inputs = Inputs::new(batch, model.config())?;
    let targets = inputs.targets.len();
    if targets == 0 {
        return Ok(BatchLoss { sum: 0.0, targets });
    }
    let prepare = |sample: &crate::data::Sample| {
        model
            .prepare(&sample.inputs)
            .map_err(|error| StepError::Inputs { source_of: sample.source.clone(), error: Box::new(error) })
    };
    let prompts = batch.samples.iter().map(prepare).collect::<Result<Vec<_>, _>>()?;
    let hidden = model
        .run(prompts)
        .map_err(|error| StepError::Inputs { source_of: batch.samples[0].source.clone(), error: Box::new(error) })?;
    B::scope(model.kernel_config(), || {
        let labels = upload(inputs.targets.clone(), &hidden.device());
        let mean = read(mean_loss(model, take_rows(hidden, &inputs), labels, LOSS_CHUNK));
        Ok(BatchLoss { sum: mean * targets as f64, targets })
    })
}
