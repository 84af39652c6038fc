//! Rotary embedding of heads, alone or after the RMS norm of each.

use super::heads::heads;
use super::panels::CpuEngine;
use crate::engine::{Primitives, RopeOperands};
use crate::routes::{Route, note};
use burn_backend::TensorMetadata;
use burn_backend::tensor::FloatTensor;
use burn_kiln_fusion::{KernelConfig, RmsWeights, Rotary};
use kiln_kernels::norm::{Normed, RmsNorm};
use kiln_kernels::rope::{Angles, Heads, qk_norm_rope, rope};
use kiln_kernels::{Floats, Launch};

/// Whether rotations of heads of length `d` have a kernel.
pub(super) fn takes(d: usize, config: &KernelConfig) -> bool {
    config.simd.enabled && d.is_multiple_of(2)
}

/// The angles of heads, where they are f32 and fit.
pub(super) fn angles<'a, B: CpuEngine>(rotary: &'a Rotary<Primitives<B>>, x: &Heads<'_>) -> Option<Angles<'a>> {
    let (cos, sin) = (B::view(&rotary.cos)?.contiguous()?, B::view(&rotary.sin)?.contiguous()?);
    let (Floats::F32(cos), Floats::F32(sin)) = (cos, sin) else { return None };
    let each = x.length * (x.head_dim / 2);
    let fits = cos.len() == sin.len() && (cos.len() == each || cos.len() == x.batch * each);
    fits.then_some(Angles { cos, sin })
}

/// The rotated heads, contiguous.
pub(super) fn rotate<B: CpuEngine>(
    RopeOperands { x, norm, rotary }: &RopeOperands<'_, B>,
    config: &KernelConfig,
) -> Option<FloatTensor<B>> {
    let view = B::view(x)?;
    let operand = heads(&view)?;
    let angles = angles::<B>(rotary, &operand)?;
    if !takes(operand.head_dim, config) {
        return None;
    }
    let mut out = B::allocate(view.dtype(), view.len())?;
    let launch = Launch::from(config);
    match norm {
        Some(RmsWeights { gamma, epsilon }) => {
            let gamma = B::view(gamma)?.contiguous().filter(|gamma| gamma.len() == operand.head_dim)?;
            let to = Normed::only(out.as_floats_mut());
            qk_norm_rope(launch, RmsNorm { gamma, epsilon: *epsilon }, operand, angles, to);
        }
        None => rope(launch, operand, angles, out.as_floats_mut()),
    }
    note(Route::Rope);
    B::from_floats(out, x.shape())
}
