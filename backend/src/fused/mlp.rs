//! Gated MLPs, alone and with the addition and the norm before them.

use super::conversion::{Lower, lift, lower};
use crate::engine::{AddNormGatedMlpOperands, GatedMlpOperands, SiluMulOperands};
use crate::fused_group::FusedGroup;
use crate::{Engine, Kiln};
use burn_kiln_fusion::{Epilogue, FusedOps, GatedMlpForward, GatedMlpWeights, KernelConfig, RmsWeights, compose};
use burn_tensor::Tensor;

/// The engine's kernel where it takes the operands; else products and their activation, each of which may reach one.
pub(super) fn mlp_gated<B: Engine, const D: usize>(
    x: Tensor<Kiln<B>, D>,
    weights: &GatedMlpWeights<Kiln<B>>,
    residual: Option<Tensor<Kiln<B>, D>>,
    config: &KernelConfig,
) -> Tensor<Kiln<B>, D> {
    if !FusedGroup::Mlp.is_on(&config.fusion) {
        return Kiln::<B>::scope(config, || compose::mlp::mlp_gated(x, weights, residual, config));
    }
    let operands =
        GatedMlpOperands { x: lower(x), weights: weights.clone().convert::<Lower<B>>(), residual: residual.map(lower) };
    if let Some(output) = B::try_mlp_gated(&operands, config) {
        return lift(output);
    }
    let (x, residual) = (lift::<B, D>(operands.x), operands.residual.map(lift));
    let gate = <Kiln<B> as FusedOps>::linear(x.clone(), &weights.gate, Epilogue::default(), config);
    let up = <Kiln<B> as FusedOps>::linear(x, &weights.up, Epilogue::default(), config);
    let hidden = silu_mul(gate, up, config);
    <Kiln<B> as FusedOps>::linear(hidden, &weights.down, Epilogue { residual, ..Epilogue::default() }, config)
}

/// The same, keeping both products.
pub(super) fn mlp_gated_forward<B: Engine, const D: usize>(
    x: Tensor<Kiln<B>, D>,
    weights: &GatedMlpWeights<Kiln<B>>,
    residual: Option<Tensor<Kiln<B>, D>>,
    config: &KernelConfig,
) -> GatedMlpForward<Kiln<B>, D> {
    if !FusedGroup::Mlp.is_on(&config.fusion) {
        return Kiln::<B>::scope(config, || compose::mlp::mlp_gated_forward(x, weights, residual, config));
    }
    let gate = <Kiln<B> as FusedOps>::linear(x.clone(), &weights.gate, Epilogue::default(), config);
    let up = <Kiln<B> as FusedOps>::linear(x, &weights.up, Epilogue::default(), config);
    let hidden = silu_mul(gate.clone(), up.clone(), config);
    let output =
        <Kiln<B> as FusedOps>::linear(hidden, &weights.down, Epilogue { residual, ..Epilogue::default() }, config);
    GatedMlpForward { output, gate, up }
}

/// `silu(gate) ⊙ up` by the engine's kernel, else as two ops.
fn silu_mul<B: Engine, const D: usize>(
    gate: Tensor<Kiln<B>, D>,
    up: Tensor<Kiln<B>, D>,
    config: &KernelConfig,
) -> Tensor<Kiln<B>, D> {
    match B::try_silu_mul(SiluMulOperands { gate: lower(gate), up: lower(up) }, config) {
        Ok(hidden) => lift(hidden),
        Err(SiluMulOperands { gate, up }) => {
            Kiln::<B>::scope(config, || Kiln::<B>::silu(lift(gate), config) * lift(up))
        }
    }
}

/// The engine's kernel where it takes the operands, else the composition.
pub(super) fn add_norm_mlp_gated<B: Engine, const D: usize>(
    x: Tensor<Kiln<B>, D>,
    residual: Tensor<Kiln<B>, D>,
    norm: &RmsWeights<Kiln<B>>,
    weights: &GatedMlpWeights<Kiln<B>>,
    config: &KernelConfig,
) -> Tensor<Kiln<B>, D> {
    let fall_back =
        |x, residual| Kiln::<B>::scope(config, || compose::mlp::add_norm_mlp_gated(x, residual, norm, weights, config));
    if !FusedGroup::AddNormMlp.is_on(&config.fusion) {
        return fall_back(x, residual);
    }
    let operands = AddNormGatedMlpOperands {
        x: lower(x),
        residual: lower(residual),
        norm: norm.clone().convert::<Lower<B>>(),
        weights: weights.clone().convert::<Lower<B>>(),
    };
    match B::try_add_norm_mlp_gated(&operands, config) {
        Some(output) => lift(output),
        None => fall_back(lift(operands.x), lift(operands.residual)),
    }
}
