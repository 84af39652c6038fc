//! Linear layers and norms.

use super::conversion::{Lower, lift, lower};
use crate::engine::{
    ANY_RANK, AddNormOperands, LayerNormOperands, LinearOperands, NormLinearsOperands, Primitives, RmsNormOperands,
};
use crate::fused_group::FusedGroup;
use crate::{Engine, Kiln};
use burn_backend::tensor::FloatTensor;
use burn_kiln_fusion::{
    AddNorm, AddNormForward, Conversion, Epilogue, FusedOps, KernelConfig, LinearWeights, Norm, RmsNormForward,
    RmsWeights, Weight, compose,
};
use burn_tensor::Tensor;

/// The product by the engine's kernel, with the epilogue in its store where that is fused, else behind it.
pub(super) fn linear<B: Engine, const D: usize>(
    x: Tensor<Kiln<B>, D>,
    weight: &Weight<Kiln<B>>,
    epilogue: Epilogue<Kiln<B>, D>,
    config: &KernelConfig,
) -> Tensor<Kiln<B>, D> {
    let fuses = FusedGroup::LinearEpilogue.is_on(&config.fusion);
    let (inner, outer) = if fuses { (epilogue, Epilogue::default()) } else { (Epilogue::default(), epilogue) };
    let Epilogue { bias, activation, residual } = inner;
    let operands = LinearOperands::<B> {
        x: lower(x),
        weight: Lower::convert_weight(weight.clone()),
        epilogue: Epilogue { bias: bias.map(lower), activation, residual: residual.map(lower) },
    };
    if let Some(output) = B::try_linear(&operands, config) {
        let is_whole = outer.bias.is_none() && outer.activation.is_none() && outer.residual.is_none();
        return match is_whole {
            true => lift(output),
            false => Kiln::<B>::scope(config, || compose::linear::apply_epilogue(lift(output), outer, config)),
        };
    }
    let LinearOperands { x, epilogue, .. } = operands;
    let epilogue = if fuses { lift_epilogue(epilogue) } else { outer };
    Kiln::<B>::scope(config, || compose::linear::linear(lift(x), weight, epilogue, config))
}

fn lift_epilogue<B: Engine, const D: usize>(epilogue: Epilogue<Primitives<B>, ANY_RANK>) -> Epilogue<Kiln<B>, D> {
    let Epilogue { bias, activation, residual } = epilogue;
    Epilogue { bias: bias.map(lift), activation, residual: residual.map(lift) }
}

/// The norm alone.
pub(super) fn rms_norm<B: Engine, const D: usize>(
    x: Tensor<Kiln<B>, D>,
    gamma: Tensor<Kiln<B>, 1>,
    epsilon: f64,
    config: &KernelConfig,
) -> Tensor<Kiln<B>, D> {
    let norm = RmsWeights { gamma: lower(gamma), epsilon };
    match B::try_rms_norm(RmsNormOperands { x: lower(x), norm }, config) {
        Ok(RmsNormForward { output, .. }) => lift(output),
        Err(RmsNormOperands { x, norm }) => {
            Kiln::<B>::scope(config, || compose::norm::rms_norm(lift(x), lift(norm.gamma), epsilon, config))
        }
    }
}

/// The norm and its reciprocal deviations.
pub(super) fn rms_norm_forward<B: Engine, const D: usize>(
    x: Tensor<Kiln<B>, D>,
    gamma: Tensor<Kiln<B>, 1>,
    epsilon: f64,
    config: &KernelConfig,
) -> RmsNormForward<Kiln<B>, D> {
    let norm = RmsWeights { gamma: lower(gamma), epsilon };
    match B::try_rms_norm(RmsNormOperands { x: lower(x), norm }, config) {
        Ok(RmsNormForward { output, rstd }) => RmsNormForward { output: lift(output), rstd: lift(rstd) },
        Err(RmsNormOperands { x, norm }) => {
            Kiln::<B>::scope(config, || compose::norm::rms_norm_forward(lift(x), lift(norm.gamma), epsilon, config))
        }
    }
}

/// The norm alone.
pub(super) fn layer_norm<B: Engine, const D: usize>(
    x: Tensor<Kiln<B>, D>,
    gamma: Tensor<Kiln<B>, 1>,
    beta: Option<Tensor<Kiln<B>, 1>>,
    epsilon: f64,
    config: &KernelConfig,
) -> Tensor<Kiln<B>, D> {
    let operands = LayerNormOperands { x: lower(x), gamma: lower(gamma), beta: beta.map(lower), epsilon };
    match B::try_layer_norm(operands, config) {
        Ok(output) => lift(output),
        Err(LayerNormOperands { x, gamma, beta, .. }) => Kiln::<B>::scope(config, || {
            compose::norm::layer_norm(lift(x), lift(gamma), beta.map(lift), epsilon, config)
        }),
    }
}

/// A norm and the layers that read it.
pub(super) fn norm_linears<B: Engine, const D: usize, const N: usize>(
    x: Tensor<Kiln<B>, D>,
    norm: &Norm<Kiln<B>>,
    layers: [LinearWeights<Kiln<B>>; N],
    config: &KernelConfig,
) -> [Tensor<Kiln<B>, D>; N] {
    let fall_back = |x| Kiln::<B>::scope(config, || compose::norm::norm_linears(x, norm, layers.clone(), config));
    if !FusedGroup::NormLinears.is_on(&config.fusion) {
        return fall_back(x);
    }
    let engine_layers = layers.clone().map(LinearWeights::convert::<Lower<B>>);
    let norm = norm.clone().convert::<Lower<B>>();
    let operands = NormLinearsOperands { x: lower(x), norm, layers: &engine_layers };
    match B::try_norm_linears(&operands, config).map(<[FloatTensor<B>; N]>::try_from) {
        Some(Ok(outputs)) => outputs.map(lift),
        Some(Err(_)) | None => fall_back(lift(operands.x)),
    }
}

/// A residual addition and the norm of the sum.
pub(super) fn add_norm<B: Engine, const D: usize>(
    x: Tensor<Kiln<B>, D>,
    residual: Tensor<Kiln<B>, D>,
    gamma: Tensor<Kiln<B>, 1>,
    epsilon: f64,
    config: &KernelConfig,
) -> AddNorm<Kiln<B>, D> {
    match try_add_norm(x, residual, gamma, epsilon, config) {
        Ok(AddNormForward { sum, normed, .. }) => AddNorm { sum, normed },
        Err(AddNormOperands { x, residual, norm }) => Kiln::<B>::scope(config, || {
            compose::norm::add_norm(lift(x), lift(residual), lift(norm.gamma), epsilon, config)
        }),
    }
}

/// The same with the reciprocal deviations.
pub(super) fn add_norm_forward<B: Engine, const D: usize>(
    x: Tensor<Kiln<B>, D>,
    residual: Tensor<Kiln<B>, D>,
    gamma: Tensor<Kiln<B>, 1>,
    epsilon: f64,
    config: &KernelConfig,
) -> AddNormForward<Kiln<B>, D> {
    try_add_norm(x, residual, gamma, epsilon, config).unwrap_or_else(|AddNormOperands { x, residual, norm }| {
        Kiln::<B>::scope(config, || {
            compose::norm::add_norm_forward(lift(x), lift(residual), lift(norm.gamma), epsilon, config)
        })
    })
}

/// The engine's, if both are to be one op.
fn try_add_norm<B: Engine, const D: usize>(
    x: Tensor<Kiln<B>, D>,
    residual: Tensor<Kiln<B>, D>,
    gamma: Tensor<Kiln<B>, 1>,
    epsilon: f64,
    config: &KernelConfig,
) -> Result<AddNormForward<Kiln<B>, D>, AddNormOperands<B>> {
    let norm = RmsWeights { gamma: lower(gamma), epsilon };
    let operands = AddNormOperands { x: lower(x), residual: lower(residual), norm };
    if !FusedGroup::AddNorm.is_on(&config.fusion) {
        return Err(operands);
    }
    let AddNormForward { sum, normed, rstd } = B::try_add_norm(operands, config)?;
    Ok(AddNormForward { sum: lift(sum), normed: lift(normed), rstd: lift(rstd) })
}
