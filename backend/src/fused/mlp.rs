//! Gated MLPs, alone and with the addition and the norm before them.

use super::{engine_weight, lift, lower};
use crate::engine::EngineNorm;
use crate::{Engine, Kiln};
use burn_kiln_fusion::{Epilogue, FusedOps, GatedMlpWeights, KernelConfig, NormKind, compose};
use burn_tensor::Tensor;

/// The engine's kernel where it takes the operands; else products and their activation, each of which may reach one.
pub(super) fn mlp_gated<B: Engine, const D: usize>(
    x: Tensor<Kiln<B>, D>,
    weights: &GatedMlpWeights<Kiln<B>>,
    residual: Option<Tensor<Kiln<B>, D>>,
    config: &KernelConfig,
) -> Tensor<Kiln<B>, D> {
    if !config.fusion.mlp {
        return compose::mlp::mlp_gated(x, weights, residual, config);
    }
    let (primitive, residual_primitive) = (lower(x), residual.clone().map(lower));
    let engine_weights = [&weights.gate, &weights.up, &weights.down].map(engine_weight);
    let output = B::try_mlp_gated(&primitive, engine_weights.each_ref(), residual_primitive.as_ref(), config);
    if let Some(output) = output {
        return lift(output);
    }
    drop(residual_primitive);
    let x: Tensor<Kiln<B>, D> = lift(primitive);
    let gate = <Kiln<B> as FusedOps>::linear(x.clone(), &weights.gate, Epilogue::default(), config);
    let up = <Kiln<B> as FusedOps>::linear(x, &weights.up, Epilogue::default(), config);
    let hidden = match B::try_silu_mul(lower(gate), lower(up), config) {
        Ok(hidden) => lift(hidden),
        Err((gate, up)) => <Kiln<B> as FusedOps>::silu(lift(gate), config) * lift(up),
    };
    <Kiln<B> as FusedOps>::linear(hidden, &weights.down, Epilogue { residual, ..Epilogue::default() }, config)
}

/// The engine's kernel where it takes the operands, else the composition.
pub(super) fn add_norm_mlp_gated<B: Engine, const D: usize>(
    x: Tensor<Kiln<B>, D>,
    residual: Tensor<Kiln<B>, D>,
    (gamma, epsilon): (Tensor<Kiln<B>, 1>, f64),
    weights: &GatedMlpWeights<Kiln<B>>,
    config: &KernelConfig,
) -> Tensor<Kiln<B>, D> {
    let (x, residual) = (lower(x), lower(residual));
    if config.fusion.mlp && config.fusion.add_norm {
        let norm = EngineNorm { kind: NormKind::Rms, gamma: lower(gamma.clone()), beta: None, epsilon };
        let engine_weights = [&weights.gate, &weights.up, &weights.down].map(engine_weight);
        let output = B::try_add_norm_mlp_gated([&x, &residual], &norm, engine_weights.each_ref(), config);
        if let Some(output) = output {
            return lift(output);
        }
    }
    compose::mlp::add_norm_mlp_gated(lift(x), lift(residual), (gamma, epsilon), weights, config)
}
