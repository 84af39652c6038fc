//! Final norm, head and cross entropy, both ways at once.

use super::evaluate::evaluate;
use super::inputs::{Inputs, upload};
use super::tape::{Collect, backward, leaf};
use super::{BatchLoss, Gradients};
use crate::data::{Batch, IGNORED, Sample, Source};
use burn::module::AutodiffModule;
use burn::tensor::backend::Backend;
use burn::tensor::{DType, IndexingUpdateOp, Int, Tensor};
use burn_autodiff::Autodiff;
use burn_kiln_fusion::{FusedOps, LossInputs, LossOptions, TrainingOps};
use qwen3_vl_burn::Qwen3Vl;

/// The loss, and the gradient of the rows that it was computed from.
pub(super) struct LossPass<B: TrainingOps> {
    pub loss: BatchLoss,
    /// `[1, length, hidden]`; `None` where nothing below the final norm trains, or the loss is no number.
    pub hidden: Option<Tensor<B, 3>>,
}

/// How it is computed.
#[derive(Debug, Clone, Copy)]
pub(super) struct LossTask {
    /// What the sum over the targets is divided by.
    pub count: usize,
    /// Positions whose logits exist at one time.
    pub chunk: usize,
    /// Whether the rows behind the last layer want a gradient.
    pub hidden_wanted: bool,
}

/// The mean of the targets' cross entropies; only rows that predict one go through norm and head.
///
/// # Shapes
/// `hidden` `[1, length, hidden]`.
pub(super) fn mean_loss<C: TrainingOps>(
    model: &Qwen3Vl<C>,
    rows: Tensor<C, 2>,
    targets: Tensor<C, 1, Int>,
    chunk: usize,
) -> Tensor<C, 1> {
    let config = model.kernel_config();
    let hidden = model.language_model.norm.forward(rows, config);
    let (weight, options) = (model.head(), LossOptions { ignore_index: IGNORED, chunk });
    C::lm_head_cross_entropy(LossInputs { hidden, weight: &weight, targets }, options, config).loss
}

/// Rows that predict a target, `[targets, hidden]`.
pub(super) fn take_rows<C: FusedOps>(hidden: Tensor<C, 3>, inputs: &Inputs) -> Tensor<C, 2> {
    let hidden: Tensor<C, 2> = hidden.flatten(0, 1);
    if inputs.rows.len() == inputs.length() {
        return hidden;
    }
    let rows = upload(inputs.rows.clone(), &hidden.device());
    hidden.select(0, rows)
}

/// The sum of the targets' cross entropies over `count`, and back to the rows behind the last layer.
pub(super) fn differentiate_loss<B: TrainingOps>(
    model: &Qwen3Vl<Autodiff<B>>,
    hidden: Tensor<B, 3>,
    inputs: &Inputs,
    task: LossTask,
    gradients: &mut Gradients<B>,
) -> LossPass<B> {
    let device = hidden.device();
    let [batch, length, width] = hidden.dims();
    let targets = inputs.targets.len();
    let rows = leaf(take_rows(hidden, inputs), task.hidden_wanted);
    let labels = upload::<Autodiff<B>>(inputs.targets.clone(), &device);
    let mean = mean_loss(model, rows.clone(), labels, task.chunk);
    let value = read(mean.clone().inner());
    let loss = BatchLoss { sum: value * targets as f64, targets };
    if !value.is_finite() {
        return LossPass { loss, hidden: None };
    }
    let share = Tensor::full([1], targets as f64 / task.count as f64, &device);
    let Some(mut tape) = backward(mean, share) else { return LossPass { loss, hidden: None } };
    Collect { tape: &mut tape, gradients: &mut *gradients }.from(&model.language_model.norm);
    match &model.lm_head {
        Some(head) => Collect { tape: &mut tape, gradients }.from(head),
        None => Collect { tape: &mut tape, gradients }.from(&model.language_model.embed_tokens),
    }
    let hidden = rows.grad_remove(&mut tape).map(|grad| {
        let whole = match targets == length {
            true => grad,
            false => {
                let rows = upload(inputs.rows.clone(), &device);
                Tensor::zeros([length, width], &device).select_assign(0, rows, grad, IndexingUpdateOp::Add)
            }
        };
        whole.reshape([batch, length, width])
    });
    LossPass { loss, hidden }
}

/// A scalar on the host.
pub(super) fn read<B: Backend>(scalar: Tensor<B, 1>) -> f64 {
    scalar.cast(DType::F32).into_data().iter::<f64>().next().unwrap_or(f64::NAN)
}

/// The records whose loss is no number; all of the batch where each alone has one.
pub(super) fn find_bad_records<B: TrainingOps>(model: &Qwen3Vl<Autodiff<B>>, batch: &Batch) -> Vec<Source> {
    let model = model.valid();
    let alone = |sample: &Sample| evaluate(&model, &Batch { samples: vec![sample.clone()] });
    let is_bad = |sample: &&Sample| alone(sample).is_ok_and(|loss| loss.targets > 0 && !loss.sum.is_finite());
    let sources = |samples: Vec<&Sample>| samples.into_iter().map(|sample| sample.source.clone()).collect();
    let bad: Vec<&Sample> = batch.samples.iter().filter(is_bad).collect();
    if bad.is_empty() { sources(batch.samples.iter().collect()) } else { sources(bad) }
}
