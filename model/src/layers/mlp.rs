//! Two linear layers with an activation between them.

use super::Linear;
use burn::tensor::Tensor;
use burn_kiln_fusion::{Activation, FusedOps, KernelConfig, PlainMlpWeights};

/// `fc2(activation(fc1(x))) + residual`.
///
/// # Shapes
/// `x` `[.., in]`, `residual` and output `[.., out]`.
pub(crate) fn run_plain_mlp<B: FusedOps, const D: usize>(
    x: Tensor<B, D>,
    [fc1, fc2]: [&Linear<B>; 2],
    activation: Activation,
    residual: Option<Tensor<B, D>>,
    config: &KernelConfig,
) -> Tensor<B, D> {
    if let (Some(fc1), Some(fc2)) = (fc1.plain(), fc2.plain()) {
        let weights =
            PlainMlpWeights { fc1: fc1.weight, fc1_bias: fc1.bias, fc2: fc2.weight, fc2_bias: fc2.bias, activation };
        return B::mlp_plain(x, &weights, residual, config);
    }
    let hidden = fc1.forward(x, config);
    let hidden = match activation {
        Activation::Silu => B::silu(hidden, config),
        Activation::GeluTanh => B::gelu_tanh(hidden, config),
        Activation::GeluErf => B::gelu_erf(hidden, config),
    };
    match residual {
        Some(residual) => fc2.forward_residual(hidden, residual, config),
        None => fc2.forward(hidden, config),
    }
}
