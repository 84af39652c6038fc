//! What happens to a tile of scores between the two products: limits, and the online softmax.

use super::problem::{Problem, Span};
use super::product::Rows;
use crate::kernels::math::tanh;
use crate::kernels::rows::{load, store};
use crate::kernels::softmax::{exponentials, maximum};
use crate::simd::Isa;
use core::ops::Range;

/// What is known of the rows so far. `e^{-max}` times the true sums.
#[derive(Debug, Clone, Copy)]
pub(super) struct Running {
    /// Largest score.
    pub(super) max: *mut f32,
    /// `Σ e^{score - max}`.
    pub(super) sum: *mut f32,
    /// `Σ e^{score - max} · v`.
    pub(super) out: Rows<*mut f32>,
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
            // SAFETY: the caller's promise.
            unsafe {
                self.max.add(row).write(f32::NEG_INFINITY);
                self.sum.add(row).write(0.0);
                self.out.data.add(row * self.out.stride).write_bytes(0, self.columns);
            }
        }
    }

    /// Takes the scores of a row in: turns them into weights `e^{score - max}` and makes what came before relative to the new
    /// maximum.
    ///
    /// # Safety
    /// `s` holds `n` scores; `self` holds the row.
    #[inline(always)]
    pub(super) unsafe fn take<I: Isa>(self, isa: I, row: usize, s: *mut f32, n: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            let (old, most) = (*self.max.add(row), maximum(isa, s, n));
            let max = if most > old { most } else { old };
            // A row that has seen nothing but -∞ subtracts a finite number, and its weights are 0.
            let shift = max.max(f32::MIN);
            let sum = exponentials::<I, f32, true>(isa, s, shift, s, n);
            if max > old {
                // 0 for a first tile, whose sums are 0 too.
                let factor = (old - max).exp();
                *self.sum.add(row) *= factor;
                let factor = isa.splat(factor);
                let out = self.out.data.add(row * self.out.stride);
                for at in (0..self.columns).step_by(I::LANES) {
                    isa.store(out.add(at), isa.mul(isa.load(out.add(at)), factor));
                }
            }
            *self.max.add(row) = max;
            *self.sum.add(row) += sum;
        }
    }
}

/// Finishes the scores of a row against `keys`: softcap, bias, and -∞ where a key is hidden or there is none.
///
/// # Safety
/// `s` is writable for `padded` scores, of which the first `keys.len()` are products.
#[inline(always)]
pub(super) unsafe fn finish_scores<I: Isa>(
    isa: I,
    problem: &Problem<'_>,
    span: &Span,
    row: usize,
    (keys, visible): (Range<usize>, Range<usize>),
    s: *mut f32,
    padded: usize,
) {
    let (head, query) = span.row(row);
    let n = keys.len();
    // SAFETY: the caller's promise for `s`; `row` checks the addresses of bias and mask for all of `keys`.
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
