//! f32 that becomes bf16 while it is packed.
//!
//! # Error
//!
//! Elements are rounded to nearest even, by a relative 2⁻⁸ at most, and what is subnormal becomes zero: a product is
//! off by at most `2⁻⁸ · Σ|aᵢ·bᵢ|` beyond what sums of exact bf16 are (see [`super`]). An element beyond the largest
//! bf16 becomes infinite.

use crate::gemm::bf16::vectors::{Adjacent, PAIRS, Register, Vectors};
use crate::gemm::left::{LeftOperand, RowScales};
use crate::gemm::raw::{RawFloats, RawMatrix};
use crate::gemm::registers::load_up_to;
use crate::simd::{Avx512Bf16, Isa};

/// Contiguous rows of f32, and the norm of each where it has one.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct RoundedRows {
    data: *const f32,
    row_stride: isize,
    scales: Option<RowScales>,
}

impl RoundedRows {
    /// The operand, if its rows are contiguous f32.
    pub(in crate::gemm) fn of(left: LeftOperand) -> Option<Self> {
        match left.matrix {
            RawMatrix { data: RawFloats::F32(data), row_stride, col_stride: 1 } => {
                Some(Self { data, row_stride, scales: left.scales })
            }
            _ => None,
        }
    }

    /// The rows from element `(row, col)` on.
    #[inline(always)]
    pub(in crate::gemm) fn from(self, row: usize, col: usize) -> Self {
        let data = self.data.wrapping_offset(row as isize * self.row_stride).wrapping_add(col);
        Self { data, scales: self.scales.map(|scales| scales.from(row, col)), ..self }
    }
}

/// f32 whose rows lie beside each other: element `(i, p)` is `i + p · depth_stride` from `data`.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct RoundedColumns {
    data: *const f32,
    depth_stride: isize,
}

impl RoundedColumns {
    /// The operand, if its columns are contiguous f32.
    pub(in crate::gemm) fn of(left: LeftOperand) -> Option<Self> {
        match left {
            LeftOperand {
                matrix: RawMatrix { data: RawFloats::F32(data), row_stride: 1, col_stride: depth_stride },
                scales: None,
            } => Some(Self { data, depth_stride }),
            _ => None,
        }
    }

    /// The columns from element `(row, col)` on.
    #[inline(always)]
    pub(in crate::gemm) fn from(self, row: usize, col: usize) -> Self {
        Self { data: self.data.wrapping_add(row).wrapping_offset(col as isize * self.depth_stride), ..self }
    }
}

impl Adjacent for RoundedColumns {
    #[inline(always)]
    unsafe fn load_pairs(self, isa: Avx512Bf16, (lane, step): (usize, usize), have: [usize; 2]) -> Register {
        let [lanes, steps] = have;
        let even = self.from(lane, step).data;
        // SAFETY: by the `# Safety` clause of `Adjacent::load_pairs`, so many vectors and steps exist.
        unsafe {
            let odd = match steps {
                1 => isa.base().splat(0.0),
                _ => load_up_to(isa.base(), even.wrapping_offset(self.depth_stride), lanes),
            };
            isa.round_pair(load_up_to(isa.base(), even, lanes), odd)
        }
    }
}

impl Vectors for RoundedRows {
    #[inline(always)]
    unsafe fn load(self, isa: Avx512Bf16, (lane, step): (usize, usize), have: usize) -> Register {
        let base = isa.base();
        let from = self.data.wrapping_offset(lane as isize * self.row_stride).wrapping_add(step);
        let mut halves = [base.splat(0.0); 2];
        for (i, half) in halves.iter_mut().enumerate() {
            let n = have.saturating_sub(i * PAIRS).min(PAIRS);
            if n == 0 {
                continue;
            }
            // SAFETY: by the `# Safety` clause of `Vectors::load`, `n` more steps exist, measured where there are
            // scales.
            unsafe {
                *half = load_up_to(base, from.add(i * PAIRS), n);
                if let Some(scales) = self.scales {
                    let normed = scales.apply(base, *half, (lane, step + i * PAIRS), n);
                    // Lanes that do not exist are summed too.
                    *half = if n == PAIRS { normed } else { first_lanes(isa, normed, n) };
                }
            }
        }
        isa.round_neighbours(halves)
    }
}

/// The first `n` lanes, the others 0.
#[inline(always)]
fn first_lanes(isa: Avx512Bf16, v: Register, n: usize) -> Register {
    let mut lanes = [0.0; PAIRS];
    // SAFETY: the array is a register long.
    unsafe {
        isa.base().store(lanes.as_mut_ptr(), v);
        lanes[n..].fill(0.0);
        isa.base().load(lanes.as_ptr())
    }
}
