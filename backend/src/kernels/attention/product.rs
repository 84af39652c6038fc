//! The register tile of both products: `C = A·B` or `C += A·B`.
//!
//! A is row-major, B lies in panels of two registers' columns (one register for what is left on AVX-512), each panel
//! `[depth][columns]`. Rows and columns of the operands are padded, so there are no tails.

use crate::simd::{Isa, PANEL, Tier};

/// Columns of a whole panel.
#[inline(always)]
pub(super) const fn panel<I: Isa>() -> usize {
    2 * I::LANES
}

/// `columns` rounded up to what panels can hold: a whole number of [`PANEL`]s on every tier.
pub(super) const fn pad_columns(columns: usize) -> usize {
    columns.next_multiple_of(PANEL)
}

/// Rows of the register tile: 8 x 2 accumulators of AVX-512's 32 registers, 6 x 2 of AVX2's 16, 2 x 2 of the portable tier's
/// (whose registers are pairs). 8 to 10 hide the latency of a multiply-add (4 cycles, 2 a cycle).
pub(super) const fn tile_rows<I: Isa>() -> usize {
    match I::TIER {
        Tier::Avx512 | Tier::Avx512Bf16 | Tier::Amx => 8,
        Tier::Avx2 => 6,
        Tier::Portable => 2,
    }
}

/// The largest [`tile_rows`] of all tiers.
pub(super) const MAX_TILE_ROWS: usize = 8;

/// A padded row-major matrix.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows<P> {
    pub(super) data: P,
    pub(super) stride: usize,
}

impl Rows<*mut f32> {
    /// The same to read.
    #[inline(always)]
    pub(super) fn cast_const(self) -> Rows<*const f32> {
        Rows { data: self.data.cast_const(), stride: self.stride }
    }
}

/// `C = A·B`, with `ADD` `C += A·B`: `rows` x `columns` over `depth`.
///
/// # Safety
/// `rows` is a multiple of [`tile_rows`], `columns` of [`PANEL`]. `a` holds `rows` rows of `depth`, `b` the panels of `columns`
/// columns, and `c` `rows` rows of `columns`.
#[inline(always)]
pub(super) unsafe fn multiply<I: Isa, const ADD: bool>(
    isa: I,
    a: Rows<*const f32>,
    b: *const f32,
    c: Rows<*mut f32>,
    [rows, columns, depth]: [usize; 3],
) {
    debug_assert!(rows.is_multiple_of(tile_rows::<I>()) && columns.is_multiple_of(PANEL));
    for column in (0..columns).step_by(panel::<I>()) {
        // SAFETY: the caller's promise: the panels before take `column · depth` floats.
        unsafe {
            let (b, c) = (b.add(column * depth), Rows { data: c.data.add(column), ..c });
            if columns - column >= panel::<I>() {
                multiply_panel::<I, 2, ADD>(isa, a, b, c, [rows, depth]);
            } else {
                multiply_panel::<I, 1, ADD>(isa, a, b, c, [rows, depth]);
            }
        }
    }
}

/// # Safety
/// As [`multiply`], for one panel of `REGS` registers.
#[inline(always)]
unsafe fn multiply_panel<I: Isa, const REGS: usize, const ADD: bool>(
    isa: I,
    a: Rows<*const f32>,
    b: *const f32,
    c: Rows<*mut f32>,
    [rows, depth]: [usize; 2],
) {
    for row in (0..rows).step_by(tile_rows::<I>()) {
        // SAFETY: the caller's promise: `rows` is a multiple of the tile's.
        unsafe {
            let a = Rows { data: a.data.add(row * a.stride), ..a };
            let c = Rows { data: c.data.add(row * c.stride), ..c };
            match I::TIER {
                Tier::Avx512 | Tier::Avx512Bf16 | Tier::Amx => tile::<I, 8, REGS, ADD>(isa, a, b, c, depth),
                Tier::Avx2 => tile::<I, 6, REGS, ADD>(isa, a, b, c, depth),
                Tier::Portable => tile::<I, 2, REGS, ADD>(isa, a, b, c, depth),
            }
        }
    }
}

/// # Safety
/// `a` and `c` hold `ROWS` rows, `b` `depth` times `REGS` registers.
#[inline(always)]
unsafe fn tile<I: Isa, const ROWS: usize, const REGS: usize, const ADD: bool>(
    isa: I,
    a: Rows<*const f32>,
    b: *const f32,
    c: Rows<*mut f32>,
    depth: usize,
) {
    let mut acc = [[isa.splat(0.0); REGS]; ROWS];
    // SAFETY: the caller's promise.
    unsafe {
        for p in 0..depth {
            let mut columns = [isa.splat(0.0); REGS];
            for (j, column) in columns.iter_mut().enumerate() {
                *column = isa.load(b.add((p * REGS + j) * I::LANES));
            }
            for (r, acc) in acc.iter_mut().enumerate() {
                let x = isa.splat(*a.data.add(r * a.stride + p));
                for (acc, &column) in acc.iter_mut().zip(&columns) {
                    *acc = isa.mul_add(x, column, *acc);
                }
            }
        }
        for (r, acc) in acc.iter().enumerate() {
            for (j, &sum) in acc.iter().enumerate() {
                let to = c.data.add(r * c.stride + j * I::LANES);
                isa.store(to, if ADD { isa.add(isa.load(to), sum) } else { sum });
            }
        }
    }
}
