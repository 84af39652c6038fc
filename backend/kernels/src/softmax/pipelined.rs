//! Rows from memory to memory, in a pipeline of three.
//!
//! ```text
//! row r + 1   prefetched                      memory reads
//! row r       maximum, exponentials, sum      arithmetic, first-level cache
//! row r - 1   scaled and stored               memory writes
//! ```
//! Row by row, the stores of one would wait for memory while nothing is computed, and the next would not be on its way.

use super::rows::{RestOfRow, SoftmaxRows, add_rest, decay, exponentials, maximum, scale};
use crate::Storage;
use crate::math::{LaneOps, Unrolled};
use crate::rows::{UNROLL, prefetch_block, spans};
use crate::scratch::PooledScratch;
use crate::simd::Isa;

/// The row before, whose exponentials are known.
#[derive(Clone, Copy)]
struct ScaledRow<S> {
    terms: *const f32,
    by: f32,
    dst: *mut S,
}

impl<S: Storage> SoftmaxRows<S> {
    /// Rows from memory to memory: while the exponentials of one row are computed, the one before is scaled and written
    /// and the one behind is prefetched (with `PREFETCH`), so that memory never waits for arithmetic.
    ///
    /// # Safety
    /// `src` and `dst` hold `rows · d` elements; each row of `dst` begins at a multiple of 64 bytes.
    #[inline(always)]
    pub(super) unsafe fn run_pipelined<I: Isa, const PREFETCH: bool>(&self, isa: I) {
        let d = self.d;
        let mut kept = PooledScratch::take(2 * d);
        let kept = kept.as_mut_ptr();
        let mut before: Option<ScaledRow<S>> = None;
        for row in 0..self.rows {
            let terms = kept.wrapping_add(row % 2 * d);
            // SAFETY: `src` and `dst` hold `rows · d` elements; each row of `dst` begins at a multiple of 64 bytes (`#
            // Safety` of `SoftmaxRows::run_pipelined`); `kept` holds the terms of two rows.
            unsafe {
                let src = self.src.add(row * d);
                let max = maximum(isa, src, d);
                let sum = match before {
                    Some(before) => {
                        let next = src.wrapping_add(self.ahead);
                        exponentials_behind::<I, S, PREFETCH>(isa, SourceRow { x: src, next, max }, terms, before, d)
                    }
                    None => exponentials::<I, S, true>(isa, src, max, terms, d),
                };
                before = Some(ScaledRow { terms, by: 1.0 / sum, dst: self.dst.add(row * d) });
            }
        }
        if let Some(ScaledRow { terms, by, dst }) = before {
            // SAFETY: `kept` holds the terms of the last row, `dst` its results, by the `# Safety` clause of
            // `SoftmaxRows::run_pipelined`.
            unsafe { scale::<I, S, true>(isa, terms, by, dst, d) };
        }
    }
}

/// A row whose exponentials are computed.
#[derive(Clone, Copy)]
struct SourceRow<S> {
    x: *const S,
    /// An address that is only prefetched.
    next: *const S,
    max: f32,
}

/// [`exponentials`] of a row, to `terms`, and [`scale`] of the row before it, block by block. With `PREFETCH`
/// prefetches as much at `row.next`.
///
/// # Safety
/// `row.x`, `terms`, `before.terms` and `before.dst` hold `d` elements and do not overlap; `before.dst` is a multiple
/// of 64.
#[inline(always)]
unsafe fn exponentials_behind<I: Isa, S: Storage, const PREFETCH: bool>(
    isa: I,
    SourceRow { x, next, max }: SourceRow<S>,
    terms: *mut f32,
    before: ScaledRow<S>,
    d: usize,
) -> f32 {
    let (most, by) = (Isa::splat(isa, max), Isa::splat(isa, before.by));
    let mut sums = [Isa::splat(isa, 0.0); UNROLL];
    let rest = spans::<I, S, false>(isa, x, d).rest;
    // SAFETY: `row.x`, `terms`, `before.terms` and `before.dst` hold `d` elements and do not overlap; `before.dst` is a
    // multiple of 64 (`# Safety` of `exponentials_behind`); a block ends at `rest` or before, and what is left is `d -
    // rest` elements further.
    unsafe {
        for at in (0..rest).step_by(UNROLL * I::LANES) {
            if PREFETCH {
                prefetch_block(isa, next.wrapping_add(at));
            }
            let t = Unrolled(isa).sub([most; UNROLL], S::load_block::<I, UNROLL>(isa, x.add(at)));
            let e = decay::<_, S>(Unrolled(isa), t);
            sums = Unrolled(isa).add(sums, e);
            f32::store_block::<I, UNROLL, false>(isa, terms.add(at), e);
            let y = Unrolled(isa).mul(f32::load_block::<I, UNROLL>(isa, before.terms.add(at)), [by; UNROLL]);
            S::store_block::<I, UNROLL, true>(isa, before.dst.add(at), y);
        }
        scale::<I, S, true>(isa, before.terms.add(rest), before.by, before.dst.add(rest), d - rest);
        add_rest::<I, S, true>(isa, RestOfRow { x, terms, max }, rest..d, sums)
    }
}
