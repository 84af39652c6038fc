//! One product of a tile: every one of the five has this form.

use super::super::arithmetic::F32Words;
use super::super::panel::{Left, Right, multiply};
use crate::simd::{Isa, Kernel, Tier};

/// A matrix in memory: element `(i, j)` is `i · row + j · column` floats on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Strided {
    pub(super) data: *const f32,
    pub(super) row: usize,
    pub(super) column: usize,
}

/// `out[rows][columns] (+)= left[rows][depth] · right[depth][columns]`, of up to three registers of columns.
#[derive(Debug, Clone, Copy)]
pub(super) struct TileProduct {
    pub(super) left: Strided,
    pub(super) right: Right,
    pub(super) out: *mut f32,
    /// Floats from one row of the result to the next.
    pub(super) out_row: usize,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) depth: usize,
    /// Whether it is added to what is there.
    pub(super) adds: bool,
}

impl TileProduct {
    /// The product with what it relies on promised.
    ///
    /// # Safety
    /// `left` is readable for `rows` by `depth`, `right` for `depth` times whole registers of the columns, `out` is
    /// readable and writable for `rows` by `columns`, until it has run.
    #[inline(always)]
    pub(super) unsafe fn promise(self) -> Promised {
        Promised(self)
    }
}

/// A [`TileProduct`] whose operands are as it says.
pub(super) struct Promised(TileProduct);

impl Kernel for Promised {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        let registers = self.0.columns.div_ceil(I::LANES);
        // SAFETY: promised by whoever made it.
        unsafe {
            match (I::TIER, registers) {
                (Tier::Portable, 2) => self.0.run::<I, 2, 2>(isa),
                (Tier::Portable, _) => self.0.run::<I, 2, 1>(isa),
                (Tier::Avx2, 2) => self.0.run::<I, 6, 2>(isa),
                (Tier::Avx2, _) => self.0.run::<I, 6, 1>(isa),
                (_, 3) => self.0.run::<I, 8, 3>(isa),
                (_, 2) => self.0.run::<I, 8, 2>(isa),
                (_, _) => self.0.run::<I, 8, 1>(isa),
            }
        }
    }
}

impl TileProduct {
    /// In register tiles of `HEIGHT` rows by `REGS` registers, which hold all columns.
    ///
    /// # Safety
    /// As for [`TileProduct::promise`].
    #[inline(always)]
    unsafe fn run<I: Isa, const HEIGHT: usize, const REGS: usize>(self, isa: I) {
        let Self { left, right, out, out_row, rows, columns, depth, adds } = self;
        let whole = columns == REGS * I::LANES;
        for first in (0..rows).step_by(HEIGHT) {
            let live = HEIGHT.min(rows - first);
            // SAFETY: row `first` exists; all as the `# Safety` clause of `TileProduct::run` says.
            unsafe {
                let data = left.data.add(first * left.row).cast();
                let left = Left { data, row: left.row * 4, step: left.column * 4, live };
                let sums = multiply::<_, HEIGHT, REGS>(F32Words(isa), left, right, depth);
                let to = out.add(first * out_row);
                if whole && live == HEIGHT {
                    for (r, sums) in sums.iter().enumerate() {
                        for (g, &sum) in sums.iter().enumerate() {
                            let to = to.add(r * out_row + g * I::LANES);
                            isa.store(to, if adds { isa.add(isa.load(to), sum) } else { sum });
                        }
                    }
                    continue;
                }
                for (r, sums) in sums.iter().enumerate() {
                    for (g, &sum) in sums.iter().enumerate() {
                        let n = columns.saturating_sub(g * I::LANES).min(I::LANES);
                        if r < live && n > 0 {
                            let to = to.add(r * out_row + g * I::LANES);
                            add_part(isa, to, sum, n, adds);
                        }
                    }
                }
            }
        }
    }
}

/// Stores or adds `n` lanes.
///
/// # Safety
/// `to` is readable and writable for `n` floats.
#[inline(always)]
unsafe fn add_part<I: Isa>(isa: I, to: *mut f32, sum: I::V, n: usize, adds: bool) {
    // SAFETY: `to` is readable and writable for `n` floats (`# Safety` of `add_part`).
    unsafe {
        let sum = if adds { isa.add(crate::rows::load(isa, to.cast_const(), n), sum) } else { sum };
        crate::rows::store(isa, to, sum, n);
    }
}
