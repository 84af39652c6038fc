//! The left operand of a product: a matrix, or the norm of its rows, applied on their way into panels.
//!
//! ```text
//! first phase    mean, reciprocal deviation and shift of each row     while it is in the cache, to be packed
//! packing        x → ((x - mean) · rstd + shift) · gamma + beta         on registers, before the transpose
//! ```
//!
//! The normalised rows are never in memory, and no pass of their own reads or writes them. The operations and their
//! order are those of the separate norm, so that the product is the same bit for bit.

use crate::Launch;
use crate::gemm::matrix::Matrix;
use crate::gemm::raw::{RawFloats, RawMatrix};
use crate::gemm::registers::load_up_to;
use crate::impossible::impossible;
use crate::norm::RowNorm;
use crate::rows::Widened;
use crate::scratch::PooledScratch;
use crate::simd::{Isa, Kernel};
use core::ops::Range;

/// The left operand.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct LeftOperand {
    pub(in crate::gemm) matrix: RawMatrix,
    /// What is done to its rows: f32 with contiguous columns.
    pub(in crate::gemm) scales: Option<RowScales>,
}

impl LeftOperand {
    /// The matrix as it is.
    pub(in crate::gemm) fn plain(matrix: RawMatrix) -> Self {
        Self { matrix, scales: None }
    }

    /// The operand from its element `(row, col)` on.
    #[inline(always)]
    pub(in crate::gemm) fn from(self, row: usize, col: usize) -> Self {
        Self { matrix: self.matrix.from(row, col), scales: self.scales.map(|scales| scales.from(row, col)) }
    }
}

/// The numbers of a norm: three for each row, and its weights for each column.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct RowScales {
    /// Mean, reciprocal deviation and shift.
    stats: *mut [f32; 3],
    gamma: *const f32,
    /// Null where there is none.
    beta: *const f32,
    /// Whether the mean is subtracted.
    centred: bool,
}

// SAFETY: addresses; threads write the numbers of disjoint rows (`Launch::split`) before any is read.
unsafe impl Send for RowScales {}
// SAFETY: threads write the numbers of disjoint rows (`Launch::split`) before any is read.
unsafe impl Sync for RowScales {}

impl RowScales {
    /// The numbers from row `row` and column `col` on.
    #[inline(always)]
    pub(in crate::gemm) fn from(self, row: usize, col: usize) -> Self {
        let beta = if self.beta.is_null() { self.beta } else { self.beta.wrapping_add(col) };
        Self { stats: self.stats.wrapping_add(row), gamma: self.gamma.wrapping_add(col), beta, ..self }
    }

    /// `n ≤ LANES` elements of row `row` from column `col` on, normalised; the other lanes hold anything.
    ///
    /// # Safety
    /// Row and columns exist, and the row was measured.
    #[inline(always)]
    pub(in crate::gemm) unsafe fn apply<I: Isa>(self, isa: I, x: I::V, (row, col): (usize, usize), n: usize) -> I::V {
        // SAFETY: row and columns exist, and the row was measured (`# Safety` of `RowScales::apply`).
        unsafe {
            let [mean, rstd, shift] = *self.stats.add(row);
            let gamma = load_up_to(isa, self.gamma.add(col), n);
            if !self.centred {
                return isa.mul(isa.mul(x, isa.splat(rstd)), gamma);
            }
            let normed = isa.mul_add(isa.sub(x, isa.splat(mean)), isa.splat(rstd), isa.splat(shift));
            if self.beta.is_null() {
                isa.mul(normed, gamma)
            } else {
                isa.mul_add(normed, gamma, load_up_to(isa, self.beta.add(col), n))
            }
        }
    }
}

/// A norm and the rows that it is of.
pub(in crate::gemm) struct NormedRows<'a> {
    norm: &'a RowNorm<'a>,
    matrix: Matrix<'a>,
    gamma: Widened<'a>,
    beta: Option<Widened<'a>>,
    /// Three numbers a row.
    stats: PooledScratch,
}

impl<'a> NormedRows<'a> {
    /// For rows of f32 with contiguous columns, as many as the norm has weights.
    pub(in crate::gemm) fn new(launch: Launch, norm: &'a RowNorm<'a>, matrix: Matrix<'a>) -> Self {
        Self {
            norm,
            matrix,
            gamma: Widened::new::<f32>(launch, norm.gamma()),
            beta: norm.beta().map(|beta| Widened::new::<f32>(launch, beta)),
            stats: PooledScratch::take(3 * matrix.rows()),
        }
    }

    /// The numbers, and what computes those of rows. Both end with `self`.
    pub(in crate::gemm) fn scales(&mut self) -> (RowScales, Measure<'a>) {
        let scales = RowScales {
            stats: self.stats.as_mut_ptr().cast(),
            gamma: self.gamma.get().as_ptr(),
            beta: self.beta.as_ref().map_or(core::ptr::null(), |beta| beta.get().as_ptr()),
            centred: matches!(self.norm, RowNorm::Layer(_)),
        };
        (scales, Measure { norm: self.norm, matrix: self.matrix, scales, rows: 0..0 })
    }
}

/// Measures rows. Calls for disjoint rows may run at one time.
#[derive(Debug, Clone)]
pub(in crate::gemm) struct Measure<'a> {
    norm: &'a RowNorm<'a>,
    matrix: Matrix<'a>,
    scales: RowScales,
    rows: Range<usize>,
}

impl Measure<'_> {
    /// The work for some rows, which exist.
    pub(in crate::gemm) fn of(&self, rows: Range<usize>) -> Self {
        debug_assert!(rows.end <= self.matrix.rows());
        Self { rows, ..self.clone() }
    }
}

impl Kernel for Measure<'_> {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        let RawMatrix { data: RawFloats::F32(data), row_stride, .. } = self.matrix.raw() else {
            impossible("a norm of rows that are no f32")
        };
        for row in self.rows {
            // SAFETY: `Matrix` checked that the rows lie within its slice, and `NormedRows` has three numbers for each.
            unsafe {
                let measured = self.norm.measure(isa, data.offset(row as isize * row_stride), self.matrix.cols());
                self.scales.stats.add(row).write(measured);
            }
        }
    }
}
