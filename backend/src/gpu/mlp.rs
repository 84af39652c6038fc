//! Gated MLPs: two products, the first of gate and up.

use super::{CubeEngine, accept, find_rows};
use crate::{engine::EngineWeight, routes::Route};
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use burn_kiln_fusion::{
    KernelConfig,
    cube::product::{Call, multiply},
};

/// `down( silu(x·gateᵀ) ⊙ (x·upᵀ) ) + residual` in two launches; `None` where the kernels do not take the operands.
pub(super) fn mlp_gated<R: CubeRuntime, B: CubeEngine<R>>(
    x: &CubeTensor<R>,
    weights: [&EngineWeight<'_, B>; 3],
    residual: Option<&CubeTensor<R>>,
    config: &KernelConfig,
) -> Option<CubeTensor<R>> {
    if !config.tiling.enabled {
        return None;
    }
    let [gate, up, down] = weights.map(find_rows);
    let run = || {
        let hidden = multiply(&Call { up: Some(up), ..Call::new(x, gate) })?.remove(0);
        multiply(&Call { residual, ..Call::new(&hidden, down) }).map(|mut outputs| outputs.remove(0))
    };
    accept(Route::CubeGatedMlp, run())
}
