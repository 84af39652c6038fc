//! The optimiser step, and the norm of gradients.

use crate::{AdamWOptions, AdamWState, KernelConfig, RowGrads, TrainingOps};
use burn_backend::DType;
use burn_tensor::{IndexingUpdateOp, Tensor};

/// Default of [`TrainingOps::adamw_step`]; the formula is that of [`AdamWOptions`].
pub fn adamw_step<B: TrainingOps, const D: usize>(
    parameter: Tensor<B, D>,
    grad: Tensor<B, D>,
    state: AdamWState<B, D>,
    options: AdamWOptions,
    _config: &KernelConfig,
) -> (Tensor<B, D>, AdamWState<B, D>) {
    let AdamWOptions { learning_rate, beta_1, beta_2, epsilon, weight_decay, step, grad_scale } = options;
    // Powers of the true step: an i32 is enough for 2³¹ steps, and past it the correction is 1 anyway.
    let exponent = i32::try_from(step).unwrap_or(i32::MAX);
    let (correction_1, correction_2) = (1.0 - beta_1.powi(exponent), 1.0 - beta_2.powi(exponent));

    let (stored, computed) = (parameter.dtype(), state.moment_1.dtype());
    let grad = grad.cast(computed);
    let grad = if grad_scale == 1.0 { grad } else { grad * grad_scale };
    let moment_1 = state.moment_1 * beta_1 + grad.clone() * (1.0 - beta_1);
    let moment_2 = state.moment_2 * beta_2 + grad.clone() * grad * (1.0 - beta_2);
    let deviation = moment_2.clone().sqrt() * (1.0 / correction_2.sqrt()) + epsilon;
    let update = moment_1.clone() * (learning_rate / correction_1) / deviation;
    let (has_master, parameter) = (state.master.is_some(), state.master.unwrap_or(parameter.cast(computed)));
    let parameter = parameter * (1.0 - learning_rate * weight_decay) - update;
    let master = has_master.then(|| parameter.clone());
    (parameter.cast(stored), AdamWState { moment_1, moment_2, master })
}

/// Default of [`TrainingOps::adamw_step_rows`]: with the dense gradient.
pub fn adamw_step_rows<B: TrainingOps>(
    parameter: Tensor<B, 2>,
    grad: RowGrads<B>,
    state: AdamWState<B, 2>,
    options: AdamWOptions,
    config: &KernelConfig,
) -> (Tensor<B, 2>, AdamWState<B, 2>) {
    let mut dense = Tensor::zeros(parameter.dims(), (&grad.rows.device(), grad.rows.dtype()));
    if grad.rows.dims()[0] > 0 {
        dense = dense.select_assign(0, grad.ids, grad.rows, IndexingUpdateOp::Add);
    }
    B::adamw_step(parameter, dense, state, options, config)
}

/// Default of [`TrainingOps::sum_of_squares`]: one dimension after the other, as a sum of so many f32 in a row would be
/// off.
pub fn sum_of_squares<B: TrainingOps, const D: usize>(x: Tensor<B, D>, _config: &KernelConfig) -> Tensor<B, 1> {
    if x.shape().num_elements() == 0 {
        return Tensor::zeros([1], (&x.device(), DType::F32));
    }
    let x = x.cast(DType::F32);
    let sums = (0..D).rev().fold(x.clone() * x, |sums, dim| sums.sum_dim(dim));
    sums.reshape([1])
}
