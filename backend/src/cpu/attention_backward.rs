//! Gradients of attention by recomputation.

use super::attention::{Rules, choose_backward_tiles, measure};
use super::heads::{from_heads, heads, is_by_position};
use super::panels::CpuEngine;
use super::storage::OwnedFloats;
use crate::engine::{AttentionBackwardOperands, Primitives};
use crate::routes::{Route, note};
use burn_backend::tensor::FloatTensor;
use burn_kiln_fusion::{AttentionGrads, KernelConfig};
use kiln_kernels::attention::{AttentionOptions, AttentionResult, GradHeads, attention_backward};
use kiln_kernels::rope::Heads;
use kiln_kernels::{ElementType, Floats, FloatsMut, Launch};

/// The gradients, each in the layout of its operand, so that what comes before it reads it without a copy.
pub(super) fn differentiate<B: CpuEngine>(
    AttentionBackwardOperands { attention, forward, grad }: &AttentionBackwardOperands<B>,
    config: &KernelConfig,
) -> Option<AttentionGrads<Primitives<B>>> {
    let inputs = &attention.inputs;
    let (q_view, k_view, v_view) = (B::view(&inputs.q)?, B::view(&inputs.k)?, B::view(&inputs.v)?);
    let (q, k, v) = (heads(&q_view)?, heads(&k_view)?, heads(&v_view)?);
    let (out_view, grad_view) = (B::view(&forward.output)?, B::view(grad)?);
    let (out, grad) = (heads(&out_view)?, heads(&grad_view)?);
    let Floats::F32(lse) = B::elements(&forward.lse)? else { return None };
    let sizes = measure([&q, &k, &v])?;
    let result = [sizes.batch, sizes.heads, sizes.queries, sizes.dv];
    let fits = |x: &Heads<'_>| [x.batch, x.heads, x.length, x.head_dim] == result;
    if !fits(&out) || !fits(&grad) || lse.len() != sizes.batch * sizes.heads * sizes.queries {
        return None;
    }
    let tiles = choose_backward_tiles(sizes, config)?;
    let rules = Rules::<B>::read(&attention.options)?;
    let options = AttentionOptions { tiles: Some(tiles), ..rules.build(sizes, config)? };
    let operands = [q, k, v];
    let [mut dq, mut dk, mut dv] = [Grad::new::<B>(&q)?, Grad::new::<B>(&k)?, Grad::new::<B>(&v)?];
    let grads = [dq.heads()?, dk.heads()?, dv.heads()?];
    attention_backward(Launch::from(config), operands, &options, AttentionResult { out, lse, grad }, grads);
    note(Route::AttentionBackward);
    Some(AttentionGrads { q: dq.finish::<B>()?, k: dk.finish::<B>()?, v: dv.finish::<B>()? })
}

/// A gradient that is written.
struct Grad {
    floats: OwnedFloats,
    /// `[batch, heads, length, head_dim]`.
    shape: [usize; 4],
    by_position: bool,
}

impl Grad {
    /// Of this operand.
    fn new<B: CpuEngine>(of: &Heads<'_>) -> Option<Self> {
        let shape = [of.batch, of.heads, of.length, of.head_dim];
        let floats = B::allocate(ElementType::F32, shape.iter().product())?;
        Some(Self { floats, shape, by_position: is_by_position(of) })
    }

    fn heads(&mut self) -> Option<GradHeads<'_>> {
        match self.floats.as_floats_mut() {
            FloatsMut::F32(data) => Some(GradHeads { data, by_position: self.by_position }),
            FloatsMut::Bf16(_) | FloatsMut::F16(_) => None,
        }
    }

    fn finish<B: CpuEngine>(self) -> Option<FloatTensor<B>> {
        from_heads::<B>(self.floats, self.shape, self.by_position)
    }
}
