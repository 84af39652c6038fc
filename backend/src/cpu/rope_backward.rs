//! Gradients of rotary embedding, alone or with the RMS norm of each head before it.

use super::heads::heads;
use super::panels::CpuEngine;
use super::rope::{angles, takes};
use crate::engine::{RopeBackwardOperands, RopeGrads};
use crate::routes::{Route, note};
use burn_backend::TensorMetadata;
use burn_kiln_fusion::KernelConfig;
use burn_std::Shape;
use kiln_kernels::norm::RmsNorm;
use kiln_kernels::rope::{HeadGrads, HeadOrder, norm_rope_backward, rope_backward};
use kiln_kernels::{ElementType, FloatsMut, Launch};

/// The gradient of the heads, in memory in the order of the norm's input (of the gradient without one): what a
/// projection gave goes back to it without a copy.
pub(super) fn rotate_back<B: CpuEngine>(
    RopeBackwardOperands { norm, rotary, grad }: &RopeBackwardOperands<'_, B>,
    config: &KernelConfig,
) -> Option<RopeGrads<B>> {
    let grad_view = B::view(grad)?;
    let operand = heads(&grad_view)?;
    let angles = angles::<B>(rotary, &operand)?;
    if !takes(operand.head_dim, config) {
        return None;
    }
    let launch = Launch::from(config);
    let mut out = B::allocate(ElementType::F32, grad_view.len())?;
    let FloatsMut::F32(to) = out.as_floats_mut() else { return None };
    let (order, gamma) = match norm {
        Some((x, norm)) => {
            if !B::same_shape(x, grad) {
                return None;
            }
            let view = B::view(x)?;
            let input = heads(&view)?;
            let order = HeadOrder::of(&input);
            let gamma = B::view(&norm.gamma)?.contiguous().filter(|gamma| gamma.len() == operand.head_dim)?;
            let mut sums = B::allocate(ElementType::F32, operand.head_dim)?;
            let FloatsMut::F32(gamma_sums) = sums.as_floats_mut() else { return None };
            let norm = RmsNorm { gamma, epsilon: norm.epsilon };
            norm_rope_backward(launch, norm, [input, operand], angles, HeadGrads { x: to, order }, gamma_sums);
            (order, Some(B::from_floats(sums, Shape::from([operand.head_dim]))?))
        }
        None => {
            let order = HeadOrder::of(&operand);
            rope_backward(launch, operand, angles, HeadGrads { x: to, order });
            (order, None)
        }
    };
    let [batch, heads, length, d] = grad.shape().dims();
    let x = match order {
        HeadOrder::HeadsFirst => B::from_floats(out, grad.shape())?,
        HeadOrder::PositionsFirst => {
            B::float_swap_dims(B::from_floats(out, Shape::from([batch, length, heads, d]))?, 1, 2)
        }
    };
    note(Route::RopeBackward);
    Some(RopeGrads { x, gamma })
}
