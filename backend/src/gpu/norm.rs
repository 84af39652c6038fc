//! Norms of rows.

use super::{accept, runs};
use crate::routes::Route;
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use burn_kiln_fusion::{
    KernelConfig,
    cube::{self, AddNormOutput, RmsNormOptions, Strategy},
};

/// `x / √(mean(x²) + epsilon) · gamma` over the last dimension and the reciprocal deviations `[.., 1]`; `None` where the kernel
/// does not take the operands.
pub(super) fn rms_norm<R: CubeRuntime>(
    x: &CubeTensor<R>,
    gamma: &CubeTensor<R>,
    epsilon: f64,
    config: &KernelConfig,
) -> Option<(CubeTensor<R>, CubeTensor<R>)> {
    if !runs(config.blocking.enabled, config) {
        return None;
    }
    let output = accept(Route::CubeRmsNorm, cube::rms_norm(x, gamma, RmsNormOptions::new(epsilon).with_rstd()))?;
    Some((output.y, output.rstd?))
}

/// `(x - mean(x)) / √(var(x) + epsilon) · gamma + beta` over the last dimension; `None` where the kernel does not take the
/// operands.
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

/// `[x + residual, its RMS norm, the reciprocal deviations]`; `None` where the kernel does not take the operands.
pub(super) fn add_norm<R: CubeRuntime>(
    [x, residual, gamma]: [&CubeTensor<R>; 3],
    epsilon: f64,
    config: &KernelConfig,
) -> Option<[CubeTensor<R>; 3]> {
    if !runs(config.blocking.enabled, config) {
        return None;
    }
    let AddNormOutput { sum, normed, rstd } =
        accept(Route::CubeAddNorm, cube::add_norm(x, residual, gamma, epsilon, Strategy::Auto))?;
    Some([sum, normed, rstd])
}
