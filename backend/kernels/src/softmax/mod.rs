//! Softmax and its logarithm over one dimension (Milakov and Gimelshein 2018 for the one-pass normaliser).
//!
//! ```text
//! m = max x,   s = Σ e^{x - m},   softmax = e^{x - m} / s,   log softmax = (x - m) - ln s
//! ```
//!
//! As in the composition of Burn's own ops, NaN or +∞ anywhere makes the whole row NaN, and so does a row of nothing
//! but -∞.

mod columns;
mod pipelined;
mod rows;

use crate::rows::{Source, Target, by_dtype};
use crate::{Floats, FloatsMut, Launch, Storage};

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SoftmaxKind {
    /// `e^{x - m} / s`.
    Plain,
    /// `(x - m) - ln s`.
    Log,
}

/// A contiguous array `[outer, n, inner]` whose middle dimension is normalised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Axis {
    /// Product of the dimensions before.
    pub outer: usize,
    /// The dimension.
    pub n: usize,
    /// Product of the dimensions after; 1 for the last dimension.
    pub inner: usize,
}

impl Axis {
    /// Dimension `dim` of a contiguous array of this shape.
    ///
    /// # Panics
    /// If the shape has no such dimension.
    pub fn of(shape: &[usize], dim: usize) -> Self {
        let (before, after) = (&shape[..dim], &shape[dim + 1..]);
        Self { outer: before.iter().product(), n: shape[dim], inner: after.iter().product() }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.outer * self.n * self.inner
    }

    /// True for no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Softmax of `src` over `axis` into `dst`.
///
/// # Panics
/// If a slice does not have as many elements as `axis` says, or the element types differ.
pub fn softmax(launch: Launch, kind: SoftmaxKind, axis: Axis, src: Floats<'_>, dst: FloatsMut<'_>) {
    by_dtype!((src: Floats, dst: FloatsMut) => run(launch, kind, axis, Source::new(src), Target::new(dst)));
}

/// Softmax of `x` over `axis`, in place.
///
/// # Panics
/// As [`softmax`].
pub fn softmax_in_place(launch: Launch, kind: SoftmaxKind, axis: Axis, x: FloatsMut<'_>) {
    by_dtype!((x: FloatsMut) => {
        let x = Target::new(x);
        run(launch, kind, axis, x.source(), x);
    });
}

fn run<S: Storage>(launch: Launch, kind: SoftmaxKind, axis: Axis, src: Source<S>, dst: Target<S>) {
    assert_eq!([axis.len(); 2], [src.len(), dst.len()], "elements of {axis:?}");
    if axis.is_empty() {
        return;
    }
    if axis.inner == 1 {
        rows::run(launch, kind, [axis.outer, axis.n], src, dst);
    } else {
        columns::run(launch, kind, axis, src, dst);
    }
}
