//! Pointers with their element type, for work that several threads share.
//!
//! They are made from views whose bounds are checked ([`super::Matrix`], [`super::OutMatrix`]) and live as long as the
//! call that borrowed those.

use crate::Floats;
use half::{bf16, f16};

/// A pointer to elements that are read.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) enum RawFloats {
    F32(*const f32),
    Bf16(*const bf16),
    F16(*const f16),
}

// SAFETY: it is only read through, and the slice behind it is `Sync`.
unsafe impl Send for RawFloats {}
// SAFETY: it is only read through, and the slice behind it is `Sync`.
unsafe impl Sync for RawFloats {}

impl RawFloats {
    pub(in crate::gemm) fn new(data: Floats<'_>) -> Self {
        match data {
            Floats::F32(x) => Self::F32(x.as_ptr()),
            Floats::Bf16(x) => Self::Bf16(x.as_ptr()),
            Floats::F16(x) => Self::F16(x.as_ptr()),
        }
    }

    /// `by` elements on.
    #[inline(always)]
    pub(in crate::gemm) fn offset(self, by: isize) -> Self {
        match self {
            Self::F32(p) => Self::F32(p.wrapping_offset(by)),
            Self::Bf16(p) => Self::Bf16(p.wrapping_offset(by)),
            Self::F16(p) => Self::F16(p.wrapping_offset(by)),
        }
    }
}

/// A pointer to elements that are written.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) enum RawFloatsMut {
    F32(*mut f32),
    Bf16(*mut bf16),
    F16(*mut f16),
}

// SAFETY: threads that share it write disjoint elements: `Problem::run` gives each the regions of a `Grid`.
unsafe impl Send for RawFloatsMut {}
// SAFETY: threads that share it write disjoint elements: `Problem::run` gives each the regions of a `Grid`.
unsafe impl Sync for RawFloatsMut {}

impl RawFloatsMut {
    /// `by` elements on.
    #[inline(always)]
    pub(in crate::gemm) fn offset(self, by: isize) -> Self {
        match self {
            Self::F32(p) => Self::F32(p.wrapping_offset(by)),
            Self::Bf16(p) => Self::Bf16(p.wrapping_offset(by)),
            Self::F16(p) => Self::F16(p.wrapping_offset(by)),
        }
    }
}

/// A strided matrix: element `(i, j)` is `i · row_stride + j · col_stride` elements from `data`.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct RawMatrix {
    pub(in crate::gemm) data: RawFloats,
    pub(in crate::gemm) row_stride: isize,
    pub(in crate::gemm) col_stride: isize,
}

impl RawMatrix {
    /// The matrix from its element `(row, col)` on.
    #[inline(always)]
    pub(in crate::gemm) fn from(self, row: usize, col: usize) -> Self {
        let by = row as isize * self.row_stride + col as isize * self.col_stride;
        Self { data: self.data.offset(by), ..self }
    }

    /// Rows and columns swapped.
    #[inline(always)]
    pub(in crate::gemm) fn transposed(self) -> Self {
        Self { row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }
}
