//! What is read and written.

use super::super::problem::UnitRows;
use crate::rope::Heads;
use crate::rows::{AnySource, Target};
use core::ops::Range;

/// Where the gradient of an operand `[batch, heads, length, head_dim]` goes, contiguous.
#[derive(Debug)]
pub struct GradHeads<'a> {
    /// The elements, all of which are written.
    pub data: &'a mut [f32],
    /// The layout is `[batch, length, heads, head_dim]`, as a projection has it.
    pub by_position: bool,
}

impl<'a> GradHeads<'a> {
    /// `[batch, heads, length, head_dim]`.
    pub fn by_head(data: &'a mut [f32]) -> Self {
        Self { data, by_position: false }
    }
}

/// What is read: heads `[batch, heads, length, d]`, checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operand {
    pub(super) data: AnySource,
    pub(super) strides: [usize; 3],
}

impl Operand {
    /// The element where a row of a unit begins.
    #[inline(always)]
    pub(super) fn row(&self, span: &UnitRows, row: usize) -> usize {
        let [batch, head, position] = self.strides;
        let (h, query) = span.row(row);
        span.batch * batch + h * head + query * position
    }
}

/// What is written: a gradient `[batch, heads, length, d]`, checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct GradTarget {
    data: Target<f32>,
    strides: [usize; 3],
    pub(super) d: usize,
}

impl GradTarget {
    /// # Panics
    /// If it has not the elements of what it is the gradient of.
    pub(super) fn new(grad: GradHeads<'_>, of: &Heads<'_>) -> Self {
        let &Heads { batch, heads, length, head_dim: d, .. } = of;
        assert_eq!(grad.data.len(), batch * heads * length * d, "elements of the gradient of {of:?}");
        let [head, position] = if grad.by_position { [d, heads * d] } else { [length * d, d] };
        Self { data: Target::new(grad.data), strides: [heads * length * d, head, position], d }
    }

    /// Floats from one position to the next.
    pub(super) fn stride(&self) -> usize {
        self.strides[2]
    }

    /// The address of the first of `positions` of a head; checked.
    #[inline(always)]
    pub(super) fn part(&self, batch: usize, head: usize, positions: &Range<usize>) -> *mut f32 {
        let [of_batch, of_head, position] = self.strides;
        let at = batch * of_batch + head * of_head + positions.start * position;
        let extent = if positions.is_empty() { 0 } else { (positions.len() - 1) * position + self.d };
        self.data.part(&(at..at + extent))
    }
}
