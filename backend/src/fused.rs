//! The fused ops on `Kiln<B>`: the engine's kernel where it takes the operands, else the default
//! composition, whose single ops reach the kernels again.
//!
//! A composition runs in a scope of the configuration that the op was called with, so that its plain Burn ops obey it
//! too.

mod attention;
mod conversion;
mod gradients;
mod layers;
mod linear_backward;
mod loss;
mod mlp;
mod moe;
mod rope;
mod rotary;
mod training;

use crate::engine::{EmbeddingOperands, EngineWeight, UnaryOp, UnaryOperands};
use crate::fused_group::FusedGroup;
use crate::op_shape::OpShape;
use crate::{Engine, Kiln};
use burn_kiln_fusion::{
    AddNorm, AttentionInputs, AttentionOptions, Conversion, DeviceMemory, Epilogue, FusedOps, GatedMlpWeights,
    HeadNorms, KernelConfig, KvCache, LinearWeights, MoeOptions, MoeWeights, Norm, Packing, QueryKey, RmsWeights,
    Rotary, RotaryInputs, Weight, compose,
};
use burn_tensor::{Int, Tensor};
use conversion::{Lower, lift, lower};

impl<B: Engine> Kiln<B> {
    /// How a linear layer with this weight runs for an input of so many `rows`: element type and layout of the weight,
    /// instruction set, algorithm, block sizes, threads. `None` where `B` multiplies.
    pub fn explain_linear(weight: &Weight<Self>, rows: usize, config: &KernelConfig) -> Option<String> {
        B::explain_linear(&Lower::convert_weight(weight.clone()), rows, config)
    }

    /// How an op runs on `device`: kernel, sizes, threads or launches; the decorated backend's, where the engine has no
    /// kernel for it, or what the device lacks. `None` for an engine that does not tell.
    ///
    /// The engine asks the functions that its hooks ask, so what is told is what runs; operands that a kernel does not
    /// take (a layout, a mask) still run as the decorated backend runs them.
    pub fn explain_op(op: &OpShape<&Weight<Self>>, device: &B::Device, config: &KernelConfig) -> Option<String> {
        if let Some(switch) = FusedGroup::of(op).and_then(|group| group.find_off(&config.fusion)) {
            return Some(format!("op by op: {switch} is off"));
        }
        B::explain_op(&op.map_weights(|&weight| Lower::convert_weight(weight.clone())), device, config)
    }
}

impl<B: Engine> Packing for Kiln<B> {
    /// [`EngineWeight::Plain`] where the engine has no packed form for this dtype, device or configuration.
    type Packed = EngineWeight<B>;

    fn pack(weight: Tensor<Self, 2>, config: &KernelConfig) -> Self::Packed {
        match B::try_pack(lower(weight), config) {
            Ok(panels) => EngineWeight::Packed(panels),
            Err(tensor) => EngineWeight::Plain(tensor),
        }
    }

    fn unpack(packed: &Self::Packed) -> Tensor<Self, 2> {
        match packed {
            EngineWeight::Packed(panels) => lift(B::unpack_panels(panels)),
            EngineWeight::Plain(tensor) => lift(tensor.clone()),
        }
    }
}

impl<B: Engine> FusedOps for Kiln<B> {
    fn scope<T>(config: &KernelConfig, work: impl FnOnce() -> T) -> T {
        crate::scope::scope_of(config, work)
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
        layers::linear(x, weight, epilogue, config)
    }

    fn rms_norm<const D: usize>(
        x: Tensor<Self, D>,
        gamma: Tensor<Self, 1>,
        epsilon: f64,
        config: &KernelConfig,
    ) -> Tensor<Self, D> {
        layers::rms_norm(x, gamma, epsilon, config)
    }

    fn layer_norm<const D: usize>(
        x: Tensor<Self, D>,
        gamma: Tensor<Self, 1>,
        beta: Option<Tensor<Self, 1>>,
        epsilon: f64,
        config: &KernelConfig,
    ) -> Tensor<Self, D> {
        layers::layer_norm(x, gamma, beta, epsilon, config)
    }

    fn norm_linear<const D: usize>(
        x: Tensor<Self, D>,
        norm: &Norm<Self>,
        weight: &Weight<Self>,
        bias: Option<Tensor<Self, 1>>,
        config: &KernelConfig,
    ) -> Tensor<Self, D> {
        let [output] = layers::norm_linears(x, norm, [LinearWeights { weight: weight.clone(), bias }], config);
        output
    }

    fn norm_linears<const D: usize, const N: usize>(
        x: Tensor<Self, D>,
        norm: &Norm<Self>,
        layers: [LinearWeights<Self>; N],
        config: &KernelConfig,
    ) -> [Tensor<Self, D>; N] {
        layers::norm_linears(x, norm, layers, config)
    }

    fn add_norm<const D: usize>(
        x: Tensor<Self, D>,
        residual: Tensor<Self, D>,
        gamma: Tensor<Self, 1>,
        epsilon: f64,
        config: &KernelConfig,
    ) -> AddNorm<Self, D> {
        layers::add_norm(x, residual, gamma, epsilon, config)
    }

    fn gelu_tanh<const D: usize>(x: Tensor<Self, D>, config: &KernelConfig) -> Tensor<Self, D> {
        activate(UnaryOp::GeluTanh, x, |x| compose::activation::gelu_tanh(x, config), config)
    }

    fn gelu_erf<const D: usize>(x: Tensor<Self, D>, config: &KernelConfig) -> Tensor<Self, D> {
        activate(UnaryOp::GeluErf, x, |x| compose::activation::gelu_erf(x, config), config)
    }

    fn silu<const D: usize>(x: Tensor<Self, D>, config: &KernelConfig) -> Tensor<Self, D> {
        activate(UnaryOp::Silu, x, |x| compose::activation::silu(x, config), config)
    }

    fn mlp_gated<const D: usize>(
        x: Tensor<Self, D>,
        weights: &GatedMlpWeights<Self>,
        residual: Option<Tensor<Self, D>>,
        config: &KernelConfig,
    ) -> Tensor<Self, D> {
        mlp::mlp_gated(x, weights, residual, config)
    }

    fn add_norm_mlp_gated<const D: usize>(
        x: Tensor<Self, D>,
        residual: Tensor<Self, D>,
        norm: &RmsWeights<Self>,
        weights: &GatedMlpWeights<Self>,
        config: &KernelConfig,
    ) -> Tensor<Self, D> {
        mlp::add_norm_mlp_gated(x, residual, norm, weights, config)
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
        let operands = EmbeddingOperands { weight: Lower::convert_weight(weight.clone()), ids: ids.into_primitive() };
        match B::try_embedding(&operands, config) {
            Some(rows) => lift(rows),
            None => {
                let ids = Tensor::from_primitive(operands.ids);
                Self::scope(config, || compose::embedding::embedding(weight, ids, config))
            }
        }
    }

    fn attention(
        inputs: AttentionInputs<Self>,
        options: &AttentionOptions<Self>,
        cache: Option<&mut KvCache<Self>>,
        config: &KernelConfig,
    ) -> Tensor<Self, 4> {
        attention::attention(inputs, options, cache, config)
    }

    fn attention_rotary(
        inputs: RotaryInputs<'_, Self>,
        options: &AttentionOptions<Self>,
        caches: Vec<&mut KvCache<Self>>,
        config: &KernelConfig,
    ) -> Tensor<Self, 3> {
        rotary::attention_rotary(inputs, options, caches, config)
    }
}

/// The engine's function of each element, else `composition`.
fn activate<B: Engine, const D: usize>(
    op: UnaryOp,
    x: Tensor<Kiln<B>, D>,
    composition: impl FnOnce(Tensor<Kiln<B>, D>) -> Tensor<Kiln<B>, D>,
    config: &KernelConfig,
) -> Tensor<Kiln<B>, D> {
    match B::try_unary(UnaryOperands { op, x: lower(x) }, config) {
        Ok(output) => lift(output),
        Err(UnaryOperands { x, .. }) => Kiln::<B>::scope(config, || composition(lift(x))),
    }
}
