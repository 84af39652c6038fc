//! The vocabulary on `Autodiff<B>`: the forward of `B` and hand-written backward passes.
//!
//! Burn's own `Autodiff` would record the default compositions op by op: correct, but a fused kernel of `B` would never
//! be reached. Here each op is one node of the tape (two where it has two outputs); it calls `B`'s `*_forward` and, in
//! reverse, `B`'s `*_backward`.
//!
//! - Nothing tracked: `B`'s op runs and nothing is recorded.
//! - A node's backward runs under the configuration of its forward, wherever `.backward()` is called.
//! - A parent that wants no gradient costs none: a frozen matrix (LoRA) gets no weight gradient, and the inputs that
//!   only that would need are not kept.
//! - Attention with a cache, and attention with a trained bias, run their composition on `Autodiff` itself.
//!
//! A node never calls `.backward()`: the tape's lock is held while it runs.

mod activation;
mod attention;
mod embedding;
mod linear;
mod loss;
mod mlp;
mod moe;
mod norm;
mod norm_linear;
mod rope;
mod tape;

use crate::{
    Activation, AdamWOptions, AdamWState, AddNorm, AttentionInputs, AttentionOptions, DeviceMemory, Epilogue, FusedOps,
    GatedMlpWeights, HeadNorms, KernelConfig, KvCache, LinearWeights, LossForward, LossInputs, LossOptions, MoeOptions,
    MoeWeights, Norm, Packing, PlainMlpWeights, QueryKey, Rotary, TrainingOps, Weight,
};
use burn_autodiff::{Autodiff, checkpoint::strategy::CheckpointStrategy};
use burn_tensor::{Int, Tensor};

impl<B: TrainingOps, C: CheckpointStrategy> Packing for Autodiff<B, C> {
    type Packed = Tensor<Self, 2>;

    fn pack(weight: Tensor<Self, 2>, _config: &KernelConfig) -> Self::Packed {
        weight
    }

    fn unpack(packed: &Self::Packed) -> Tensor<Self, 2> {
        packed.clone()
    }
}

impl<B: TrainingOps, C: CheckpointStrategy> FusedOps for Autodiff<B, C> {
    fn scope<T>(config: &KernelConfig, work: impl FnOnce() -> T) -> T {
        B::scope(config, work)
    }

    fn device_memory(device: &Self::Device) -> Option<DeviceMemory> {
        B::device_memory(device)
    }

    fn linear<const D: usize>(
        x: Tensor<Self, D>,
        weight: &Weight<Self>,
        epilogue: Epilogue<Self, D>,
        config: &KernelConfig,
    ) -> Tensor<Self, D> {
        linear::linear(x, weight, epilogue, config)
    }

    fn rms_norm<const D: usize>(
        x: Tensor<Self, D>,
        gamma: Tensor<Self, 1>,
        epsilon: f64,
        config: &KernelConfig,
    ) -> Tensor<Self, D> {
        norm::rms_norm(x, gamma, epsilon, config)
    }

    fn layer_norm<const D: usize>(
        x: Tensor<Self, D>,
        gamma: Tensor<Self, 1>,
        beta: Option<Tensor<Self, 1>>,
        epsilon: f64,
        config: &KernelConfig,
    ) -> Tensor<Self, D> {
        norm::layer_norm(x, gamma, beta, epsilon, config)
    }

    fn norm_linear<const D: usize>(
        x: Tensor<Self, D>,
        norm: &Norm<Self>,
        weight: &Weight<Self>,
        bias: Option<Tensor<Self, 1>>,
        config: &KernelConfig,
    ) -> Tensor<Self, D> {
        norm_linear::norm_linear(x, norm, weight, bias, config)
    }

    fn norm_linears<const D: usize, const N: usize>(
        x: Tensor<Self, D>,
        norm: &Norm<Self>,
        layers: [LinearWeights<Self>; N],
        config: &KernelConfig,
    ) -> [Tensor<Self, D>; N] {
        norm_linear::norm_linears(x, norm, layers, config)
    }

    fn add_norm<const D: usize>(
        x: Tensor<Self, D>,
        residual: Tensor<Self, D>,
        gamma: Tensor<Self, 1>,
        epsilon: f64,
        config: &KernelConfig,
    ) -> AddNorm<Self, D> {
        norm::add_norm(x, residual, gamma, epsilon, config)
    }

    fn gelu_tanh<const D: usize>(x: Tensor<Self, D>, config: &KernelConfig) -> Tensor<Self, D> {
        activation::activate(Activation::GeluTanh, x, config)
    }

    fn gelu_erf<const D: usize>(x: Tensor<Self, D>, config: &KernelConfig) -> Tensor<Self, D> {
        activation::activate(Activation::GeluErf, x, config)
    }

    fn silu<const D: usize>(x: Tensor<Self, D>, config: &KernelConfig) -> Tensor<Self, D> {
        activation::activate(Activation::Silu, x, config)
    }

    fn mlp_gated<const D: usize>(
        x: Tensor<Self, D>,
        weights: &GatedMlpWeights<Self>,
        residual: Option<Tensor<Self, D>>,
        config: &KernelConfig,
    ) -> Tensor<Self, D> {
        mlp::mlp_gated(x, weights, residual, config)
    }

    fn mlp_plain<const D: usize>(
        x: Tensor<Self, D>,
        weights: &PlainMlpWeights<Self>,
        residual: Option<Tensor<Self, D>>,
        config: &KernelConfig,
    ) -> Tensor<Self, D> {
        mlp::mlp_plain(x, weights, residual, config)
    }

    fn moe(
        x: Tensor<Self, 2>,
        weights: &MoeWeights<Self>,
        options: MoeOptions,
        config: &KernelConfig,
    ) -> Tensor<Self, 2> {
        moe::moe(x, weights, options, config)
    }

    fn rope(x: Tensor<Self, 4>, rotary: &Rotary<Self>, config: &KernelConfig) -> Tensor<Self, 4> {
        rope::rope(x, rotary, config)
    }

    fn qk_norm_rope(
        heads: QueryKey<Self>,
        norms: HeadNorms<Self>,
        rotary: &Rotary<Self>,
        config: &KernelConfig,
    ) -> QueryKey<Self> {
        rope::qk_norm_rope(heads, norms, rotary, config)
    }

    fn embedding(weight: &Weight<Self>, ids: Tensor<Self, 2, Int>, config: &KernelConfig) -> Tensor<Self, 3> {
        embedding::embedding(weight, ids, config)
    }

    fn attention(
        inputs: AttentionInputs<Self>,
        options: &AttentionOptions<Self>,
        cache: Option<&mut KvCache<Self>>,
        config: &KernelConfig,
    ) -> Tensor<Self, 4> {
        attention::attention(inputs, options, cache, config)
    }
}

impl<B: TrainingOps, C: CheckpointStrategy> TrainingOps for Autodiff<B, C> {
    fn lm_head_cross_entropy(
        inputs: LossInputs<'_, Self>,
        options: LossOptions,
        config: &KernelConfig,
    ) -> LossForward<Self> {
        loss::lm_head_cross_entropy(inputs, options, config)
    }

    /// The step of `B`: an update is not differentiated.
    fn adamw_step<const D: usize>(
        parameter: Tensor<Self, D>,
        grad: Tensor<Self, D>,
        state: AdamWState<Self, D>,
        options: AdamWOptions,
        config: &KernelConfig,
    ) -> (Tensor<Self, D>, AdamWState<Self, D>) {
        let AdamWState { moment_1, moment_2, master } = state;
        let [moment_1, moment_2] = [moment_1, moment_2].map(Tensor::inner);
        let state = AdamWState { moment_1, moment_2, master: master.map(Tensor::inner) };
        let (parameter, state) = B::adamw_step(parameter.inner(), grad.inner(), state, options, config);
        let AdamWState { moment_1, moment_2, master } = state;
        let [moment_1, moment_2] = [moment_1, moment_2].map(Tensor::from_inner);
        (Tensor::from_inner(parameter), AdamWState { moment_1, moment_2, master: master.map(Tensor::from_inner) })
    }

    /// That of `B`: a norm that is clipped is not differentiated.
    fn sum_of_squares<const D: usize>(x: Tensor<Self, D>, config: &KernelConfig) -> Tensor<Self, 1> {
        Tensor::from_inner(B::sum_of_squares(x.inner(), config))
    }
}
