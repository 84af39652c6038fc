//! Panels of rows, and the register tile of both products.
//!
//! The rows of a unit are in the lanes of registers, a panel of up to three registers at a time, and stay there from
//! the scores to the sums. Both products then have the same form, with the panel as the right operand:
//!
//! ```text
//! Sᵀ [keys][panel] = K [keys][d]  · Qᵀ [d][panel]          left: rows of K, in their own layout
//! Oᵀ [dv][panel]  += Vᵀ [dv][keys] · Pᵀ [keys][panel]      left: some columns of V beside each other, packed
//! ```
//!
//! The left operand is broadcast from memory a word at a time, so neither K nor V is ever transposed, and the softmax
//! between the products needs no sum or maximum across lanes.
//!
//! 8 x 3 registers on AVX-512 (24 accumulators, 3 of the panel, 1 broadcast): 11 loads for 24 multiply-adds where 14 x
//! 2 has 16 for 28, and 8 divides the head sizes 64, 72, 80 and 128. 6 x 2 on AVX2 (12, 2, 1 of its 16): 4 x 3 would
//! need all 16, and the compiler then keeps an accumulator in memory, which doubles the time.

use super::arithmetic::Arithmetic;
use crate::simd::{Isa, Tier};
use core::ops::Range;

/// Rows `first ..` of a unit.
#[derive(Debug, Clone)]
pub(super) struct Panel {
    pub(super) first: usize,
    pub(super) width: usize,
    /// Keys that any of its rows sees.
    pub(super) any: Range<usize>,
    /// Keys that all of its rows see.
    pub(super) all: Range<usize>,
}

impl Panel {
    /// The panel of `width` rows from `first` on, of a unit whose rows see the keys `visible`.
    #[inline(always)]
    pub(super) fn new(first: usize, width: usize, visible: &[(usize, usize)]) -> Self {
        // Bounds of the union and of the intersection.
        let (mut any, mut all) = ([usize::MAX, 0], [0, usize::MAX]);
        for &(begin, end) in &visible[first..(first + width).min(visible.len())] {
            all = [all[0].max(begin), all[1].min(end)];
            if begin < end {
                any = [any[0].min(begin), any[1].max(end)];
            }
        }
        let (any, all) = (any[0]..any[1], all[0]..all[1]);
        Self { first, width, any, all }
    }
}

/// Registers of a whole panel.
pub(super) const fn panel_registers<I: Isa>() -> usize {
    match I::TIER {
        Tier::Portable | Tier::Avx2 => 2,
        _ => 3,
    }
}

/// Rows of a whole panel.
pub(super) const fn panel_rows<I: Isa>() -> usize {
    panel_registers::<I>() * I::LANES
}

/// Columns of V that are packed beside each other: a whole number of registers and of register tiles.
pub(super) const fn left_columns<I: Isa>() -> usize {
    match I::TIER {
        Tier::Avx2 => 24,
        _ => 16,
    }
}

/// Rows of the largest panel of all tiers, a whole number of panels on the others.
pub(super) const MAX_PANEL_ROWS: usize = 48;

/// Height of the largest register tile of all tiers.
pub(super) const MAX_HEIGHT: usize = 8;

/// The left operand of a register tile: the word of row `r` at step `p` is `r · row + p · step` bytes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Left {
    pub(super) data: *const u8,
    pub(super) row: usize,
    pub(super) step: usize,
    /// Rows that exist; the ones after them repeat the last.
    pub(super) live: usize,
}

/// The right operand of a register tile: `REGS` registers for each step of the depth, `step` words apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Right {
    pub(super) data: *const f32,
    pub(super) step: usize,
}

impl Right {
    /// A packed panel of `REGS` registers.
    #[inline(always)]
    pub(super) fn panel<I: Isa, const REGS: usize>(data: *const f32) -> Self {
        Self { data, step: REGS * I::LANES }
    }
}

/// `HEIGHT` rows of the left operand by `REGS` registers of the right one, over `depth` words.
///
/// # Safety
/// `left` is readable for its live rows, at least one, and `right` for `depth` times `REGS` registers.
#[inline(always)]
pub(super) unsafe fn multiply<A: Arithmetic, const HEIGHT: usize, const REGS: usize>(
    arithmetic: A,
    left: Left,
    right: Right,
    depth: usize,
) -> [[<A::Isa as Isa>::V; REGS]; HEIGHT] {
    let isa = arithmetic.isa();
    let lanes = <A::Isa as Isa>::LANES;
    let mut sums = [[isa.splat(0.0); REGS]; HEIGHT];
    let mut rows = [0; HEIGHT];
    for (r, row) in rows.iter_mut().enumerate() {
        *row = r.min(left.live - 1) * left.row;
    }
    let (mut a, mut b) = (left.data, right.data);
    for _ in 0..depth {
        let mut columns = [isa.splat(0.0); REGS];
        for (g, column) in columns.iter_mut().enumerate() {
            // SAFETY: `left` is readable for its live rows, at least one, and `right` for `depth` times `REGS`
            // registers (`# Safety` of `multiply`).
            *column = unsafe { isa.load(b.add(g * lanes)) };
        }
        for (&row, sums) in rows.iter().zip(&mut sums) {
            // SAFETY: `left` is readable for its live rows, at least one, and `right` for `depth` times `REGS`
            // registers (`# Safety` of `multiply`); a word may begin at any byte.
            let word = isa.splat(unsafe { a.add(row).cast::<f32>().read_unaligned() });
            for (sum, &column) in sums.iter_mut().zip(&columns) {
                *sum = arithmetic.multiply_add(word, column, *sum);
            }
        }
        a = a.wrapping_add(left.step);
        b = b.wrapping_add(right.step);
    }
    sums
}
