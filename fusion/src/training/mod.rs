//! The vocabulary of training.

mod results;

use crate::{
    Activation, AttentionInputs, AttentionOptions, Epilogue, FusedOps, GatedMlpWeights, HeadNorms, KernelConfig,
    MoeOptions, MoeWeights, Norm, PlainMlpWeights, QueryKey, RmsWeights, Rotary, Weight, compose,
};
use burn_tensor::{Int, Tensor};
pub use results::{
    ActivationGrads, AdamWOptions, AdamWState, AddNormForward, AddNormGrads, AttentionForward, AttentionGrads,
    DifferentiatedLoss, GatedMlpForward, GatedMlpGrads, LayerNormForward, LinearForward, LinearGrads, LossForward,
    LossGrads, LossInputs, LossOptions, MoeGrads, MoeInputGrads, NormGrads, NormLinearGrads, PlainMlpForward,
    PlainMlpGrads, QkGrads, RmsNormForward, RowGrads, SiluMulGrads,
};

/// What training a transformer needs beside the ops themselves.
///
/// A trainable op of [`FusedOps`] has up to two companions here: a `*_forward` that also returns what the backward
/// needs, where that is not among the operands, and a `*_backward` that gives the gradients. `Autodiff<B>` calls both
/// on its inner backend `B`. The loss and the optimiser's step are of training alone.
///
/// Every op has a default, as in [`FusedOps`]: a composition of plain Burn ops. A gradient that nobody wants is still
/// computed by a `*_backward`; the parts that these are made of (`linear_input_gradient`, `linear_weight_gradient`,
/// `bias_gradient`, ..) are methods of their own, which nodes with frozen operands call, and which a backend with
/// kernels replaces. What frozen weights need of larger ops is in [`compose`], as `*_input_gradient`.
///
/// Contracts on shapes are those of the ops; a gradient has the shape of its operand and is f32.
pub trait TrainingOps: FusedOps {
    /// [`FusedOps::linear`], keeping the pre-activation.
    fn linear_forward<const D: usize>(
        x: Tensor<Self, D>,
        weight: &Weight<Self>,
        epilogue: Epilogue<Self, D>,
        config: &KernelConfig,
    ) -> LinearForward<Self, D> {
        Self::scope(config, || compose::linear::linear_forward(x, weight, epilogue, config))
    }

    /// Gradients of [`FusedOps::linear`]; `pre_activation` as kept, `activation` as given to the forward.
    fn linear_backward<const D: usize>(
        x: Tensor<Self, D>,
        weight: &Weight<Self>,
        activation: Option<(Activation, Tensor<Self, D>)>,
        grad: Tensor<Self, D>,
        config: &KernelConfig,
    ) -> LinearGrads<Self, D> {
        Self::scope(config, || compose::linear::linear_backward(x, weight, activation, grad, config))
    }

    /// [`FusedOps::rms_norm`], keeping the reciprocal deviations.
    fn rms_norm_forward<const D: usize>(
        x: Tensor<Self, D>,
        gamma: Tensor<Self, 1>,
        epsilon: f64,
        config: &KernelConfig,
    ) -> RmsNormForward<Self, D> {
        Self::scope(config, || compose::norm::rms_norm_forward(x, gamma, epsilon, config))
    }

    /// Gradients of [`FusedOps::rms_norm`]: with `n = x · rstd` and `h = grad · gamma`,
    /// `dx = rstd · (h - n · mean(h · n))`, `dgamma = Σ grad · n`.
    fn rms_norm_backward<const D: usize>(
        x: Tensor<Self, D>,
        gamma: Tensor<Self, 1>,
        rstd: Tensor<Self, D>,
        grad: Tensor<Self, D>,
        config: &KernelConfig,
    ) -> NormGrads<Self, D> {
        Self::scope(config, || compose::norm::rms_norm_backward(x, gamma, rstd, grad, config))
    }

    /// [`FusedOps::layer_norm`], keeping means and reciprocal deviations.
    fn layer_norm_forward<const D: usize>(
        x: Tensor<Self, D>,
        gamma: Tensor<Self, 1>,
        beta: Option<Tensor<Self, 1>>,
        epsilon: f64,
        config: &KernelConfig,
    ) -> LayerNormForward<Self, D> {
        Self::scope(config, || compose::norm::layer_norm_forward(x, gamma, beta, epsilon, config))
    }

    /// Gradients of [`FusedOps::layer_norm`]; `forward` holds the mean and rstd that it kept.
    fn layer_norm_backward<const D: usize>(
        x: Tensor<Self, D>,
        gamma: Tensor<Self, 1>,
        forward: LayerNormForward<Self, D>,
        grad: Tensor<Self, D>,
        config: &KernelConfig,
    ) -> NormGrads<Self, D> {
        Self::scope(config, || compose::norm::layer_norm_backward(x, gamma, forward, grad, config))
    }

    /// Gradients of [`FusedOps::norm_linear`]; the norm is computed again.
    fn norm_linear_backward<const D: usize>(
        x: Tensor<Self, D>,
        norm: &Norm<Self>,
        weight: &Weight<Self>,
        grad: Tensor<Self, D>,
        config: &KernelConfig,
    ) -> NormLinearGrads<Self, D> {
        Self::scope(config, || compose::norm::norm_linear_backward(x, norm, weight, grad, config))
    }

    /// [`FusedOps::add_norm`], keeping the reciprocal deviations.
    fn add_norm_forward<const D: usize>(
        x: Tensor<Self, D>,
        residual: Tensor<Self, D>,
        gamma: Tensor<Self, 1>,
        epsilon: f64,
        config: &KernelConfig,
    ) -> AddNormForward<Self, D> {
        Self::scope(config, || compose::norm::add_norm_forward(x, residual, gamma, epsilon, config))
    }

    /// Gradients of [`FusedOps::add_norm`] from those of `sum` and of `normed`.
    fn add_norm_backward<const D: usize>(
        forward: AddNormForward<Self, D>,
        gamma: Tensor<Self, 1>,
        grad_sum: Option<Tensor<Self, D>>,
        grad_normed: Tensor<Self, D>,
        config: &KernelConfig,
    ) -> AddNormGrads<Self, D> {
        Self::scope(config, || compose::norm::add_norm_backward(forward, gamma, grad_sum, grad_normed, config))
    }

    /// `grad · activation'(x)`.
    fn activation_backward<const D: usize>(
        activation: Activation,
        x: Tensor<Self, D>,
        grad: Tensor<Self, D>,
        config: &KernelConfig,
    ) -> Tensor<Self, D> {
        Self::scope(config, || compose::activation::backward(activation, x, grad, config))
    }

    /// [`FusedOps::mlp_gated`], keeping both products.
    fn mlp_gated_forward<const D: usize>(
        x: Tensor<Self, D>,
        weights: &GatedMlpWeights<Self>,
        residual: Option<Tensor<Self, D>>,
        config: &KernelConfig,
    ) -> GatedMlpForward<Self, D> {
        Self::scope(config, || compose::mlp::mlp_gated_forward(x, weights, residual, config))
    }

    /// Gradients of [`FusedOps::mlp_gated`]; `forward` holds the products that it kept.
    fn mlp_gated_backward<const D: usize>(
        x: Tensor<Self, D>,
        weights: &GatedMlpWeights<Self>,
        forward: GatedMlpForward<Self, D>,
        grad: Tensor<Self, D>,
        config: &KernelConfig,
    ) -> GatedMlpGrads<Self, D> {
        Self::scope(config, || compose::mlp::mlp_gated_backward(x, weights, forward, grad, config))
    }

    /// [`FusedOps::mlp_plain`], keeping the pre-activation.
    fn mlp_plain_forward<const D: usize>(
        x: Tensor<Self, D>,
        weights: &PlainMlpWeights<Self>,
        residual: Option<Tensor<Self, D>>,
        config: &KernelConfig,
    ) -> PlainMlpForward<Self, D> {
        Self::scope(config, || compose::mlp::mlp_plain_forward(x, weights, residual, config))
    }

    /// Gradients of [`FusedOps::mlp_plain`]; `pre_activation` as kept.
    fn mlp_plain_backward<const D: usize>(
        x: Tensor<Self, D>,
        weights: &PlainMlpWeights<Self>,
        pre_activation: Tensor<Self, D>,
        grad: Tensor<Self, D>,
        config: &KernelConfig,
    ) -> PlainMlpGrads<Self, D> {
        Self::scope(config, || compose::mlp::mlp_plain_backward(x, weights, pre_activation, grad, config))
    }

    /// Gradients of [`FusedOps::moe`]; routing and products are computed again.
    fn moe_backward(
        x: Tensor<Self, 2>,
        weights: &MoeWeights<Self>,
        options: MoeOptions,
        grad: Tensor<Self, 2>,
        config: &KernelConfig,
    ) -> MoeGrads<Self> {
        Self::scope(config, || compose::moe::moe_backward(x, weights, options, grad, config))
    }

    /// Gradient of [`FusedOps::rope`]: the rotation by the negative angle.
    fn rope_backward(grad: Tensor<Self, 4>, rotary: &Rotary<Self>, config: &KernelConfig) -> Tensor<Self, 4> {
        Self::scope(config, || compose::rope::rope_backward(grad, rotary, config))
    }

    /// Gradients of [`FusedOps::qk_norm_rope`] from those of both results; the norms are computed again.
    fn qk_norm_rope_backward(
        heads: QueryKey<Self>,
        norms: HeadNorms<Self>,
        rotary: &Rotary<Self>,
        grads: QueryKey<Self>,
        config: &KernelConfig,
    ) -> QkGrads<Self> {
        Self::scope(config, || compose::rope::qk_norm_rope_backward(heads, norms, rotary, grads, config))
    }

    /// The same of queries or keys alone.
    fn norm_rope_backward(
        x: Tensor<Self, 4>,
        norm: RmsWeights<Self>,
        rotary: &Rotary<Self>,
        grad: Tensor<Self, 4>,
        config: &KernelConfig,
    ) -> NormGrads<Self, 4> {
        Self::scope(config, || compose::rope::norm_rope_backward(x, norm, rotary, grad, config))
    }

    /// Gradient of [`FusedOps::embedding`]: `grad` summed into the rows, `[vocab, hidden]`. Rows that no id names are
    /// 0.
    fn embedding_backward(
        weight: &Weight<Self>,
        ids: Tensor<Self, 2, Int>,
        grad: Tensor<Self, 3>,
        config: &KernelConfig,
    ) -> Tensor<Self, 2> {
        Self::scope(config, || compose::embedding::embedding_backward(weight, ids, grad, config))
    }

    /// `table` with the gradient of [`FusedOps::embedding`] added, in place where it can: what a tied embedding adds to
    /// the gradient of the language model's head. Both are f32.
    fn add_embedding_backward(
        table: Tensor<Self, 2>,
        ids: Tensor<Self, 2, Int>,
        grad: Tensor<Self, 3>,
        config: &KernelConfig,
    ) -> Tensor<Self, 2> {
        Self::scope(config, || compose::embedding::add_embedding_backward(table, ids, grad, config))
    }

    /// The gradient of [`FusedOps::embedding`] as the rows that ids name. Reads the ids on the host.
    ///
    /// For a caller that keeps an embedding off the tape, whose gradients are dense: it makes a leaf of the embedded
    /// rows, and brings that leaf's gradient here and then to [`TrainingOps::adamw_step_rows`].
    fn embedding_backward_rows(
        ids: Tensor<Self, 2, Int>,
        grad: Tensor<Self, 3>,
        config: &KernelConfig,
    ) -> RowGrads<Self> {
        Self::scope(config, || compose::embedding::embedding_backward_rows(ids, grad, config))
    }

    /// [`FusedOps::attention`] without a cache, keeping the log-sum-exp of each query.
    fn attention_forward(
        inputs: AttentionInputs<Self>,
        options: &AttentionOptions<Self>,
        config: &KernelConfig,
    ) -> AttentionForward<Self> {
        Self::scope(config, || compose::attention::attention_forward(inputs, options, config))
    }

    /// Gradients of [`FusedOps::attention`] (Dao et al. 2022, algorithm 4).
    fn attention_backward(
        inputs: AttentionInputs<Self>,
        options: &AttentionOptions<Self>,
        forward: AttentionForward<Self>,
        grad: Tensor<Self, 4>,
        config: &KernelConfig,
    ) -> AttentionGrads<Self> {
        Self::scope(config, || compose::attention::attention_backward(inputs, options, forward, grad, config))
    }

    /// Mean of `-log softmax(hidden·Wᵀ)[target]`; logits exist `options.chunk` positions at a time.
    fn lm_head_cross_entropy(
        inputs: LossInputs<'_, Self>,
        options: LossOptions,
        config: &KernelConfig,
    ) -> LossForward<Self> {
        Self::scope(config, || compose::loss::lm_head_cross_entropy(inputs, options, config))
    }

    /// Gradients of [`TrainingOps::lm_head_cross_entropy`]; logits are computed again from `lse`. `grad` is the loss's,
    /// `[1]`.
    fn lm_head_cross_entropy_backward(
        inputs: LossInputs<'_, Self>,
        lse: Tensor<Self, 2>,
        grad: Tensor<Self, 1>,
        options: LossOptions,
        config: &KernelConfig,
    ) -> LossGrads<Self> {
        Self::scope(config, || compose::loss::lm_head_cross_entropy_backward(inputs, lse, grad, options, config))
    }

    /// One AdamW step: the new parameter and state; in place where nobody else holds a buffer.
    fn adamw_step<const D: usize>(
        parameter: Tensor<Self, D>,
        grad: Tensor<Self, D>,
        state: AdamWState<Self, D>,
        options: AdamWOptions,
        config: &KernelConfig,
    ) -> (Tensor<Self, D>, AdamWState<Self, D>) {
        Self::scope(config, || compose::optim::adamw_step(parameter, grad, state, options, config))
    }

    /// [`TrainingOps::adamw_step`] with the gradient of some rows: all others have 0, and take their step too.
    fn adamw_step_rows(
        parameter: Tensor<Self, 2>,
        grad: RowGrads<Self>,
        state: AdamWState<Self, 2>,
        options: AdamWOptions,
        config: &KernelConfig,
    ) -> (Tensor<Self, 2>, AdamWState<Self, 2>) {
        Self::scope(config, || compose::optim::adamw_step_rows(parameter, grad, state, options, config))
    }

    /// `Σ x²`, `[1]`, f32: the root of their sum over all gradients is the norm that is clipped, by
    /// [`AdamWOptions::grad_scale`].
    fn sum_of_squares<const D: usize>(x: Tensor<Self, D>, config: &KernelConfig) -> Tensor<Self, 1> {
        Self::scope(config, || compose::optim::sum_of_squares(x, config))
    }

    /// `grad·W + sum`: the gradient of a linear layer's input alone, `[.., in]` for a `grad` `[.., out]`. `sum` is what
    /// other layers of the same input gave.
    fn linear_input_gradient<const D: usize>(
        weight: &Weight<Self>,
        grad: Tensor<Self, D>,
        sum: Option<Tensor<Self, D>>,
        config: &KernelConfig,
    ) -> Tensor<Self, D> {
        Self::scope(config, || compose::linear::linear_input_gradient(weight, grad, sum, config))
    }

    /// `gradᵀ·x + sum` over all rows: the gradient of a linear layer's weight alone, `[out, in]`. `sum` is what was
    /// summed before (other chunks, other micro-batches); a backend may add to it in place where nobody else holds it.
    fn linear_weight_gradient<const D: usize>(
        x: Tensor<Self, D>,
        grad: Tensor<Self, D>,
        sum: Option<Tensor<Self, 2>>,
        config: &KernelConfig,
    ) -> Tensor<Self, 2> {
        Self::scope(config, || compose::linear::linear_weight_gradient(x, grad, sum))
    }

    /// `Σ grad` over the rows: the gradient of a bias alone, `[out]`.
    fn bias_gradient<const D: usize>(grad: Tensor<Self, D>, config: &KernelConfig) -> Tensor<Self, 1> {
        Self::scope(config, || compose::linear::bias_gradient(grad))
    }

    /// [`TrainingOps::activation_backward`] and [`TrainingOps::bias_gradient`] of its result.
    fn activation_bias_backward<const D: usize>(
        activation: Activation,
        x: Tensor<Self, D>,
        grad: Tensor<Self, D>,
        config: &KernelConfig,
    ) -> ActivationGrads<Self, D> {
        Self::scope(config, || compose::activation::activation_bias_backward(activation, x, grad, config))
    }

    /// Gradients of `silu(gate) ⊙ up` from that of the product: `dup = grad ⊙ silu(gate)`, `dgate = grad ⊙ up ⊙
    /// silu'(gate)`.
    fn silu_mul_backward<const D: usize>(
        gate: Tensor<Self, D>,
        up: Tensor<Self, D>,
        grad: Tensor<Self, D>,
        config: &KernelConfig,
    ) -> SiluMulGrads<Self, D> {
        Self::scope(config, || compose::mlp::silu_mul_backward(gate, up, grad, config))
    }

    /// [`TrainingOps::moe_backward`] with frozen experts: without the gradients that are as large as they are.
    fn moe_input_backward(
        x: Tensor<Self, 2>,
        weights: &MoeWeights<Self>,
        options: MoeOptions,
        grad: Tensor<Self, 2>,
        config: &KernelConfig,
    ) -> MoeInputGrads<Self> {
        Self::scope(config, || compose::moe::moe_input_backward(x, weights, options, grad, config))
    }

    /// [`TrainingOps::lm_head_cross_entropy`] with the gradients of both operands, of the weight's where
    /// `weight_trains`: each chunk's logits are computed once, for the loss and for its gradients.
    fn lm_head_cross_entropy_differentiated(
        inputs: LossInputs<'_, Self>,
        weight_trains: bool,
        options: LossOptions,
        config: &KernelConfig,
    ) -> DifferentiatedLoss<Self> {
        Self::scope(config, || {
            compose::loss::lm_head_cross_entropy_differentiated(inputs, weight_trains, options, config)
        })
    }
}
