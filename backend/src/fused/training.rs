//! [`TrainingOps`] on `Kiln<B>`: forwards that reach a kernel, and backward passes. Those of linear layers and MLPs are
//! the default compositions of parts (products, gradients of activations and biases), which reach kernels here.

use super::{attention, layers, linear_backward, loss, mlp, moe};
use crate::{Engine, Kiln};
use burn_kiln_fusion::{
    Activation, ActivationGrads, AddNormForward, AttentionForward, AttentionInputs, AttentionOptions,
    DifferentiatedLoss, GatedMlpForward, GatedMlpWeights, KernelConfig, LossForward, LossGrads, LossInputs,
    LossOptions, MoeGrads, MoeInputGrads, MoeOptions, MoeWeights, RmsNormForward, SiluMulGrads, TrainingOps,
};
use burn_tensor::Tensor;

impl<B: Engine> TrainingOps for Kiln<B> {
    fn rms_norm_forward<const D: usize>(
        x: Tensor<Self, D>,
        gamma: Tensor<Self, 1>,
        epsilon: f64,
        config: &KernelConfig,
    ) -> RmsNormForward<Self, D> {
        layers::rms_norm_forward(x, gamma, epsilon, config)
    }

    fn add_norm_forward<const D: usize>(
        x: Tensor<Self, D>,
        residual: Tensor<Self, D>,
        gamma: Tensor<Self, 1>,
        epsilon: f64,
        config: &KernelConfig,
    ) -> AddNormForward<Self, D> {
        layers::add_norm_forward(x, residual, gamma, epsilon, config)
    }

    fn attention_forward(
        inputs: AttentionInputs<Self>,
        options: &AttentionOptions<Self>,
        config: &KernelConfig,
    ) -> AttentionForward<Self> {
        attention::attention_forward(inputs, options, config)
    }

    fn linear_weight_gradient<const D: usize>(
        x: Tensor<Self, D>,
        grad: Tensor<Self, D>,
        sum: Option<Tensor<Self, 2>>,
        config: &KernelConfig,
    ) -> Tensor<Self, 2> {
        linear_backward::linear_weight_gradient(x, grad, sum, config)
    }

    fn bias_gradient<const D: usize>(grad: Tensor<Self, D>, config: &KernelConfig) -> Tensor<Self, 1> {
        linear_backward::bias_gradient(grad, config)
    }

    fn activation_backward<const D: usize>(
        activation: Activation,
        x: Tensor<Self, D>,
        grad: Tensor<Self, D>,
        config: &KernelConfig,
    ) -> Tensor<Self, D> {
        linear_backward::activation_backward(activation, x, grad, config)
    }

    fn activation_bias_backward<const D: usize>(
        activation: Activation,
        x: Tensor<Self, D>,
        grad: Tensor<Self, D>,
        config: &KernelConfig,
    ) -> ActivationGrads<Self, D> {
        linear_backward::activation_bias_backward(activation, x, grad, config)
    }

    fn silu_mul_backward<const D: usize>(
        gate: Tensor<Self, D>,
        up: Tensor<Self, D>,
        grad: Tensor<Self, D>,
        config: &KernelConfig,
    ) -> SiluMulGrads<Self, D> {
        linear_backward::silu_mul_backward(gate, up, grad, config)
    }

    fn mlp_gated_forward<const D: usize>(
        x: Tensor<Self, D>,
        weights: &GatedMlpWeights<Self>,
        residual: Option<Tensor<Self, D>>,
        config: &KernelConfig,
    ) -> GatedMlpForward<Self, D> {
        mlp::mlp_gated_forward(x, weights, residual, config)
    }

    fn moe_backward(
        x: Tensor<Self, 2>,
        weights: &MoeWeights<Self>,
        options: MoeOptions,
        grad: Tensor<Self, 2>,
        config: &KernelConfig,
    ) -> MoeGrads<Self> {
        moe::moe_backward(x, weights, options, grad, config)
    }

    fn moe_input_backward(
        x: Tensor<Self, 2>,
        weights: &MoeWeights<Self>,
        options: MoeOptions,
        grad: Tensor<Self, 2>,
        config: &KernelConfig,
    ) -> MoeInputGrads<Self> {
        moe::moe_input_backward(x, weights, options, grad, config)
    }

    fn lm_head_cross_entropy(
        inputs: LossInputs<'_, Self>,
        options: LossOptions,
        config: &KernelConfig,
    ) -> LossForward<Self> {
        loss::lm_head_cross_entropy(inputs, options, config)
    }

    fn lm_head_cross_entropy_backward(
        inputs: LossInputs<'_, Self>,
        lse: Tensor<Self, 2>,
        grad: Tensor<Self, 1>,
        options: LossOptions,
        config: &KernelConfig,
    ) -> LossGrads<Self> {
        loss::lm_head_cross_entropy_backward(inputs, lse, grad, options, config)
    }

    fn lm_head_cross_entropy_differentiated(
        inputs: LossInputs<'_, Self>,
        weight_trains: bool,
        options: LossOptions,
        config: &KernelConfig,
    ) -> DifferentiatedLoss<Self> {
        loss::lm_head_cross_entropy_differentiated(inputs, weight_trains, options, config)
    }
}
