//! Head norms and rotary embedding.

use super::{accept, runs};
use crate::routes::Route;
use burn_backend::TensorMetadata;
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use burn_kiln_fusion::{
    KernelConfig,
    cube::{Angles, HeadInputs, Placement, Strategy, allocate_like, place_heads},
};

/// Heads to rotate.
pub(super) struct Head<'a, R: CubeRuntime> {
    /// `[batch, heads, length, head_dim]`.
    pub x: &'a CubeTensor<R>,
    /// The weight of an RMS norm before it, `[head_dim]`.
    pub gamma: Option<&'a CubeTensor<R>>,
}

/// Rotary embedding of each of `heads`, one or two, after its norm; as one launch. `None` where the kernel does not
/// take the operands.
pub(super) fn rotate<R: CubeRuntime, const N: usize>(
    heads: [Head<'_, R>; N],
    epsilon: f64,
    angles: Angles<'_, R>,
    config: &KernelConfig,
) -> Option<[CubeTensor<R>; N]> {
    if !runs(config.simd.enabled, config) {
        return None;
    }
    let outputs = heads.each_ref().map(|head| allocate_like(head.x, head.x.shape(), head.x.dtype));
    let placements: [_; N] =
        core::array::from_fn(|i| Placement { x: heads[i].x, gamma: heads[i].gamma, to: &outputs[i] });
    let positions = 0..*heads.first()?.x.shape().get(2)?;
    let inputs = HeadInputs { placements: &placements, angles, epsilon, positions, start: 0 };
    accept(Route::CubeRope, place_heads(&inputs, Strategy::Auto))?;
    Some(outputs)
}
