//! Tensors `[batch, heads, length, head_dim]` as kernels see them.

use super::panels::CpuEngine;
use super::storage::{OwnedFloats, View};
use burn_backend::tensor::FloatTensor;
use burn_std::Shape;
use kiln_kernels::rope::Heads;

/// A view `[batch, heads, length, head_dim]` whose last dimension is contiguous.
pub(super) fn heads<'a>(view: &View<'a>) -> Option<Heads<'a>> {
    let (&[batch, heads, length, head_dim], &[s0, s1, s2, s3]) = (view.shape.as_slice(), view.strides.as_slice())
    else {
        return None;
    };
    let data = view.data_from(view.offset);
    let strides = [s0, s1, s2];
    (s3 == 1 || head_dim <= 1).then_some(Heads { data, batch, heads, length, head_dim, strides })
}

/// Whether the heads of a position lie beside each other, as a projection leaves them.
pub(super) fn is_by_position(heads: &Heads<'_>) -> bool {
    let [_, head, position] = heads.strides;
    heads.heads > 1 && heads.length > 1 && position > head
}

/// A tensor `[batch, heads, length, d]` that owns `floats`, which lie by position, or by head.
pub(super) fn from_heads<B: CpuEngine>(
    floats: OwnedFloats,
    [batch, heads, length, d]: [usize; 4],
    by_position: bool,
) -> Option<FloatTensor<B>> {
    if !by_position {
        return B::from_floats(floats, Shape::from([batch, heads, length, d]));
    }
    let tensor = B::from_floats(floats, Shape::from([batch, length, heads, d]))?;
    Some(B::float_swap_dims(tensor, 1, 2))
}
