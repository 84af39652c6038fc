//! [`FusedOps`] and [`TrainingOps`] on `Kiln<B>`: the engine's kernel where it takes the operands, else the default composition, whose single ops
//! reach the kernels again.

mod attention;
mod mlp;
mod moe;
mod rotary;

use crate::engine::UnaryOp;
use crate::engine::{EngineLayer, EngineNorm, EngineWeight, LinearEpilogue};
use crate::op_shape::OpShape;
use crate::{Engine, Kiln};
use burn_backend::tensor::FloatTensor;
use burn_kiln_fusion::{
    AddNorm, AddNormForward, AttentionForward, AttentionInputs, AttentionOptions, DeviceMemory, Epilogue, FusedOps,
    GatedMlpWeights, KernelConfig, KvCache, LinearWeights, MoeOptions, MoeWeights, Norm, RmsNormForward, Rotary,
    RotaryInputs, TrainingOps, Weight, compose,
};
use burn_tensor::{Int, Tensor, TensorPrimitive};
use std::sync::Arc;

/// A weight as `Kiln<B>` holds it.
#[derive(Debug, Clone)]
pub enum KilnPacked<B: Engine> {
    /// Packed by the engine.
    Panels(B::Panels),
    /// The engine has no packed form for this dtype or device.
    Plain(FloatTensor<B>),
}

/// The tensor's primitive.
fn lower<B: Engine, const D: usize>(tensor: Tensor<Kiln<B>, D>) -> FloatTensor<B> {
    tensor.into_primitive().tensor()
}

/// The primitive as a tensor.
fn lift<B: Engine, const D: usize>(primitive: FloatTensor<B>) -> Tensor<Kiln<B>, D> {
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}

/// What the engine sees of a weight.
fn engine_weight<B: Engine>(weight: &Weight<Kiln<B>>) -> EngineWeight<'_, B> {
    match weight {
        Weight::Plain(tensor) => EngineWeight::Plain(lower(tensor.clone())),
        Weight::Packed(KilnPacked::Panels(panels)) => EngineWeight::Packed(panels),
        Weight::Packed(KilnPacked::Plain(tensor)) => EngineWeight::Plain(tensor.clone()),
    }
}

impl<B: Engine> Kiln<B> {
    /// How a linear layer with this weight runs for an input of so many `rows`: element type and layout of the weight, instruction set,
    /// algorithm, block sizes, threads. `None` where `B` multiplies.
    pub fn explain_linear(weight: &Weight<Self>, rows: usize, config: &KernelConfig) -> Option<String> {
        B::explain_linear(&engine_weight(weight), rows, config)
    }

    /// How an op runs on `device`: block sizes and launches, or what the device lacks. `None` where `B` has no kernels of its own to choose among.
    pub fn explain_op(op: &OpShape<&Weight<Self>>, device: &B::Device, config: &KernelConfig) -> Option<String> {
        B::explain_op(&op.map_weights(|weight| engine_weight(weight)), device, config)
    }
}

impl<B: Engine> FusedOps for Kiln<B> {
    type Packed = KilnPacked<B>;

    fn pack(weight: Tensor<Self, 2>, config: &KernelConfig) -> Self::Packed {
        match B::try_pack(lower(weight), config) {
            Ok(panels) => KilnPacked::Panels(panels),
            Err(tensor) => KilnPacked::Plain(tensor),
        }
    }

    fn unpack(packed: &Self::Packed) -> Tensor<Self, 2> {
        match packed {
            KilnPacked::Panels(panels) => lift(B::unpack_panels(panels)),
            KilnPacked::Plain(tensor) => lift(tensor.clone()),
        }
    }

    fn scope<T>(config: &Arc<KernelConfig>, work: impl FnOnce() -> T) -> T {
        crate::scope(config, work)
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
        let fused = config.fusion.linear_epilogue;
        let (inner, outer) = if fused { (epilogue, Epilogue::default()) } else { (Epilogue::default(), epilogue) };
        let operands = LinearEpilogue {
            bias: inner.bias.map(lower),
            activation: inner.activation,
            residual: inner.residual.map(lower),
        };
        match B::try_linear(lower(x), &engine_weight(weight), operands, config) {
            Ok(output) => compose::linear::apply_epilogue(lift(output), outer, config),
            Err((x, back)) => {
                let epilogue = if fused {
                    Epilogue {
                        bias: back.bias.map(lift),
                        activation: back.activation,
                        residual: back.residual.map(lift),
                    }
                } else {
                    outer
                };
                compose::linear::linear(lift(x), weight, epilogue, config)
            }
        }
    }

    fn rms_norm<const D: usize>(
        x: Tensor<Self, D>,
        gamma: Tensor<Self, 1>,
        epsilon: f64,
        config: &KernelConfig,
    ) -> Tensor<Self, D> {
        match B::try_rms_norm(lower(x), lower(gamma), epsilon, config) {
            Ok((output, _)) => lift(output),
            Err((x, gamma)) => compose::norm::rms_norm(lift(x), lift(gamma), epsilon, config),
        }
    }

    fn layer_norm<const D: usize>(
        x: Tensor<Self, D>,
        gamma: Tensor<Self, 1>,
        beta: Option<Tensor<Self, 1>>,
        epsilon: f64,
        config: &KernelConfig,
    ) -> Tensor<Self, D> {
        match B::try_layer_norm(lower(x), lower(gamma), beta.map(lower), epsilon, config) {
            Ok(output) => lift(output),
            Err((x, gamma, beta)) => compose::norm::layer_norm(lift(x), lift(gamma), beta.map(lift), epsilon, config),
        }
    }

    fn norm_linear<const D: usize>(
        x: Tensor<Self, D>,
        norm: &Norm<Self>,
        weight: &Weight<Self>,
        bias: Option<Tensor<Self, 1>>,
        config: &KernelConfig,
    ) -> Tensor<Self, D> {
        let [output] = Self::norm_linears(x, norm, [LinearWeights { weight: weight.clone(), bias }], config);
        output
    }

    fn norm_linears<const D: usize, const N: usize>(
        x: Tensor<Self, D>,
        norm: &Norm<Self>,
        layers: [LinearWeights<Self>; N],
        config: &KernelConfig,
    ) -> [Tensor<Self, D>; N] {
        if !config.fusion.norm_linear {
            return compose::norm::norm_linears(x, norm, layers, config);
        }
        let engine_norm = EngineNorm {
            kind: norm.kind,
            gamma: lower(norm.gamma.clone()),
            beta: norm.beta.clone().map(lower),
            epsilon: norm.epsilon,
        };
        let x = lower(x);
        let outputs = {
            let layers = layers
                .each_ref()
                .map(|layer| EngineLayer { weight: engine_weight(&layer.weight), bias: layer.bias.clone().map(lower) });
            B::try_norm_linears(&x, &engine_norm, &layers, config)
        };
        match outputs.map(<[FloatTensor<B>; N]>::try_from) {
            Some(Ok(outputs)) => outputs.map(lift),
            Some(Err(_)) | None => compose::norm::norm_linears(lift(x), norm, layers, config),
        }
    }

    fn add_norm<const D: usize>(
        x: Tensor<Self, D>,
        residual: Tensor<Self, D>,
        gamma: Tensor<Self, 1>,
        epsilon: f64,
        config: &KernelConfig,
    ) -> AddNorm<Self, D> {
        if !config.fusion.add_norm {
            return compose::norm::add_norm(x, residual, gamma, epsilon, config);
        }
        match B::try_add_norm(lower(x), lower(residual), lower(gamma), epsilon, config) {
            Ok([sum, normed, _]) => AddNorm { sum: lift(sum), normed: lift(normed) },
            Err([x, residual, gamma]) => compose::norm::add_norm(lift(x), lift(residual), lift(gamma), epsilon, config),
        }
    }

    fn gelu_tanh<const D: usize>(x: Tensor<Self, D>, config: &KernelConfig) -> Tensor<Self, D> {
        match B::try_unary(UnaryOp::GeluTanh, lower(x), config) {
            Ok(output) => lift(output),
            Err(x) => compose::activation::gelu_tanh(lift(x), config),
        }
    }

    fn gelu_erf<const D: usize>(x: Tensor<Self, D>, config: &KernelConfig) -> Tensor<Self, D> {
        match B::try_unary(UnaryOp::GeluErf, lower(x), config) {
            Ok(output) => lift(output),
            Err(x) => compose::activation::gelu_erf(lift(x), config),
        }
    }

    fn silu<const D: usize>(x: Tensor<Self, D>, config: &KernelConfig) -> Tensor<Self, D> {
        match B::try_unary(UnaryOp::Silu, lower(x), config) {
            Ok(output) => lift(output),
            Err(x) => compose::activation::silu(lift(x), config),
        }
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
        norm: (Tensor<Self, 1>, f64),
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
        let (cos, sin) = (lower(rotary.cos.clone()), lower(rotary.sin.clone()));
        match B::try_rope(lower(x), None, (&cos, &sin), config) {
            Ok(output) => lift(output),
            Err(x) => compose::rope::rope(lift(x), rotary, config),
        }
    }

    fn qk_norm_rope(
        (q, k): (Tensor<Self, 4>, Tensor<Self, 4>),
        (q_gamma, k_gamma): (Tensor<Self, 1>, Tensor<Self, 1>),
        epsilon: f64,
        rotary: &Rotary<Self>,
        config: &KernelConfig,
    ) -> (Tensor<Self, 4>, Tensor<Self, 4>) {
        if !config.fusion.qk_norm_rope {
            return compose::rope::qk_norm_rope((q, k), (q_gamma, k_gamma), epsilon, rotary, config);
        }
        let (cos, sin) = (lower(rotary.cos.clone()), lower(rotary.sin.clone()));
        {
            let heads = [q.clone(), k.clone()].map(lower);
            let gammas = [q_gamma.clone(), k_gamma.clone()].map(lower);
            let norm = (gammas.each_ref(), epsilon);
            if let Some([q, k]) = B::try_qk_norm_rope(heads.each_ref(), norm, (&cos, &sin), config) {
                return (lift(q), lift(k));
            }
        }
        let one = |x: Tensor<Self, 4>, gamma: Tensor<Self, 1>| {
            let weight = lower(gamma.clone());
            match B::try_rope(lower(x), Some((&weight, epsilon)), (&cos, &sin), config) {
                Ok(output) => lift(output),
                Err(x) => Self::rope(Self::rms_norm(lift(x), gamma, epsilon, config), rotary, config),
            }
        };
        (one(q, q_gamma), one(k, k_gamma))
    }

    fn embedding(weight: &Weight<Self>, ids: Tensor<Self, 2, Int>, config: &KernelConfig) -> Tensor<Self, 3> {
        match B::try_embedding(&engine_weight(weight), ids.into_primitive(), config) {
            Ok(rows) => lift(rows),
            Err(ids) => compose::embedding::embedding(weight, Tensor::from_primitive(ids), config),
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

impl<B: Engine> TrainingOps for Kiln<B> {
    fn rms_norm_forward<const D: usize>(
        x: Tensor<Self, D>,
        gamma: Tensor<Self, 1>,
        epsilon: f64,
        config: &KernelConfig,
    ) -> RmsNormForward<Self, D> {
        match B::try_rms_norm(lower(x), lower(gamma), epsilon, config) {
            Ok((output, rstd)) => RmsNormForward { output: lift(output), rstd: lift(rstd) },
            Err((x, gamma)) => compose::norm::rms_norm_forward(lift(x), lift(gamma), epsilon, config),
        }
    }

    fn add_norm_forward<const D: usize>(
        x: Tensor<Self, D>,
        residual: Tensor<Self, D>,
        gamma: Tensor<Self, 1>,
        epsilon: f64,
        config: &KernelConfig,
    ) -> AddNormForward<Self, D> {
        if !config.fusion.add_norm {
            return compose::norm::add_norm_forward(x, residual, gamma, epsilon, config);
        }
        match B::try_add_norm(lower(x), lower(residual), lower(gamma), epsilon, config) {
            Ok([sum, normed, rstd]) => AddNormForward { sum: lift(sum), normed: lift(normed), rstd: lift(rstd) },
            Err([x, residual, gamma]) => {
                compose::norm::add_norm_forward(lift(x), lift(residual), lift(gamma), epsilon, config)
            }
        }
    }

    fn attention_forward(
        inputs: AttentionInputs<Self>,
        options: &AttentionOptions<Self>,
        config: &KernelConfig,
    ) -> AttentionForward<Self> {
        attention::attention_forward(inputs, options, config)
    }
}
