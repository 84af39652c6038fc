//! Rows of a weight by id.

use super::{accept, runs};
use crate::routes::Route;
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use burn_kiln_fusion::{KernelConfig, cube::embedding as kernel};

/// Rows as f32, `[.., hidden]` for ids `[..]`; `None` where the kernel does not take the operands. A row of an id out
/// of range is NaN.
pub(super) fn embedding<R: CubeRuntime>(
    table: &CubeTensor<R>,
    ids: &CubeTensor<R>,
    config: &KernelConfig,
) -> Option<CubeTensor<R>> {
    if !runs(config.simd.enabled, config) {
        return None;
    }
    accept(Route::CubeEmbedding, kernel::embedding(table, ids))
}
