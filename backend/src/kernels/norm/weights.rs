//! Operands of norms: rows with a stride, and weights of any element type.

use crate::kernels::Floats;
use crate::kernels::rows::{Source, load};
use crate::simd::Isa;
use half::{bf16, f16};

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

/// Weights `[d]` of any element type: read a register at a time, next to a row of another type.
#[derive(Clone, Copy)]
pub(super) enum Weights {
    F32(Source<f32>),
    Bf16(Source<bf16>),
    F16(Source<f16>),
}

impl Weights {
    pub(super) fn new(weights: Floats<'_>) -> Self {
        match weights {
            Floats::F32(x) => Self::F32(Source::new(x)),
            Floats::Bf16(x) => Self::Bf16(Source::new(x)),
            Floats::F16(x) => Self::F16(Source::new(x)),
        }
    }

    /// `n ≤ LANES` weights from `at`.
    ///
    /// # Safety
    /// `at + n ≤ d`.
    #[inline(always)]
    pub(super) unsafe fn load<I: Isa>(self, isa: I, at: usize, n: usize) -> I::V {
        // SAFETY: the caller's promise; the sources hold d elements.
        unsafe {
            match self {
                Self::F32(x) => load(isa, x.part(&(at..at + n)), n),
                Self::Bf16(x) => load(isa, x.part(&(at..at + n)), n),
                Self::F16(x) => load(isa, x.part(&(at..at + n)), n),
            }
        }
    }
}
