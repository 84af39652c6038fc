//! Strided matrices of bf16.

use crate::gemm::bf16::vectors::{Adjacent, PAIRS, Register, Vectors};
use crate::gemm::raw::{RawFloats, RawMatrix};
use crate::simd::{Avx512Bf16, Isa};
use half::bf16;

/// A strided matrix of bf16: element `(i, j)` is `i · row_stride + j · col_stride` elements from `data`.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct Bf16Matrix {
    pub(in crate::gemm) data: *const bf16,
    pub(in crate::gemm) row_stride: isize,
    pub(in crate::gemm) col_stride: isize,
}

impl Bf16Matrix {
    /// The matrix, if its elements are bf16.
    pub(in crate::gemm) fn of(RawMatrix { data, row_stride, col_stride }: RawMatrix) -> Option<Self> {
        let RawFloats::Bf16(data) = data else { return None };
        Some(Self { data, row_stride, col_stride })
    }

    /// The matrix from its element `(row, col)` on.
    #[inline(always)]
    pub(in crate::gemm) fn from(self, row: usize, col: usize) -> Self {
        Self { data: self.at(row, col), ..self }
    }

    /// Rows and columns swapped.
    #[inline(always)]
    pub(in crate::gemm) fn transposed(self) -> Self {
        Self { row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }

    /// The address of element `(i, j)`.
    #[inline(always)]
    pub(in crate::gemm) fn at(self, i: usize, j: usize) -> *const bf16 {
        self.data.wrapping_offset(i as isize * self.row_stride + j as isize * self.col_stride)
    }

    /// The pair of columns `j` and `j + 1` of row `i`; columns from `depth` on are 0.
    ///
    /// # Safety
    /// The elements are readable.
    #[inline(always)]
    pub(in crate::gemm) unsafe fn pair(self, i: usize, j: usize, depth: usize) -> u32 {
        // SAFETY: the elements are readable (`# Safety` of `Bf16Matrix::pair`).
        unsafe {
            let even = u32::from(self.at(i, j).read().to_bits());
            let odd = if j + 1 < depth { u32::from(self.at(i, j + 1).read().to_bits()) } else { 0 };
            even | odd << 16
        }
    }
}

impl Vectors for Bf16Matrix {
    #[inline(always)]
    unsafe fn load(self, isa: Avx512Bf16, (lane, step): (usize, usize), have: usize) -> Register {
        let from = self.at(lane, step);
        // SAFETY: `have` (1 ..= 32) steps of the vector exist (`# Safety` of `Vectors::load`); what does not exist is
        // not read.
        unsafe {
            if have == 2 * PAIRS && self.col_stride == 1 {
                return isa.base().load(from.cast());
            }
            let mut pairs = [0u32; PAIRS];
            if self.col_stride == 1 {
                core::ptr::copy_nonoverlapping(from, pairs.as_mut_ptr().cast(), have);
            } else {
                for (i, pair) in pairs.iter_mut().enumerate().take(have.div_ceil(2)) {
                    *pair = self.pair(lane, step + 2 * i, step + have);
                }
            }
            isa.base().load(pairs.as_ptr().cast())
        }
    }
}

/// With rows that are adjacent (`row_stride` 1).
impl Adjacent for Bf16Matrix {
    #[inline(always)]
    unsafe fn load_pairs(self, isa: Avx512Bf16, (lane, step): (usize, usize), have: [usize; 2]) -> Register {
        let [lanes, steps] = have;
        let load = |step: usize| {
            let from: *const u16 = self.at(lane, step).cast();
            // SAFETY: by the `# Safety` clause of `Adjacent::load_pairs`, `lanes` vectors exist at this step.
            unsafe {
                if lanes == PAIRS {
                    return isa.base().load_bf16(from);
                }
                let mut some = [0u16; PAIRS];
                core::ptr::copy_nonoverlapping(from, some.as_mut_ptr(), lanes);
                isa.base().load_bf16(some.as_ptr())
            }
        };
        let odd = if steps == 1 { isa.base().splat(0.0) } else { load(step + 1) };
        isa.base().pair_bf16(load(step), odd)
    }
}
