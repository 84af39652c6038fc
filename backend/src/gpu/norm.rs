//! Norms of rows.

use super::{CubeEngine, accept, runs};
use crate::engine::{ANY_RANK, AddNormOperands, Primitives, RmsNormOperands};
use crate::routes::Route;
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use burn_kiln_fusion::{
    AddNormForward, KernelConfig, RmsNormForward, RmsWeights,
    cube::{self, AddNormOutput, RmsNormOptions, Strategy},
};

/// `x / √(mean(x²) + epsilon) · gamma` over the last dimension and the reciprocal deviations `[.., 1]`; `None` where
/// the kernel does not take the operands.
pub(super) fn rms_norm<R: CubeRuntime, B: CubeEngine<R>>(
    RmsNormOperands { x, norm: RmsWeights { gamma, epsilon } }: &RmsNormOperands<B>,
    config: &KernelConfig,
) -> Option<RmsNormForward<Primitives<B>, ANY_RANK>> {
    if !runs(config.blocking.enabled, config) {
        return None;
    }
    let output = accept(Route::CubeRmsNorm, cube::rms_norm(x, gamma, RmsNormOptions::new(*epsilon).with_rstd()))?;
    Some(RmsNormForward { output: output.y, rstd: output.rstd? })
}

/// `(x - mean(x)) / √(var(x) + epsilon) · gamma + beta` over the last dimension; `None` where the kernel does not take
/// the operands.
pub(super) fn layer_norm<R: CubeRuntime>(
    x: &CubeTensor<R>,
    gamma: &CubeTensor<R>,
    beta: Option<&CubeTensor<R>>,
    epsilon: f64,
    config: &KernelConfig,
) -> Option<CubeTensor<R>> {
    if !runs(config.blocking.enabled, config) {
        return None;
    }
    accept(Route::CubeLayerNorm, cube::layer_norm(x, gamma, beta, epsilon, Strategy::Auto))
}

/// The sum, its RMS norm and the reciprocal deviations; `None` where the kernel does not take the operands.
pub(super) fn add_norm<R: CubeRuntime, B: CubeEngine<R>>(
    AddNormOperands { x, residual, norm: RmsWeights { gamma, epsilon } }: &AddNormOperands<B>,
    config: &KernelConfig,
) -> Option<AddNormForward<Primitives<B>, ANY_RANK>> {
    if !runs(config.blocking.enabled, config) {
        return None;
    }
    let AddNormOutput { sum, normed, rstd } =
        accept(Route::CubeAddNorm, cube::add_norm(x, residual, gamma, *epsilon, Strategy::Auto))?;
    Some(AddNormForward { sum, normed, rstd })
}
