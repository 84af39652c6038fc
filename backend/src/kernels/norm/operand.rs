//! Rows with a stride, the operand of norms.

use crate::kernels::Floats;

/// `rows` rows that begin every `stride` elements of `data`.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// The elements, up to at least the last row's end.
    pub data: Floats<'a>,
    /// Number of rows.
    pub rows: usize,
    /// From one row's first element to the next one's, in elements.
    pub stride: usize,
}

impl<'a> Rows<'a> {
    /// Rows of `d` elements without gaps: all of `data`.
    ///
    /// # Panics
    /// If `data` is no whole number of rows.
    pub fn contiguous(data: Floats<'a>, d: usize) -> Self {
        assert!(data.is_empty() || (d > 0 && data.len().is_multiple_of(d)), "rows of {d} in {} elements", data.len());
        Self { data, rows: if d == 0 { 0 } else { data.len() / d }, stride: d }
    }

    /// Elements up to the end of the last row, each of `d`.
    pub(super) fn extent(&self, d: usize) -> usize {
        if self.rows == 0 { 0 } else { (self.rows - 1) * self.stride + d }
    }
}
