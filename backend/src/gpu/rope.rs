//! Head norms and rotary embedding.

use super::{accept, runs};
use crate::routes::Route;
use burn_backend::TensorMetadata;
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use burn_kiln_fusion::{
    KernelConfig,
    cube::{Angles, HeadInputs, Placement, Strategy, allocate_like, place_heads},
};

/// Rotary embedding of each of `heads` `[batch, heads, length, head_dim]`, one or two, after the RMS norm by its weight where
/// there are weights; as one launch. `None` where the kernel does not take the operands.
pub(super) fn rotate<R: CubeRuntime, const N: usize>(
    heads: [&CubeTensor<R>; N],
    norm: Option<([&CubeTensor<R>; N], f64)>,
    (cos, sin): (&CubeTensor<R>, &CubeTensor<R>),
    config: &KernelConfig,
) -> Option<[CubeTensor<R>; N]> {
    if !runs(config.simd.enabled, config) {
        return None;
    }
    let outputs = heads.map(|x| allocate_like(x, x.shape(), x.dtype));
    let placements: [_; N] = core::array::from_fn(|i| Placement {
        x: heads[i],
        gamma: norm.as_ref().map(|(gammas, _)| gammas[i]),
        to: &outputs[i],
    });
    let epsilon = norm.as_ref().map_or(0.0, |(_, epsilon)| *epsilon);
    let positions = 0..*heads.first()?.shape().get(2)?;
    let inputs = HeadInputs { placements: &placements, angles: Angles { cos, sin }, epsilon, positions, start: 0 };
    accept(Route::CubeRope, place_heads(&inputs, Strategy::Auto))?;
    Some(outputs)
}
