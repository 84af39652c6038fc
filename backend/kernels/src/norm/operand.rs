//! Operands and results of norms.

use crate::rows::{Source, Target};
use crate::{Floats, FloatsMut};

/// `rows` rows that begin every `stride` elements of `data`.
#[derive(Debug, Clone, Copy)]
pub struct NormRows<'a> {
    /// The elements, up to at least the last row's end.
    pub data: Floats<'a>,
    /// Number of rows.
    pub rows: usize,
    /// From one row's first element to the next one's, in elements.
    pub stride: usize,
}

impl<'a> NormRows<'a> {
    /// Rows of `d` elements without gaps: all of `data`.
    ///
    /// # Panics
    /// If `data` is no whole number of rows.
    pub fn contiguous(data: Floats<'a>, d: usize) -> Self {
        assert!(data.is_empty() || (d > 0 && data.len().is_multiple_of(d)), "rows of {d} in {} elements", data.len());
        Self { data, rows: data.len().checked_div(d).unwrap_or(0), stride: d }
    }

    /// Elements up to the end of the last row, each of `d`.
    fn extent(&self, d: usize) -> usize {
        if self.rows == 0 { 0 } else { (self.rows - 1) * self.stride + d }
    }
}

/// Where the result of an RMS norm goes.
#[derive(Debug)]
pub struct Normed<'a> {
    /// `[rows, d]`.
    pub out: FloatsMut<'a>,
    /// `1/√(mean(x²) + epsilon)`, `[rows]`, where it is wanted (the backward does).
    pub rstd: Option<&'a mut [f32]>,
}

impl<'a> Normed<'a> {
    /// Without the reciprocal roots.
    pub fn only(out: FloatsMut<'a>) -> Self {
        Self { out, rstd: None }
    }
}

/// [`NormRows`] of a known element type.
#[derive(Debug, Clone, Copy)]
pub(super) struct Strided<S> {
    pub(super) x: Source<S>,
    pub(super) rows: usize,
    pub(super) stride: usize,
}

impl<S> Strided<S> {
    /// # Panics
    /// If the rows of `d` elements reach past the slice.
    pub(super) fn new(view: NormRows<'_>, data: &[S], d: usize) -> Self {
        let NormRows { rows, stride, .. } = view;
        assert!(view.extent(d) <= data.len(), "{rows} rows of {d} every {stride} elements in {}", data.len());
        Self { x: Source::new(data), rows, stride }
    }

    /// All of what is written in place, as rows of `d`.
    pub(super) fn in_place(x: Target<S>, d: usize) -> Self {
        Self { x: x.source(), rows: x.len().checked_div(d).unwrap_or(0), stride: d }
    }
}
