//! Gated MLPs: two products, the first of gate and up.

use super::{CubeEngine, accept, find_rows, runs, tune::multiply};
use crate::{
    engine::{AddNormGatedMlpOperands, GatedMlpOperands},
    routes::Route,
};
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use burn_kiln_fusion::{
    KernelConfig,
    cube::product::{Call, RowNorm},
};

/// `down( silu(x·gateᵀ) ⊙ (x·upᵀ) ) + residual` in two launches; `None` where the kernels do not take the operands.
pub(super) fn mlp_gated<R: CubeRuntime, B: CubeEngine<R>>(
    GatedMlpOperands { x, weights, residual }: &GatedMlpOperands<B>,
    config: &KernelConfig,
) -> Option<CubeTensor<R>> {
    if !runs(config.tiling.enabled, config) {
        return None;
    }
    let [gate, up, down] = [&weights.gate, &weights.up, &weights.down].map(find_rows);
    let run = || {
        let hidden = multiply(&Call { up: Some(up), ..Call::new(x, gate) }, config)?.remove(0);
        multiply(&Call { residual: residual.as_ref(), ..Call::new(&hidden, down) }, config)
            .map(|mut outputs| outputs.remove(0))
    };
    accept(Route::CubeGatedMlp, run())
}

/// `mlp_gated(rms_norm(sum)) + sum` for `sum = x + residual` in two launches: the first one adds, normalises and makes
/// gate and up. `None` for many rows, which each of its cubes would add and normalise again.
pub(super) fn add_norm_mlp_gated<R: CubeRuntime, B: CubeEngine<R>>(
    AddNormGatedMlpOperands { x, residual, norm, weights }: &AddNormGatedMlpOperands<B>,
    config: &KernelConfig,
) -> Option<CubeTensor<R>> {
    if !runs(config.tiling.enabled, config) {
        return None;
    }
    let [gate, up, down] = [&weights.gate, &weights.up, &weights.down].map(find_rows);
    let norm = Some(RowNorm { gamma: &norm.gamma, epsilon: norm.epsilon });
    let run = || {
        let first = Call { addend: Some(residual), norm, up: Some(up), ..Call::new(x, gate) };
        let outputs = multiply(&first, config)?;
        let [hidden, sum] = [&outputs[0], &outputs[1]];
        multiply(&Call { residual: Some(sum), ..Call::new(hidden, down) }, config).map(|mut outputs| outputs.remove(0))
    };
    accept(Route::CubeGatedMlp, run())
}
