//! The parts of which backward passes of linear layers and MLPs are made.

use super::conversion::{lift, lower};
use crate::engine::{
    ActivationBackward, ActivationBackwardOperands, SiluMulBackward, SiluMulBackwardOperands, WeightGradientOperands,
};
use crate::fused_group::FusedGroup;
use crate::{Engine, Kiln};
use burn_kiln_fusion::{Activation, ActivationGrads, FusedOps, KernelConfig, SiluMulGrads, TrainingOps, compose};
use burn_tensor::Tensor;

/// The engine's product with what was summed before in its store, else the composition.
pub(super) fn linear_weight_gradient<B: Engine, const D: usize>(
    x: Tensor<Kiln<B>, D>,
    grad: Tensor<Kiln<B>, D>,
    sum: Option<Tensor<Kiln<B>, 2>>,
    config: &KernelConfig,
) -> Tensor<Kiln<B>, 2> {
    let operands = WeightGradientOperands { x: lower(x), grad: lower(grad), sum: sum.map(lower) };
    match B::try_linear_weight_gradient(operands, config) {
        Ok(sum) => lift(sum),
        Err(WeightGradientOperands { x, grad, sum }) => Kiln::<B>::scope(config, || {
            compose::linear::linear_weight_gradient(lift::<B, D>(x), lift(grad), sum.map(lift))
        }),
    }
}

/// The engine's sums, else the composition.
pub(super) fn bias_gradient<B: Engine, const D: usize>(
    grad: Tensor<Kiln<B>, D>,
    config: &KernelConfig,
) -> Tensor<Kiln<B>, 1> {
    let grad = lower(grad);
    match B::try_bias_gradient(&grad, config) {
        Some(sums) => lift(sums),
        None => Kiln::<B>::scope(config, || compose::linear::bias_gradient(lift::<B, D>(grad))),
    }
}

/// The engine's pass, else the composition.
pub(super) fn activation_backward<B: Engine, const D: usize>(
    activation: Activation,
    x: Tensor<Kiln<B>, D>,
    grad: Tensor<Kiln<B>, D>,
    config: &KernelConfig,
) -> Tensor<Kiln<B>, D> {
    let operands = ActivationBackwardOperands { activation, x: lower(x), grad: lower(grad), sums: false };
    match B::try_activation_backward(operands, config) {
        Ok(ActivationBackward { x, .. }) => lift(x),
        Err(ActivationBackwardOperands { x, grad, .. }) => {
            Kiln::<B>::scope(config, || compose::activation::backward(activation, lift(x), lift(grad), config))
        }
    }
}

/// Both in one pass of the engine, where the epilogue of a linear layer is fused; else one after the other.
pub(super) fn activation_bias_backward<B: Engine, const D: usize>(
    activation: Activation,
    x: Tensor<Kiln<B>, D>,
    grad: Tensor<Kiln<B>, D>,
    config: &KernelConfig,
) -> ActivationGrads<Kiln<B>, D> {
    if !FusedGroup::LinearEpilogue.is_on(&config.fusion) {
        return compose::activation::activation_bias_backward(activation, x, grad, config);
    }
    let operands = ActivationBackwardOperands { activation, x: lower(x), grad: lower(grad), sums: true };
    match B::try_activation_backward(operands, config) {
        Ok(ActivationBackward { x, bias: Some(bias) }) => ActivationGrads { x: lift(x), bias: lift(bias) },
        Ok(ActivationBackward { x, bias: None }) => {
            let x = lift::<B, D>(x);
            ActivationGrads { bias: Kiln::<B>::bias_gradient(x.clone(), config), x }
        }
        Err(ActivationBackwardOperands { x, grad, .. }) => {
            compose::activation::activation_bias_backward(activation, lift(x), lift(grad), config)
        }
    }
}

/// All three in one pass of the engine, where a gated MLP is fused; else the composition.
pub(super) fn silu_mul_backward<B: Engine, const D: usize>(
    gate: Tensor<Kiln<B>, D>,
    up: Tensor<Kiln<B>, D>,
    grad: Tensor<Kiln<B>, D>,
    config: &KernelConfig,
) -> SiluMulGrads<Kiln<B>, D> {
    let fall_back =
        |gate, up, grad| Kiln::<B>::scope(config, || compose::mlp::silu_mul_backward(gate, up, grad, config));
    if !FusedGroup::Mlp.is_on(&config.fusion) {
        return fall_back(gate, up, grad);
    }
    let operands = SiluMulBackwardOperands { gate: lower(gate), up: lower(up), grad: lower(grad) };
    match B::try_silu_mul_backward(operands, config) {
        Ok(SiluMulBackward { gate, up, product }) => {
            SiluMulGrads { gate: lift(gate), up: lift(up), product: lift(product) }
        }
        Err(SiluMulBackwardOperands { gate, up, grad }) => fall_back(lift(gate), lift(up), lift(grad)),
    }
}
