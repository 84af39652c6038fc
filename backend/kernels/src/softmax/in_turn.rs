//! Rows from memory to memory, in turn.
//!
//! ```text
//! row r + 1   asked for                       memory reads
//! row r       maximum, exponentials, sum      arithmetic, first-level cache
//! row r - 1   scaled and stored               memory writes
//! ```
//! Row by row, the stores of one would wait for memory while nothing is computed, and the next would not be on its way.

use super::rows::{Part, add_rest, decay, exponentials, maximum, scale};
use crate::Storage;
use crate::math::{Several, Vector};
use crate::rows::{BESIDE, prefetch_block, spans};
use crate::scratch::Lent;
use crate::simd::Isa;

/// A row whose exponentials are known.
#[derive(Clone, Copy)]
struct Before<S> {
    terms: *const f32,
    by: f32,
    dst: *mut S,
}

impl<S: Storage> Part<S> {
    /// Rows from memory to memory: while the exponentials of one row are computed, the one before is scaled and written and the one behind
    /// is asked for, so that memory never waits for arithmetic.
    ///
    /// # Safety
    /// `src` and `dst` hold `rows · d` elements; each row of `dst` begins at a multiple of 64 bytes.
    #[inline(always)]
    pub(super) unsafe fn run_in_turn<I: Isa>(&self, isa: I) {
        let d = self.d;
        let mut kept = Lent::take(2 * d);
        let kept = kept.as_mut_ptr();
        let mut before = None;
        for row in 0..self.rows {
            let terms = kept.wrapping_add(row % 2 * d);
            // SAFETY: the caller's promise; `kept` holds the terms of two rows.
            unsafe {
                let src = self.src.add(row * d);
                let max = maximum(isa, src, d);
                let sum = match before {
                    Some(before) => exponentials_behind(isa, src, max, terms, before, d),
                    None => exponentials::<I, S, true>(isa, src, max, terms, d),
                };
                before = Some(Before { terms, by: 1.0 / sum, dst: self.dst.add(row * d) });
            }
        }
        if let Some(Before { terms, by, dst }) = before {
            // SAFETY: as above.
            unsafe { scale::<I, S, true>(isa, terms, by, dst, d) };
        }
    }
}

/// [`exponentials`] of a row, to `terms`, and [`scale`] of the row before it, block by block. Asks for the row behind.
///
/// # Safety
/// `x`, `terms`, `before.terms` and `before.dst` hold `d` elements and do not overlap; `before.dst` is a multiple of 64.
#[inline(always)]
unsafe fn exponentials_behind<I: Isa, S: Storage>(
    isa: I,
    x: *const S,
    max: f32,
    terms: *mut f32,
    before: Before<S>,
    d: usize,
) -> f32 {
    let (most, by) = (Isa::splat(isa, max), Isa::splat(isa, before.by));
    let mut sums = [Isa::splat(isa, 0.0); BESIDE];
    let rest = spans::<I, S, false>(isa, x, d).rest;
    // SAFETY: the caller's promise; a block ends at `rest` or before, and what is left is `d - rest` elements further.
    unsafe {
        for at in (0..rest).step_by(BESIDE * I::LANES) {
            prefetch_block(isa, x.wrapping_add(d + at));
            let t = Several(isa).sub([most; BESIDE], S::load_block::<I, BESIDE>(isa, x.add(at)));
            let e = decay::<_, S>(Several(isa), t);
            sums = Several(isa).add(sums, e);
            f32::store_block::<I, BESIDE, false>(isa, terms.add(at), e);
            let y = Several(isa).mul(f32::load_block::<I, BESIDE>(isa, before.terms.add(at)), [by; BESIDE]);
            S::store_block::<I, BESIDE, true>(isa, before.dst.add(at), y);
        }
        scale::<I, S, true>(isa, before.terms.add(rest), before.by, before.dst.add(rest), d - rest);
        add_rest::<I, S, true>(isa, (x, terms), max, rest..d, sums)
    }
}
