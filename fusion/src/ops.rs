//! The vocabulary of inference.

use crate::{
    AddNorm, AttentionInputs, AttentionOptions, DeviceMemory, Epilogue, GatedMlpWeights, HeadNorms, KernelConfig,
    KvCache, LinearWeights, MoeOptions, MoeWeights, Norm, Packing, PlainMlpWeights, QueryKey, RmsWeights, Rotary,
    RotaryInputs, Weight, compose,
};
use burn_tensor::{Int, Tensor};

/// The operations that a transformer is made of, as one backend runs them.
///
/// Every op has a default: a composition of plain Burn ops (module [`compose`]). A backend overrides what it has a
/// kernel for; results agree to rounding. Activations are f32; weights are f32, bf16 or f16, and are converted to f32
/// where they are used.
///
/// Shapes are the caller's contract: an op panics when they don't fit, as Burn's own ops do. Lower-level
/// reasons not to run a kernel (dtype, layout, device) are no errors: the composition runs.
///
/// What training needs beside them is in [`TrainingOps`](crate::TrainingOps).
pub trait FusedOps: Packing {
    /// Runs `work` with `config` for the plain Burn ops that this thread starts in it, on a backend that takes a
    /// configuration for those. The default of each op runs its composition so.
    fn scope<T>(config: &KernelConfig, work: impl FnOnce() -> T) -> T {
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
        Self::scope(config, || compose::linear::linear(x, weight, epilogue, config))
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
        Self::scope(config, || compose::norm::rms_norm(x, gamma, epsilon, config))
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
        Self::scope(config, || compose::norm::layer_norm(x, gamma, beta, epsilon, config))
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
        Self::scope(config, || compose::norm::norm_linear(x, norm, weight, bias, config))
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
        Self::scope(config, || compose::norm::norm_linears(x, norm, layers, config))
    }

    /// `sum = x + residual` and the RMS norm of `sum`, in one pass.
    fn add_norm<const D: usize>(
        x: Tensor<Self, D>,
        residual: Tensor<Self, D>,
        gamma: Tensor<Self, 1>,
        epsilon: f64,
        config: &KernelConfig,
    ) -> AddNorm<Self, D> {
        Self::scope(config, || compose::norm::add_norm(x, residual, gamma, epsilon, config))
    }

    /// [`Activation::GeluTanh`](crate::Activation::GeluTanh).
    fn gelu_tanh<const D: usize>(x: Tensor<Self, D>, config: &KernelConfig) -> Tensor<Self, D> {
        Self::scope(config, || compose::activation::gelu_tanh(x, config))
    }

    /// [`Activation::GeluErf`](crate::Activation::GeluErf).
    fn gelu_erf<const D: usize>(x: Tensor<Self, D>, config: &KernelConfig) -> Tensor<Self, D> {
        Self::scope(config, || compose::activation::gelu_erf(x, config))
    }

    /// [`Activation::Silu`](crate::Activation::Silu).
    fn silu<const D: usize>(x: Tensor<Self, D>, config: &KernelConfig) -> Tensor<Self, D> {
        Self::scope(config, || compose::activation::silu(x, config))
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
        Self::scope(config, || compose::mlp::mlp_gated(x, weights, residual, config))
    }

    /// `mlp_gated(rms_norm(sum)) + sum` for `sum = x + residual`: what a decoder layer does with the result of its
    /// attention.
    ///
    /// On `Autodiff` it is both ops, each with its own backward.
    ///
    /// # Shapes
    /// `x`, `residual` and output `[.., hidden]`.
    fn add_norm_mlp_gated<const D: usize>(
        x: Tensor<Self, D>,
        residual: Tensor<Self, D>,
        norm: &RmsWeights<Self>,
        weights: &GatedMlpWeights<Self>,
        config: &KernelConfig,
    ) -> Tensor<Self, D> {
        Self::scope(config, || compose::mlp::add_norm_mlp_gated(x, residual, norm, weights, config))
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
        Self::scope(config, || compose::mlp::mlp_plain(x, weights, residual, config))
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
        Self::scope(config, || compose::moe::moe(x, weights, options, config))
    }

    /// Rotary embedding: `x · cos + rotate_half(x) · sin` (Su et al. 2021).
    ///
    /// # Shapes
    /// `x` and output `[batch, heads, length, head_dim]`.
    fn rope(x: Tensor<Self, 4>, rotary: &Rotary<Self>, config: &KernelConfig) -> Tensor<Self, 4> {
        Self::scope(config, || compose::rope::rope(x, rotary, config))
    }

    /// RMS norm of each head of queries and keys, then rotary embedding.
    fn qk_norm_rope(
        heads: QueryKey<Self>,
        norms: HeadNorms<Self>,
        rotary: &Rotary<Self>,
        config: &KernelConfig,
    ) -> QueryKey<Self> {
        Self::scope(config, || compose::rope::qk_norm_rope(heads, norms, rotary, config))
    }

    /// Rows of `weight` by id, as f32. A packed (tied) head gives its rows from the panels.
    ///
    /// # Shapes
    /// `weight` `[vocab, hidden]`, `ids` `[batch, length]`, output `[batch, length, hidden]`.
    fn embedding(weight: &Weight<Self>, ids: Tensor<Self, 2, Int>, config: &KernelConfig) -> Tensor<Self, 3> {
        Self::scope(config, || compose::embedding::embedding(weight, ids, config))
    }

    /// Scaled dot-product attention; see [`AttentionOptions`]. With a cache, `k` and `v` are appended to it first and
    /// the queries see everything in it. A query that sees no key gives 0.
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
        Self::scope(config, || compose::attention::attention(inputs, options, cache, config))
    }

    /// Self-attention from projections to what the output projection takes: the heads of `q` and `k` normalised where
    /// there are norms, rotated, appended to the caches with `v`, and attended to, each sequence by itself.
    ///
    /// With caches there is one for each sequence, whose positions come before those given. Gradients are those of the
    /// ops that the default is composed of.
    ///
    /// # Shapes
    /// Output `[batch, length, heads · head_dim]`. Masks, biases and segments in `options` are those of each sequence.
    ///
    /// # Panics
    /// When there are caches, but not one for each sequence, or one has no room: check [`KvCache::capacity`] before a
    /// step.
    fn attention_rotary(
        inputs: RotaryInputs<'_, Self>,
        options: &AttentionOptions<Self>,
        caches: Vec<&mut KvCache<Self>>,
        config: &KernelConfig,
    ) -> Tensor<Self, 3> {
        Self::scope(config, || compose::attention_rotary::attention_rotary(inputs, options, caches, config))
    }
}
