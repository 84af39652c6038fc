//! A step over one batch: forward, loss, reverse.

use super::decoder::Decoder;
use super::evaluate::evaluate;
use super::inputs::Inputs;
use super::loss::{LossPass, LossTask, differentiate_loss};
use super::trains::Wanted;
use super::vision::Tower;
use super::{BatchLoss, Gradients, LayerPlan, StepError};
use crate::data::{Batch, Sample, Source};
use burn::module::AutodiffModule;
use burn_autodiff::Autodiff;
use burn_kiln_fusion::TrainingOps;
use qwen3_vl_burn::Qwen3Vl;

/// Adds the gradients of a batch to `gradients`, and tells its loss. The sum over its targets is divided by `count`:
/// the number of targets of all micro-batches of the step, so that what is accumulated is the gradient of their mean.
///
/// What trains is what requires a gradient in `model`. A batch without a target adds nothing.
///
/// # Errors
/// [`StepError`]. After one, `gradients` may have those of some parameters and must not be used.
pub fn differentiate<B: TrainingOps>(
    model: &Qwen3Vl<Autodiff<B>>,
    batch: &Batch,
    count: usize,
    plan: &LayerPlan,
    gradients: &mut Gradients<B>,
) -> Result<BatchLoss, StepError> {
    check(model, count, plan)?;
    let inputs = Inputs::new(batch, model.config())?;
    gradients.sources.extend(batch.samples.iter().map(|sample| sample.source.clone()));
    if inputs.targets.is_empty() {
        return Ok(BatchLoss { sum: 0.0, targets: 0 });
    }
    B::scope(model.kernel_config(), || run(model, batch, inputs, count, plan, gradients))
}

fn check<B: TrainingOps>(model: &Qwen3Vl<Autodiff<B>>, count: usize, plan: &LayerPlan) -> Result<(), StepError> {
    if model.streaming().is_some() {
        return Err(StepError::Streamed);
    }
    if count == 0 {
        return Err(StepError::NoTargets);
    }
    let (vision, text) = (model.visual.blocks.len(), model.language_model.layers.len());
    let (planned_vision, planned_text) = (plan.vision.len(), plan.text.len());
    if (planned_vision, planned_text) != (vision, text) {
        return Err(StepError::Plan { planned_vision, planned_text, vision, text });
    }
    Ok(())
}

/// Forward and reverse.
fn run<B: TrainingOps>(
    model: &Qwen3Vl<Autodiff<B>>,
    batch: &Batch,
    mut inputs: Inputs,
    count: usize,
    plan: &LayerPlan,
    gradients: &mut Gradients<B>,
) -> Result<BatchLoss, StepError> {
    let wanted = Wanted::new(model, inputs.pictures.is_some());
    let mut tower = inputs.pictures.take().map(|pictures| Tower::new(model, pictures, &wanted, plan));
    let features = tower.as_mut().map(Tower::forward);
    let text = Decoder::new(model, &inputs, &wanted, plan);
    let (hidden, saved) = text.forward(features);
    let hidden_wanted = wanted.layers.last().is_some_and(|&wanted| wanted);
    let task = LossTask { count, chunk: plan.loss_chunk, hidden_wanted };
    let LossPass { loss, hidden } = differentiate_loss(model, hidden, &inputs, task, gradients);
    if !loss.sum.is_finite() {
        return Err(StepError::Loss { loss: loss.mean(), sources: find_bad_records(model, batch) });
    }
    if let Some(grad) = hidden {
        let features = text.reverse(saved, grad, gradients);
        if let Some(tower) = tower {
            tower.reverse(features, gradients);
        }
    }
    Ok(loss)
}

/// The records whose loss is no number; all of the batch where each alone has one.
fn find_bad_records<B: TrainingOps>(model: &Qwen3Vl<Autodiff<B>>, batch: &Batch) -> Vec<Source> {
    let model = model.valid();
    let alone = |sample: &Sample| evaluate(&model, &Batch { samples: vec![sample.clone()] });
    let is_bad = |sample: &&Sample| alone(sample).is_ok_and(|loss| loss.targets > 0 && !loss.sum.is_finite());
    let sources = |samples: Vec<&Sample>| samples.into_iter().map(|sample| sample.source.clone()).collect();
    let bad: Vec<&Sample> = batch.samples.iter().filter(is_bad).collect();
    if bad.is_empty() { sources(batch.samples.iter().collect()) } else { sources(bad) }
}
