//! Element-wise activations.

use crate::{Activation, ActivationGrads, FusedOps, KernelConfig, TrainingOps};
use burn_tensor::Tensor;
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

/// `√(2/π)`.
const SQRT_2_OVER_PI: f64 = FRAC_2_SQRT_PI * FRAC_1_SQRT_2;
/// `1/√(2π)`, the height of the normal density.
const FRAC_1_SQRT_2PI: f64 = SQRT_2_OVER_PI / 2.0;
/// The cubic coefficient of the tanh form.
const CUBIC: f64 = 0.044715;
/// Beyond it `tanh` of the cubic is ±1 in f64 as well, and powers of the argument can be kept from overflowing.
const SATURATED: f64 = 30.0;

/// `activation(x)` by the backend's op.
pub fn apply<B: FusedOps, const D: usize>(
    activation: Activation,
    x: Tensor<B, D>,
    config: &KernelConfig,
) -> Tensor<B, D> {
    match activation {
        Activation::GeluTanh => B::gelu_tanh(x, config),
        Activation::GeluErf => B::gelu_erf(x, config),
        Activation::Silu => B::silu(x, config),
    }
}

/// Default of [`FusedOps::gelu_tanh`].
pub fn gelu_tanh<B: FusedOps, const D: usize>(x: Tensor<B, D>, _config: &KernelConfig) -> Tensor<B, D> {
    burn_tensor::activation::gelu_approximate(x)
}

/// Default of [`FusedOps::gelu_erf`].
pub fn gelu_erf<B: FusedOps, const D: usize>(x: Tensor<B, D>, _config: &KernelConfig) -> Tensor<B, D> {
    burn_tensor::activation::gelu(x)
}

/// Default of [`FusedOps::silu`].
pub fn silu<B: FusedOps, const D: usize>(x: Tensor<B, D>, _config: &KernelConfig) -> Tensor<B, D> {
    burn_tensor::activation::silu(x)
}

/// Default of [`TrainingOps::activation_backward`].
pub fn backward<B: TrainingOps, const D: usize>(
    activation: Activation,
    x: Tensor<B, D>,
    grad: Tensor<B, D>,
    _config: &KernelConfig,
) -> Tensor<B, D> {
    grad * match activation {
        Activation::GeluTanh => differentiate_gelu_tanh(x),
        Activation::GeluErf => differentiate_gelu_erf(x),
        Activation::Silu => differentiate_silu(x),
    }
}

/// Default of [`TrainingOps::activation_bias_backward`].
pub fn activation_bias_backward<B: TrainingOps, const D: usize>(
    activation: Activation,
    x: Tensor<B, D>,
    grad: Tensor<B, D>,
    config: &KernelConfig,
) -> ActivationGrads<B, D> {
    let x = B::activation_backward(activation, x, grad, config);
    ActivationGrads { bias: B::bias_gradient(x.clone(), config), x }
}

/// With `t = tanh(√(2/π)·(x + c·x³))`: `(1 + t)/2 + x/2 · (1 - t²) · √(2/π) · (1 + 3c·x²)`.
fn differentiate_gelu_tanh<B: FusedOps, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    let x = x.clamp(-SATURATED, SATURATED);
    let square = x.clone() * x.clone();
    let t = (x.clone() * (square.clone() * CUBIC + 1.0) * SQRT_2_OVER_PI).tanh();
    let slope = (square * (3.0 * CUBIC) + 1.0) * (SQRT_2_OVER_PI / 2.0);
    let sech_square = -(t.clone() * t.clone()) + 1.0;
    (t + 1.0) * 0.5 + x * sech_square * slope
}

/// `Φ(x) + x·φ(x)`, with the normal distribution and its density.
fn differentiate_gelu_erf<B: FusedOps, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    let x = x.clamp(-SATURATED, SATURATED);
    let distribution = ((x.clone() * FRAC_1_SQRT_2).erf() + 1.0) * 0.5;
    let density = (x.clone() * x.clone() * -0.5).exp() * FRAC_1_SQRT_2PI;
    distribution + x * density
}

/// With `s = 1/(1 + e⁻ˣ)`: `s · (1 + x·(1 - s))`.
fn differentiate_silu<B: FusedOps, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    let s = burn_tensor::activation::sigmoid(x.clone());
    let complement = -s.clone() + 1.0;
    s * (x * complement + 1.0)
}
