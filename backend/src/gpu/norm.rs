//! Norms of rows.

use super::accept;
use crate::routes::Route;
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use burn_kiln_fusion::{
    KernelConfig,
    cube::{self, RmsNormOptions},
};

/// `x / √(mean(x²) + epsilon) · gamma` over the last dimension and the reciprocal deviations `[.., 1]`; `None` where the kernel
/// does not take the operands.
pub(super) fn rms_norm<R: CubeRuntime>(
    x: &CubeTensor<R>,
    gamma: &CubeTensor<R>,
    epsilon: f64,
    config: &KernelConfig,
) -> Option<(CubeTensor<R>, CubeTensor<R>)> {
    if !config.blocking.enabled {
        return None;
    }
    let output = accept(Route::CubeRmsNorm, cube::rms_norm(x, gamma, RmsNormOptions::new(epsilon).with_rstd()))?;
    Some((output.y, output.rstd?))
}
