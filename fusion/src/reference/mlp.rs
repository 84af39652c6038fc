//! Feed-forward blocks.

use super::{Array, activate, apply_linear, multiply_transposed};
use crate::Activation;

/// `down( silu(x·gateᵀ) ⊙ (x·upᵀ) ) + residual`; `weights` are gate, up and down.
pub fn run_gated_mlp(x: &Array, weights: [&Array; 3], residual: Option<&Array>) -> Array {
    let [gate, up, down] = weights;
    let gate = activate(Activation::Silu, &multiply_transposed(x, gate));
    let hidden = gate.zip(&multiply_transposed(x, up), |gate, up| gate * up);
    apply_linear(&hidden, down, None, None, residual)
}

/// `activation(x·fc1ᵀ + fc1_bias)·fc2ᵀ + fc2_bias + residual`; each layer is its matrix and bias.
pub fn run_plain_mlp(
    x: &Array,
    (fc1, fc1_bias): (&Array, Option<&Array>),
    (fc2, fc2_bias): (&Array, Option<&Array>),
    activation: Activation,
    residual: Option<&Array>,
) -> Array {
    let hidden = apply_linear(x, fc1, fc1_bias, Some(activation), None);
    apply_linear(&hidden, fc2, fc2_bias, None, residual)
}
