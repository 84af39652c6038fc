//! [`TrainingOps`] on `Kiln<B>`: forwards and backward passes that reach a kernel. Those of linear layers and MLPs are
//! the default compositions of parts (products, gradients of activations and biases), which reach kernels here.

use super::{attention, gradients, layers, linear_backward, loss, mlp, moe};
use crate::{Engine, Kiln};
use burn_kiln_fusion::{
    Activation, ActivationGrads, AdamWOptions, AdamWState, AddNormForward, AddNormGrads, AttentionForward,
    AttentionGrads, AttentionInputs, AttentionOptions, DifferentiatedLoss, GatedMlpForward, GatedMlpWeights,
    KernelConfig, LayerNormForward, LossForward, LossGrads, LossInputs, LossOptions, MoeGrads, MoeInputGrads,
    MoeOptions, MoeWeights, NormGrads, RmsNormForward, RmsWeights, Rotary, RowGrads, SiluMulGrads, TrainingOps, Weight,
};
use burn_tensor::{Int, Tensor};

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

    fn rms_norm_backward<const D: usize>(
        x: Tensor<Self, D>,
        gamma: Tensor<Self, 1>,
        rstd: Tensor<Self, D>,
        grad: Tensor<Self, D>,
        config: &KernelConfig,
    ) -> NormGrads<Self, D> {
        gradients::rms_norm_backward(x, gamma, rstd, grad, config)
    }

    fn layer_norm_forward<const D: usize>(
        x: Tensor<Self, D>,
        gamma: Tensor<Self, 1>,
        beta: Option<Tensor<Self, 1>>,
        epsilon: f64,
        config: &KernelConfig,
    ) -> LayerNormForward<Self, D> {
        gradients::layer_norm_forward(x, gamma, beta, epsilon, config)
    }

    fn layer_norm_backward<const D: usize>(
        x: Tensor<Self, D>,
        gamma: Tensor<Self, 1>,
        forward: LayerNormForward<Self, D>,
        grad: Tensor<Self, D>,
        config: &KernelConfig,
    ) -> NormGrads<Self, D> {
        gradients::layer_norm_backward(x, gamma, forward, grad, config)
    }

    fn add_norm_backward<const D: usize>(
        forward: AddNormForward<Self, D>,
        gamma: Tensor<Self, 1>,
        grad_sum: Option<Tensor<Self, D>>,
        grad_normed: Tensor<Self, D>,
        config: &KernelConfig,
    ) -> AddNormGrads<Self, D> {
        gradients::add_norm_backward(forward, gamma, grad_sum, grad_normed, config)
    }

    fn rope_backward(grad: Tensor<Self, 4>, rotary: &Rotary<Self>, config: &KernelConfig) -> Tensor<Self, 4> {
        gradients::rope_backward(grad, rotary, config)
    }

    fn norm_rope_backward(
        x: Tensor<Self, 4>,
        norm: RmsWeights<Self>,
        rotary: &Rotary<Self>,
        grad: Tensor<Self, 4>,
        config: &KernelConfig,
    ) -> NormGrads<Self, 4> {
        gradients::norm_rope_backward(x, norm, rotary, grad, config)
    }

    fn embedding_backward(
        weight: &Weight<Self>,
        ids: Tensor<Self, 2, Int>,
        grad: Tensor<Self, 3>,
        config: &KernelConfig,
    ) -> Tensor<Self, 2> {
        gradients::embedding_backward(weight, ids, grad, config)
    }

    fn add_embedding_backward(
        table: Tensor<Self, 2>,
        ids: Tensor<Self, 2, Int>,
        grad: Tensor<Self, 3>,
        config: &KernelConfig,
    ) -> Tensor<Self, 2> {
        gradients::add_embedding_backward(table, ids, grad, config)
    }

    fn embedding_backward_rows(
        ids: Tensor<Self, 2, Int>,
        grad: Tensor<Self, 3>,
        config: &KernelConfig,
    ) -> RowGrads<Self> {
        gradients::embedding_backward_rows(ids, grad, config)
    }

    fn adamw_step<const D: usize>(
        parameter: Tensor<Self, D>,
        grad: Tensor<Self, D>,
        state: AdamWState<Self, D>,
        options: AdamWOptions,
        config: &KernelConfig,
    ) -> (Tensor<Self, D>, AdamWState<Self, D>) {
        gradients::adamw_step(parameter, grad, state, options, config)
    }

    fn adamw_step_rows(
        parameter: Tensor<Self, 2>,
        grad: RowGrads<Self>,
        state: AdamWState<Self, 2>,
        options: AdamWOptions,
        config: &KernelConfig,
    ) -> (Tensor<Self, 2>, AdamWState<Self, 2>) {
        gradients::adamw_step_rows(parameter, grad, state, options, config)
    }

    fn sum_of_squares<const D: usize>(x: Tensor<Self, D>, config: &KernelConfig) -> Tensor<Self, 1> {
        gradients::sum_of_squares(x, config)
    }

    fn attention_backward(
        inputs: AttentionInputs<Self>,
        options: &AttentionOptions<Self>,
        forward: AttentionForward<Self>,
        grad: Tensor<Self, 4>,
        config: &KernelConfig,
    ) -> AttentionGrads<Self> {
        attention::attention_backward(inputs, options, forward, grad, config)
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
