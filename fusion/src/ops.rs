//! The vocabulary.

use crate::{
    Activation, AdamWOptions, AdamWState, AddNorm, AddNormGrads, AttentionForward, AttentionGrads, AttentionInputs,
    AttentionOptions, DeviceMemory, Epilogue, GatedMlpForward, GatedMlpGrads, GatedMlpWeights, KernelConfig, KvCache,
    LayerNormForward, LinearForward, LinearGrads, LinearWeights, LossForward, LossGrads, LossOptions, MoeGrads,
    MoeOptions, MoeWeights, Norm, NormGrads, NormLinearGrads, PlainMlpForward, PlainMlpGrads, PlainMlpWeights, QkGrads,
    RmsNormForward, Rotary, RotaryInputs, Targets, Weight, compose,
};
use burn_backend::Backend;
use burn_tensor::{Int, Tensor};
use std::sync::Arc;

/// The operations that a transformer is made of, as one backend runs them.
///
/// Every op has a default: a composition of plain Burn ops (module [`compose`]). A backend overrides what it has a kernel for;
/// results agree to rounding. Activations are f32; weights are f32, bf16 or f16, and are converted to f32 where they are used.
///
/// Shapes are the caller's contract: an op panics when they don't fit, as Burn's own ops do. Lower-level
/// reasons not to run a kernel (dtype, layout, device) are no errors: the composition runs.
///
/// Trainable ops come in three: the op, a `*_forward` that also returns what the backward needs where that is not among the
/// operands, and a `*_backward`. `Autodiff<B>` calls the latter two on its inner backend.
pub trait FusedOps: Backend {
    /// How this backend wants a constant weight: register-tile panels, quantised blocks, a device layout, or just the tensor.
    type Packed: Clone + core::fmt::Debug + Send + Sync + 'static;

    /// Packs `weight`, `[out, in]`. Never fails: what has no packed form is kept as it is.
    fn pack(weight: Tensor<Self, 2>, config: &KernelConfig) -> Self::Packed;

    /// The rows that were packed, `[out, in]`, bit for bit and in their dtype.
    fn unpack(packed: &Self::Packed) -> Tensor<Self, 2>;

    /// Runs `work` with `config` for the plain Burn ops that this thread starts in it, on a backend that takes a configuration for those.
    fn scope<T>(config: &Arc<KernelConfig>, work: impl FnOnce() -> T) -> T {
        let _ = config;
        work()
    }

    /// The memory that tensors on `device` lie in; `None` where that is the host's.
    fn device_memory(device: &Self::Device) -> Option<DeviceMemory> {
        let _ = device;
        None
    }

    /// `activation(x·Wᵀ + bias) + residual`.
    ///
    /// # Shapes
    /// `x` `[.., in]`, `weight` `[out, in]`, output `[.., out]`.
    fn linear<const D: usize>(
        x: Tensor<Self, D>,
        weight: &Weight<Self>,
        epilogue: Epilogue<Self, D>,
        config: &KernelConfig,
    ) -> Tensor<Self, D> {
        compose::linear::linear(x, weight, epilogue, config)
    }

    /// [`FusedOps::linear`], keeping the pre-activation.
    fn linear_forward<const D: usize>(
        x: Tensor<Self, D>,
        weight: &Weight<Self>,
        epilogue: Epilogue<Self, D>,
        config: &KernelConfig,
    ) -> LinearForward<Self, D> {
        compose::linear::linear_forward(x, weight, epilogue, config)
    }

    /// Gradients of [`FusedOps::linear`]; `pre_activation` as kept, `activation` as given to the forward.
    fn linear_backward<const D: usize>(
        x: Tensor<Self, D>,
        weight: &Weight<Self>,
        activation: Option<(Activation, Tensor<Self, D>)>,
        grad: Tensor<Self, D>,
        config: &KernelConfig,
    ) -> LinearGrads<Self, D> {
        compose::linear::linear_backward(x, weight, activation, grad, config)
    }

    /// `x / √(mean(x²) + epsilon) · gamma` over the last dimension (Zhang and Sennrich 2019).
    ///
    /// # Shapes
    /// `x` `[.., d]`, `gamma` `[d]`.
    fn rms_norm<const D: usize>(
        x: Tensor<Self, D>,
        gamma: Tensor<Self, 1>,
        epsilon: f64,
        config: &KernelConfig,
    ) -> Tensor<Self, D> {
        compose::norm::rms_norm(x, gamma, epsilon, config)
    }

    /// [`FusedOps::rms_norm`], keeping the reciprocal deviations.
    fn rms_norm_forward<const D: usize>(
        x: Tensor<Self, D>,
        gamma: Tensor<Self, 1>,
        epsilon: f64,
        config: &KernelConfig,
    ) -> RmsNormForward<Self, D> {
        compose::norm::rms_norm_forward(x, gamma, epsilon, config)
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
        compose::norm::rms_norm_backward(x, gamma, rstd, grad, config)
    }

    /// `(x - mean(x)) / √(var(x) + epsilon) · gamma + beta` over the last dimension, biased variance (Ba et al. 2016).
    ///
    /// # Shapes
    /// `x` `[.., d]`, `gamma` and `beta` `[d]`.
    fn layer_norm<const D: usize>(
        x: Tensor<Self, D>,
        gamma: Tensor<Self, 1>,
        beta: Option<Tensor<Self, 1>>,
        epsilon: f64,
        config: &KernelConfig,
    ) -> Tensor<Self, D> {
        compose::norm::layer_norm(x, gamma, beta, epsilon, config)
    }

    /// [`FusedOps::layer_norm`], keeping means and reciprocal deviations.
    fn layer_norm_forward<const D: usize>(
        x: Tensor<Self, D>,
        gamma: Tensor<Self, 1>,
        beta: Option<Tensor<Self, 1>>,
        epsilon: f64,
        config: &KernelConfig,
    ) -> LayerNormForward<Self, D> {
        compose::norm::layer_norm_forward(x, gamma, beta, epsilon, config)
    }

    /// Gradients of [`FusedOps::layer_norm`]; `forward` holds the mean and rstd that it kept.
    fn layer_norm_backward<const D: usize>(
        x: Tensor<Self, D>,
        gamma: Tensor<Self, 1>,
        forward: LayerNormForward<Self, D>,
        grad: Tensor<Self, D>,
        config: &KernelConfig,
    ) -> NormGrads<Self, D> {
        compose::norm::layer_norm_backward(x, gamma, forward, grad, config)
    }

    /// `norm(x)·Wᵀ + bias`.
    ///
    /// # Shapes
    /// `x` `[.., in]`, `weight` `[out, in]`, output `[.., out]`.
    fn norm_linear<const D: usize>(
        x: Tensor<Self, D>,
        norm: &Norm<Self>,
        weight: &Weight<Self>,
        bias: Option<Tensor<Self, 1>>,
        config: &KernelConfig,
    ) -> Tensor<Self, D> {
        compose::norm::norm_linear(x, norm, weight, bias, config)
    }

    /// [`FusedOps::norm_linear`] for several layers that read the same rows: queries, keys and values.
    ///
    /// On `Autodiff` it is a norm and the single layers, each with its own backward.
    ///
    /// # Shapes
    /// `x` `[.., in]`, each weight `[out, in]`, each output `[.., out]`.
    fn norm_linears<const D: usize, const N: usize>(
        x: Tensor<Self, D>,
        norm: &Norm<Self>,
        layers: [LinearWeights<Self>; N],
        config: &KernelConfig,
    ) -> [Tensor<Self, D>; N] {
        compose::norm::norm_linears(x, norm, layers, config)
    }

    /// Gradients of [`FusedOps::norm_linear`]; the norm is computed again.
    fn norm_linear_backward<const D: usize>(
        x: Tensor<Self, D>,
        norm: &Norm<Self>,
        weight: &Weight<Self>,
        grad: Tensor<Self, D>,
        config: &KernelConfig,
    ) -> NormLinearGrads<Self, D> {
        compose::norm::norm_linear_backward(x, norm, weight, grad, config)
    }

    /// `sum = x + residual` and the RMS norm of `sum`, in one pass.
    fn add_norm<const D: usize>(
        x: Tensor<Self, D>,
        residual: Tensor<Self, D>,
        gamma: Tensor<Self, 1>,
        epsilon: f64,
        config: &KernelConfig,
    ) -> AddNorm<Self, D> {
        compose::norm::add_norm(x, residual, gamma, epsilon, config)
    }

    /// Gradients of [`FusedOps::add_norm`] from those of `sum` and of `normed`.
    fn add_norm_backward<const D: usize>(
        forward: AddNorm<Self, D>,
        gamma: Tensor<Self, 1>,
        grad_sum: Option<Tensor<Self, D>>,
        grad_normed: Tensor<Self, D>,
        config: &KernelConfig,
    ) -> AddNormGrads<Self, D> {
        compose::norm::add_norm_backward(forward, gamma, grad_sum, grad_normed, config)
    }

    /// [`Activation::GeluTanh`].
    fn gelu_tanh<const D: usize>(x: Tensor<Self, D>, config: &KernelConfig) -> Tensor<Self, D> {
        compose::activation::gelu_tanh(x, config)
    }

    /// [`Activation::GeluErf`].
    fn gelu_erf<const D: usize>(x: Tensor<Self, D>, config: &KernelConfig) -> Tensor<Self, D> {
        compose::activation::gelu_erf(x, config)
    }

    /// [`Activation::Silu`].
    fn silu<const D: usize>(x: Tensor<Self, D>, config: &KernelConfig) -> Tensor<Self, D> {
        compose::activation::silu(x, config)
    }

    /// `grad · activation'(x)`.
    fn activation_backward<const D: usize>(
        activation: Activation,
        x: Tensor<Self, D>,
        grad: Tensor<Self, D>,
        config: &KernelConfig,
    ) -> Tensor<Self, D> {
        compose::activation::backward(activation, x, grad, config)
    }

    /// `down( silu(x·gateᵀ) ⊙ (x·upᵀ) ) + residual`.
    ///
    /// # Shapes
    /// `x`, `residual` and output `[.., hidden]`.
    fn mlp_gated<const D: usize>(
        x: Tensor<Self, D>,
        weights: &GatedMlpWeights<Self>,
        residual: Option<Tensor<Self, D>>,
        config: &KernelConfig,
    ) -> Tensor<Self, D> {
        compose::mlp::mlp_gated(x, weights, residual, config)
    }

    /// `mlp_gated(rms_norm(sum)) + sum` for `sum = x + residual`: what a decoder layer does with the result of its attention.
    ///
    /// `norm` is the norm's weight, `[hidden]`, and its epsilon.
    ///
    /// On `Autodiff` it is both ops, each with its own backward.
    ///
    /// # Shapes
    /// `x`, `residual` and output `[.., hidden]`.
    fn add_norm_mlp_gated<const D: usize>(
        x: Tensor<Self, D>,
        residual: Tensor<Self, D>,
        norm: (Tensor<Self, 1>, f64),
        weights: &GatedMlpWeights<Self>,
        config: &KernelConfig,
    ) -> Tensor<Self, D> {
        compose::mlp::add_norm_mlp_gated(x, residual, norm, weights, config)
    }

    /// [`FusedOps::mlp_gated`], keeping both products.
    fn mlp_gated_forward<const D: usize>(
        x: Tensor<Self, D>,
        weights: &GatedMlpWeights<Self>,
        residual: Option<Tensor<Self, D>>,
        config: &KernelConfig,
    ) -> GatedMlpForward<Self, D> {
        compose::mlp::mlp_gated_forward(x, weights, residual, config)
    }

    /// Gradients of [`FusedOps::mlp_gated`]; `forward` holds the products that it kept.
    fn mlp_gated_backward<const D: usize>(
        x: Tensor<Self, D>,
        weights: &GatedMlpWeights<Self>,
        forward: GatedMlpForward<Self, D>,
        grad: Tensor<Self, D>,
        config: &KernelConfig,
    ) -> GatedMlpGrads<Self, D> {
        compose::mlp::mlp_gated_backward(x, weights, forward, grad, config)
    }

    /// `activation(x·fc1ᵀ + fc1_bias)·fc2ᵀ + fc2_bias + residual`.
    ///
    /// # Shapes
    /// `x` `[.., in]`, `residual` and output `[.., out]`.
    fn mlp_plain<const D: usize>(
        x: Tensor<Self, D>,
        weights: &PlainMlpWeights<Self>,
        residual: Option<Tensor<Self, D>>,
        config: &KernelConfig,
    ) -> Tensor<Self, D> {
        compose::mlp::mlp_plain(x, weights, residual, config)
    }

    /// [`FusedOps::mlp_plain`], keeping the pre-activation.
    fn mlp_plain_forward<const D: usize>(
        x: Tensor<Self, D>,
        weights: &PlainMlpWeights<Self>,
        residual: Option<Tensor<Self, D>>,
        config: &KernelConfig,
    ) -> PlainMlpForward<Self, D> {
        compose::mlp::mlp_plain_forward(x, weights, residual, config)
    }

    /// Gradients of [`FusedOps::mlp_plain`]; `pre_activation` as kept.
    fn mlp_plain_backward<const D: usize>(
        x: Tensor<Self, D>,
        weights: &PlainMlpWeights<Self>,
        pre_activation: Tensor<Self, D>,
        grad: Tensor<Self, D>,
        config: &KernelConfig,
    ) -> PlainMlpGrads<Self, D> {
        compose::mlp::mlp_plain_backward(x, weights, pre_activation, grad, config)
    }

    /// A mixture of gated MLPs: `Σ p_e · mlp_e(x)` over the `top_k` experts of each token, `p = softmax(x·routerᵀ)`.
    ///
    /// # Shapes
    /// `x` and output `[tokens, hidden]`.
    fn moe(
        x: Tensor<Self, 2>,
        weights: &MoeWeights<Self>,
        options: MoeOptions,
        config: &KernelConfig,
    ) -> Tensor<Self, 2> {
        compose::moe::moe(x, weights, options, config)
    }

    /// Gradients of [`FusedOps::moe`]; routing and products are computed again.
    fn moe_backward(
        x: Tensor<Self, 2>,
        weights: &MoeWeights<Self>,
        options: MoeOptions,
        grad: Tensor<Self, 2>,
        config: &KernelConfig,
    ) -> MoeGrads<Self> {
        compose::moe::moe_backward(x, weights, options, grad, config)
    }

    /// Rotary embedding: `x · cos + rotate_half(x) · sin` (Su et al. 2021).
    ///
    /// # Shapes
    /// `x` and output `[batch, heads, length, head_dim]`.
    fn rope(x: Tensor<Self, 4>, rotary: &Rotary<Self>, config: &KernelConfig) -> Tensor<Self, 4> {
        compose::rope::rope(x, rotary, config)
    }

    /// Gradient of [`FusedOps::rope`]: the rotation by the negative angle.
    fn rope_backward(grad: Tensor<Self, 4>, rotary: &Rotary<Self>, config: &KernelConfig) -> Tensor<Self, 4> {
        compose::rope::rope_backward(grad, rotary, config)
    }

    /// RMS norm of each head of `q` and `k`, then rotary embedding.
    ///
    /// # Shapes
    /// `qk.0` `[batch, heads, length, head_dim]`, `qk.1` `[batch, kv_heads, length, head_dim]`, `gammas` `[head_dim]` each.
    fn qk_norm_rope(
        qk: (Tensor<Self, 4>, Tensor<Self, 4>),
        gammas: (Tensor<Self, 1>, Tensor<Self, 1>),
        epsilon: f64,
        rotary: &Rotary<Self>,
        config: &KernelConfig,
    ) -> (Tensor<Self, 4>, Tensor<Self, 4>) {
        compose::rope::qk_norm_rope(qk, gammas, epsilon, rotary, config)
    }

    /// Gradients of [`FusedOps::qk_norm_rope`]; the norms are computed again.
    fn qk_norm_rope_backward(
        qk: (Tensor<Self, 4>, Tensor<Self, 4>),
        gammas: (Tensor<Self, 1>, Tensor<Self, 1>),
        epsilon: f64,
        rotary: &Rotary<Self>,
        grads: (Tensor<Self, 4>, Tensor<Self, 4>),
        config: &KernelConfig,
    ) -> QkGrads<Self> {
        compose::rope::qk_norm_rope_backward(qk, gammas, epsilon, rotary, grads, config)
    }

    /// Rows of `weight` by id, as f32. A packed (tied) head gives its rows from the panels.
    ///
    /// # Shapes
    /// `weight` `[vocab, hidden]`, `ids` `[batch, length]`, output `[batch, length, hidden]`.
    fn embedding(weight: &Weight<Self>, ids: Tensor<Self, 2, Int>, config: &KernelConfig) -> Tensor<Self, 3> {
        compose::embedding::embedding(weight, ids, config)
    }

    /// Gradient of [`FusedOps::embedding`]: `grad` summed into the rows, `[vocab, hidden]`.
    fn embedding_backward(
        weight: &Weight<Self>,
        ids: Tensor<Self, 2, Int>,
        grad: Tensor<Self, 3>,
        config: &KernelConfig,
    ) -> Tensor<Self, 2> {
        compose::embedding::embedding_backward(weight, ids, grad, config)
    }

    /// Scaled dot-product attention; see [`AttentionOptions`]. With a cache, `k` and `v` are appended to it first and the
    /// queries see everything in it. A query that sees no key gives 0.
    ///
    /// # Shapes
    /// Output `[batch, heads, queries, head_dim]`.
    ///
    /// # Panics
    /// When the cache has no room: check [`KvCache::capacity`] before a step.
    fn attention(
        inputs: AttentionInputs<Self>,
        options: &AttentionOptions<Self>,
        cache: Option<&mut KvCache<Self>>,
        config: &KernelConfig,
    ) -> Tensor<Self, 4> {
        compose::attention::attention(inputs, options, cache, config)
    }

    /// Self-attention from projections to what the output projection takes: the heads of `q` and `k` normalised where there are
    /// norms, rotated, appended to the caches with `v`, and attended to, each sequence by itself.
    ///
    /// With caches there is one for each sequence, whose positions come before those given. Gradients are those of the ops that
    /// the default is composed of.
    ///
    /// # Shapes
    /// Output `[batch, length, heads · head_dim]`. Masks, biases and segments in `options` are those of each sequence.
    ///
    /// # Panics
    /// When there are caches, but not one for each sequence, or one has no room: check [`KvCache::capacity`] before a step.
    fn attention_rotary(
        inputs: RotaryInputs<'_, Self>,
        options: &AttentionOptions<Self>,
        caches: Vec<&mut KvCache<Self>>,
        config: &KernelConfig,
    ) -> Tensor<Self, 3> {
        compose::attention_rotary::attention_rotary(inputs, options, caches, config)
    }

    /// [`FusedOps::attention`] without a cache, keeping the log-sum-exp of each query.
    fn attention_forward(
        inputs: AttentionInputs<Self>,
        options: &AttentionOptions<Self>,
        config: &KernelConfig,
    ) -> AttentionForward<Self> {
        compose::attention::attention_forward(inputs, options, config)
    }

    /// Gradients of [`FusedOps::attention`] (Dao et al. 2022, algorithm 4).
    fn attention_backward(
        inputs: AttentionInputs<Self>,
        options: &AttentionOptions<Self>,
        forward: AttentionForward<Self>,
        grad: Tensor<Self, 4>,
        config: &KernelConfig,
    ) -> AttentionGrads<Self> {
        compose::attention::attention_backward(inputs, options, forward, grad, config)
    }

    /// Mean of `-log softmax(hidden·Wᵀ)[target]`; logits exist `options.chunk` positions at a time.
    ///
    /// # Shapes
    /// `hidden` `[tokens, hidden]`, `weight` `[vocab, hidden]`, `targets` `[tokens]`.
    fn lm_head_cross_entropy(
        hidden: Tensor<Self, 2>,
        weight: &Weight<Self>,
        targets: Targets<Self>,
        options: LossOptions,
        config: &KernelConfig,
    ) -> LossForward<Self> {
        compose::loss::lm_head_cross_entropy(hidden, weight, targets, options, config)
    }

    /// Gradients of [`FusedOps::lm_head_cross_entropy`]; logits are computed again from `lse`. `grad` is the loss's, `[1]`.
    fn lm_head_cross_entropy_backward(
        operands: (Tensor<Self, 2>, &Weight<Self>, Targets<Self>),
        lse: Tensor<Self, 2>,
        grad: Tensor<Self, 1>,
        options: LossOptions,
        config: &KernelConfig,
    ) -> LossGrads<Self> {
        compose::loss::lm_head_cross_entropy_backward(operands, lse, grad, options, config)
    }

    /// One AdamW step: the new parameter and moments.
    fn adamw_step<const D: usize>(
        parameter: Tensor<Self, D>,
        grad: Tensor<Self, D>,
        state: AdamWState<Self, D>,
        options: AdamWOptions,
        config: &KernelConfig,
    ) -> (Tensor<Self, D>, AdamWState<Self, D>) {
        compose::optim::adamw_step(parameter, grad, state, options, config)
    }
}
