//! The optimiser step.

use crate::{AdamWOptions, AdamWState, KernelConfig, TrainingOps};
use burn_tensor::Tensor;

/// Default of [`TrainingOps::adamw_step`]: with `m ← β₁m + (1-β₁)g` and `v ← β₂v + (1-β₂)g²`,
/// `p ← p·(1 - lr·wd) - lr/(1-β₁ᵗ) · m / (√v/√(1-β₂ᵗ) + ε)`.
pub fn adamw_step<B: TrainingOps, const D: usize>(
    parameter: Tensor<B, D>,
    grad: Tensor<B, D>,
    state: AdamWState<B, D>,
    options: AdamWOptions,
    _config: &KernelConfig,
) -> (Tensor<B, D>, AdamWState<B, D>) {
    let AdamWOptions { learning_rate, beta_1, beta_2, epsilon, weight_decay, step } = options;
    // Powers of the true step: an i32 is enough for 2³¹ steps, and past it the correction is 1 anyway.
    let exponent = i32::try_from(step).unwrap_or(i32::MAX);
    let (correction_1, correction_2) = (1.0 - beta_1.powi(exponent), 1.0 - beta_2.powi(exponent));

    let (stored, computed) = (parameter.dtype(), state.moment_1.dtype());
    let grad = grad.cast(computed);
    let moment_1 = state.moment_1 * beta_1 + grad.clone() * (1.0 - beta_1);
    let moment_2 = state.moment_2 * beta_2 + grad.clone() * grad * (1.0 - beta_2);
    let deviation = moment_2.clone().sqrt() * (1.0 / correction_2.sqrt()) + epsilon;
    let update = moment_1.clone() * (learning_rate / correction_1) / deviation;
    let parameter = parameter.cast(computed) * (1.0 - learning_rate * weight_decay) - update;
    (parameter.cast(stored), AdamWState { moment_1, moment_2 })
}
