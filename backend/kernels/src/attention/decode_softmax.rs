//! The online softmax of few rows: scores of one row are contiguous.

use super::exponent::power_of_two;
use super::problem::{Problem, UnitRows};
use crate::math::tanh;
use crate::rows::{load, store};
use crate::simd::Isa;
use core::f32::consts::LOG2_E;
use core::ops::Range;

/// What is known of the rows so far, relative to `2^max`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Running {
    /// Largest score, times log₂ e.
    pub(super) max: *mut f32,
    /// `Σ 2^(score - max)`.
    pub(super) sum: *mut f32,
    /// `Σ 2^(score - max) · v`, rows of `columns`.
    pub(super) out: *mut f32,
    /// Columns of `out`, padded.
    pub(super) columns: usize,
}

impl Running {
    /// Nothing seen yet.
    ///
    /// # Safety
    /// All are writable for `rows` rows.
    pub(super) unsafe fn clear(self, rows: usize) {
        for row in 0..rows {
            // SAFETY: all are writable for `rows` rows (`# Safety` of `Running::clear`).
            unsafe {
                self.max.add(row).write(f32::NEG_INFINITY);
                self.sum.add(row).write(0.0);
                self.out.add(row * self.columns).write_bytes(0, self.columns);
            }
        }
    }

    /// Takes the scores of a row in: turns them into weights `2^(score - max)` and makes what came before relative to
    /// the new maximum.
    ///
    /// # Safety
    /// `s` holds `n` scores, a whole number of registers; `self` holds the row.
    #[inline(always)]
    pub(super) unsafe fn take<I: Isa>(self, isa: I, row: usize, s: *mut f32, n: usize) {
        // SAFETY: `s` holds `n` scores, a whole number of registers; `self` holds the row (`# Safety` of
        // `Running::take`).
        unsafe {
            let old = *self.max.add(row);
            let mut most = isa.splat(f32::NEG_INFINITY);
            for at in (0..n).step_by(I::LANES) {
                most = isa.max(isa.load(s.add(at)), most);
            }
            let most = isa.reduce_max(most);
            let max = if most > old { most } else { old };
            // A row that has seen nothing but -∞ subtracts a finite number, and its weights are 0.
            let shift = isa.splat(max.max(f32::MIN));
            let mut sum = isa.splat(0.0);
            for at in (0..n).step_by(I::LANES) {
                let weight = power_of_two(isa, isa.sub(isa.load(s.add(at)), shift));
                sum = isa.add(sum, weight);
                isa.store(s.add(at), weight);
            }
            if max > old {
                // 0 for a first tile, whose sums are 0 too.
                let factor = (old - max).exp2();
                *self.sum.add(row) *= factor;
                let factor = isa.splat(factor);
                let out = self.out.add(row * self.columns);
                for at in (0..self.columns).step_by(I::LANES) {
                    isa.store(out.add(at), isa.mul(isa.load(out.add(at)), factor));
                }
            }
            *self.max.add(row) = max;
            *self.sum.add(row) += isa.reduce_add(sum);
        }
    }
}

/// A row of a tile of scores.
#[derive(Debug, Clone)]
pub(super) struct RowOfTile {
    pub(super) row: usize,
    /// Keys of the tile.
    pub(super) keys: Range<usize>,
    /// Keys that causal order and segments leave to the row.
    pub(super) visible: Range<usize>,
    /// Number of keys with padding.
    pub(super) padded: usize,
}

/// Finishes the scores of a row: softcap, bias, base 2, and -∞ where a key is hidden or there is none.
///
/// # Safety
/// `s` is writable for `padded` scores, of which the first `keys.len()` are products, times log₂ e unless the problem's
/// scores are special.
#[inline(always)]
pub(super) unsafe fn finish_scores<I: Isa>(
    isa: I,
    problem: &Problem<'_>,
    span: &UnitRows,
    RowOfTile { row, keys, visible, padded }: RowOfTile,
    s: *mut f32,
) {
    let (head, query) = span.row(row);
    let n = keys.len();
    // SAFETY: `s` as the `# Safety` clause of `finish_scores` says; `row` checks the addresses of bias and mask for all
    // of `keys`.
    unsafe {
        if let Some(cap) = problem.softcap {
            let cap = isa.splat(cap);
            for at in (0..n).step_by(I::LANES) {
                let lanes = I::LANES.min(n - at);
                let limited = isa.mul(cap, tanh(isa, load(isa, s.add(at), lanes)));
                store(isa, s.add(at), limited, lanes);
            }
        }
        if let Some(bias) = &problem.bias {
            let (bias, stride) = bias.row(span.batch, head, query, &keys);
            if stride == 1 {
                for at in (0..n).step_by(I::LANES) {
                    let lanes = I::LANES.min(n - at);
                    let sum = isa.add(load(isa, s.add(at), lanes), load(isa, bias.add(at), lanes));
                    store(isa, s.add(at), sum, lanes);
                }
            } else {
                for j in 0..n {
                    *s.add(j) += *bias.add(j * stride);
                }
            }
        }
        if problem.is_special() {
            for at in (0..n).step_by(I::LANES) {
                let lanes = I::LANES.min(n - at);
                store(isa, s.add(at), isa.mul(load(isa, s.add(at), lanes), isa.splat(LOG2_E)), lanes);
            }
        }
        if let Some(mask) = &problem.mask {
            let (mask, stride) = mask.row(span.batch, head, query, &keys);
            for j in 0..n {
                if *mask.add(j * stride) != 0 {
                    s.add(j).write(f32::NEG_INFINITY);
                }
            }
        }
        let begin = visible.start.clamp(keys.start, keys.end) - keys.start;
        let end = visible.end.clamp(keys.start, keys.end) - keys.start;
        for j in (0..begin).chain(end.max(begin)..padded) {
            s.add(j).write(f32::NEG_INFINITY);
        }
    }
}
