//! Over the last dimension: a row is contiguous.
//!
//! Two ways through a row:
//! - *short*: maximum, exponentials with their sum, scaling: three passes, of which only the first reads memory, as the
//!   row stays in a cache. Each exponential is computed once and kept in f32: in the result itself, or beside it where
//!   the result has 16 bits (which would round twice) or is stored non-temporally (pipelined.rs).
//! - *long*: blocks that stay in the first-level cache (rows/blocks.rs) give maximum and sum together, each block from
//!   memory once and rescaling what came before; a second pass computes the results. Two reads and a write instead of
//!   three and two.

use super::SoftmaxKind;
use crate::math::{LaneOps, Unrolled, decay_any, decay_any_16bit};
use crate::rows::{
    GRAIN, Source, Target, UNROLL, load, load_or, longest_kept_row, prefetch_elements, share, softmax_elements, spans,
    store, streams_rows,
};
use crate::scratch::PooledScratch;
use crate::simd::{Isa, Kernel};
use crate::{Launch, Storage};
use core::any::TypeId;
use core::ops::Range;

pub(super) fn run<S: Storage>(
    launch: Launch,
    kind: SoftmaxKind,
    [rows, d]: [usize; 2],
    src: Source<S>,
    dst: Target<S>,
) {
    let stream = src.start() != dst.source().start() && streams_rows(dst.source().start(), d, rows);
    let keeps = d <= longest_kept_row() && kind == SoftmaxKind::Plain;
    let ahead = if stream && keeps { prefetch_elements::<S>(launch, d) } else { 0 };
    // A row whose exponentials are kept is one block.
    let block = if keeps { d } else { softmax_elements(launch, d) };
    share(launch, 2 * size_of::<S>() * rows * d).split(rows, GRAIN.div_ceil(d), |part| {
        let elements = part.start * d..part.end * d;
        launch.tier.run(SoftmaxRows {
            kind,
            src: src.part(&elements),
            dst: dst.part(&elements),
            rows: part.len(),
            d,
            stream,
            keeps,
            block,
            ahead,
        });
    });
}

/// Rows of one thread.
pub(super) struct SoftmaxRows<S> {
    kind: SoftmaxKind,
    pub(super) src: *const S,
    pub(super) dst: *mut S,
    pub(super) rows: usize,
    pub(super) d: usize,
    stream: bool,
    /// Each exponential is computed once.
    keeps: bool,
    /// Elements of the blocks of rows that are read twice.
    block: usize,
    /// Elements ahead of which rows are prefetched while results are streamed; 0 for none.
    pub(super) ahead: usize,
}

impl<S: Storage> Kernel for SoftmaxRows<S> {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        if self.stream {
            self.run::<I, true>(isa);
            isa.fence();
        } else {
            self.run::<I, false>(isa);
        }
    }
}

impl<S: Storage> SoftmaxRows<S> {
    #[inline(always)]
    fn run<I: Isa, const STREAM: bool>(&self, isa: I) {
        let Self { kind, d, keeps, .. } = *self;
        if STREAM && keeps {
            // SAFETY: `run` took the pointers from checked parts of `rows · d` elements, the results on cache lines.
            return unsafe {
                if self.ahead > 0 { self.run_pipelined::<I, true>(isa) } else { self.run_pipelined::<I, false>(isa) }
            };
        }
        let beside = TypeId::of::<S>() != TypeId::of::<f32>();
        let mut kept = (keeps && beside).then(|| PooledScratch::take(d));
        for row in 0..self.rows {
            // SAFETY: `run` took the pointers from checked parts of `rows · d` elements; `kept` holds d where it is
            // used, and else S is f32.
            unsafe {
                let (src, dst) = (self.src.add(row * d), self.dst.add(row * d));
                if keeps {
                    let terms = kept.as_mut().map_or(dst.cast(), PooledScratch::as_mut_ptr);
                    let max = maximum(isa, src, d);
                    let sum = exponentials::<I, S, true>(isa, src, max, terms, d);
                    scale::<I, S, false>(isa, terms, 1.0 / sum, dst, d);
                } else {
                    let (max, sum) = normaliser(isa, src, d, self.block);
                    match kind {
                        SoftmaxKind::Plain => write::<I, S, true, STREAM>(isa, src, [max, 1.0 / sum], dst, d),
                        SoftmaxKind::Log => write::<I, S, false, STREAM>(isa, src, [max, sum.ln()], dst, d),
                    }
                }
            }
        }
    }
}

/// Largest element that is not NaN; -∞ if there is none.
///
/// # Safety
/// `x` holds `d` elements.
#[inline(always)]
pub(super) unsafe fn maximum<I: Isa, S: Storage>(isa: I, x: *const S, d: usize) -> f32 {
    let mut most = [Isa::splat(isa, f32::NEG_INFINITY); UNROLL];
    let span = spans::<I, S, false>(isa, x, d);
    // SAFETY: `x` holds `d` elements (`# Safety` of `maximum`); a block ends at `rest` or before, and each n ends at d
    // or before.
    unsafe {
        for at in (0..span.rest).step_by(UNROLL * I::LANES) {
            // The second operand stays where the first is NaN.
            most = Unrolled(isa).max(S::load_block::<I, UNROLL>(isa, x.add(at)), most);
        }
        for at in (span.rest..d).step_by(I::LANES) {
            let v = load_or(isa, x.add(at), I::LANES.min(d - at), f32::NEG_INFINITY);
            most[0] = Isa::max(isa, v, most[0]);
        }
    }
    isa.reduce_max(Isa::max(isa, Isa::max(isa, most[0], most[1]), Isa::max(isa, most[2], most[3])))
}

/// `Σ e^{x - max}` for x ≤ max + 40; with `STORE` the terms go to `terms`, each block in the order of
/// [`Storage::load_block`].
///
/// # Safety
/// `x` holds `d` elements, and with `STORE` `terms` too; they are the same or do not overlap.
#[inline(always)]
pub(super) unsafe fn exponentials<I: Isa, S: Storage, const STORE: bool>(
    isa: I,
    x: *const S,
    max: f32,
    terms: *mut f32,
    d: usize,
) -> f32 {
    let most = Isa::splat(isa, max);
    let mut sums = [Isa::splat(isa, 0.0); UNROLL];
    let rest = spans::<I, S, false>(isa, x, d).rest;
    // SAFETY: `x` holds `d` elements, and with `STORE` `terms` too; they are the same or do not overlap (`# Safety` of
    // `exponentials`); a block ends at `rest` or before.
    unsafe {
        for at in (0..rest).step_by(UNROLL * I::LANES) {
            let t = Unrolled(isa).sub([most; UNROLL], S::load_block::<I, UNROLL>(isa, x.add(at)));
            let e = decay::<_, S>(Unrolled(isa), t);
            sums = Unrolled(isa).add(sums, e);
            if STORE {
                f32::store_block::<I, UNROLL, false>(isa, terms.add(at), e);
            }
        }
        add_rest::<I, S, STORE>(isa, RestOfRow { x, terms, max }, rest..d, sums)
    }
}

/// A row of which [`add_rest`] does the end.
#[derive(Clone, Copy)]
pub(super) struct RestOfRow<S> {
    pub(super) x: *const S,
    pub(super) terms: *mut f32,
    pub(super) max: f32,
}

/// The sum that [`exponentials`] began, with what no block holds.
///
/// # Safety
/// As for [`exponentials`], where `rest` ends at d.
#[inline(always)]
pub(super) unsafe fn add_rest<I: Isa, S: Storage, const STORE: bool>(
    isa: I,
    RestOfRow { x, terms, max }: RestOfRow<S>,
    rest: Range<usize>,
    mut sums: [I::V; UNROLL],
) -> f32 {
    for at in rest.clone().step_by(I::LANES) {
        let n = I::LANES.min(rest.end - at);
        // SAFETY: `x` holds `d` elements, and with `STORE` `terms` too; they are the same or do not overlap (`# Safety`
        // of `exponentials`); at + n ≤ d.
        unsafe {
            // Empty lanes are -∞, whose exponential is 0.
            let t = Isa::sub(isa, Isa::splat(isa, max), load_or(isa, x.add(at), n, f32::NEG_INFINITY));
            let e = decay::<_, S>(isa, t);
            sums[0] = Isa::add(isa, sums[0], e);
            if STORE {
                store(isa, terms.add(at), e, n);
            }
        }
    }
    isa.reduce_add(Isa::add(isa, Isa::add(isa, sums[0], sums[1]), Isa::add(isa, sums[2], sums[3])))
}

/// `m` and `s` of a row, block by block of `block` elements.
///
/// # Safety
/// `x` holds `d` elements.
#[inline(always)]
unsafe fn normaliser<I: Isa, S: Storage>(isa: I, x: *const S, d: usize, block: usize) -> (f32, f32) {
    let (mut max, mut sum) = (f32::NEG_INFINITY, 0.0f32);
    for at in (0..d).step_by(block) {
        let n = block.min(d - at);
        // SAFETY: at + n ≤ d.
        unsafe {
            let highest = maximum(isa, x.add(at), n);
            if highest > max {
                // Nothing came before a first block, whose factor e^{-∞} is 0.
                sum *= (max - highest).exp();
                max = highest;
            }
            // Where all so far is -∞, subtracting a finite number gives the 0 that the exponential of -∞ is.
            sum += exponentials::<I, S, false>(isa, x.add(at), max.max(f32::MIN), core::ptr::null_mut(), n);
        }
    }
    (max, sum)
}

/// `dst = terms · by`, where `terms` are those that [`exponentials`] stored.
///
/// # Safety
/// `terms` and `dst` hold `d` elements and are the same or do not overlap; with `STREAM` `dst` is a multiple of 64.
#[inline(always)]
pub(super) unsafe fn scale<I: Isa, S: Storage, const STREAM: bool>(
    isa: I,
    terms: *const f32,
    by: f32,
    dst: *mut S,
    d: usize,
) {
    let by = Isa::splat(isa, by);
    let span = spans::<I, S, false>(isa, dst, d);
    // SAFETY: `terms` and `dst` hold `d` elements and are the same or do not overlap; with `STREAM` `dst` is a multiple
    // of 64 (`# Safety` of `scale`); a block ends at `rest` or before, and each n ends at d or before.
    unsafe {
        for at in (0..span.rest).step_by(UNROLL * I::LANES) {
            let y = Unrolled(isa).mul(f32::load_block::<I, UNROLL>(isa, terms.add(at)), [by; UNROLL]);
            S::store_block::<I, UNROLL, STREAM>(isa, dst.add(at), y);
        }
        for at in (span.rest..d).step_by(I::LANES) {
            let n = I::LANES.min(d - at);
            store(isa, dst.add(at), Isa::mul(isa, load(isa, terms.add(at), n), by), n);
        }
    }
}

/// `dst = e^{x - max} · last` if `PLAIN`, else `(x - max) - last`.
///
/// # Safety
/// `x` and `dst` hold `d` elements and are the same or do not overlap; with `STREAM` `dst` is a multiple of 64.
#[inline(always)]
unsafe fn write<I: Isa, S: Storage, const PLAIN: bool, const STREAM: bool>(
    isa: I,
    x: *const S,
    [max, last]: [f32; 2],
    dst: *mut S,
    d: usize,
) {
    let (max, last) = (Isa::splat(isa, max), Isa::splat(isa, last));
    let span = spans::<I, S, false>(isa, dst, d);
    // SAFETY: `x` and `dst` hold `d` elements and are the same or do not overlap; with `STREAM` `dst` is a multiple of
    // 64 (`# Safety` of `write`); a block ends at `rest` or before, and each n ends at d or before.
    unsafe {
        for at in (0..span.rest).step_by(UNROLL * I::LANES) {
            let x = S::load_block::<I, UNROLL>(isa, x.add(at));
            let y = result::<_, S, PLAIN>(Unrolled(isa), x, [max; UNROLL], [last; UNROLL]);
            S::store_block::<I, UNROLL, STREAM>(isa, dst.add(at), y);
        }
        for at in (span.rest..d).step_by(I::LANES) {
            let n = I::LANES.min(d - at);
            store(isa, dst.add(at), result::<_, S, PLAIN>(isa, load(isa, x.add(at), n), max, last), n);
        }
    }
}

#[inline(always)]
fn result<V: LaneOps, S, const PLAIN: bool>(isa: V, x: V::V, max: V::V, last: V::V) -> V::V {
    if PLAIN { isa.mul(decay::<_, S>(isa, isa.sub(max, x)), last) } else { isa.sub(isa.sub(x, max), last) }
}

/// `e⁻ᵗ`, as exact as a result of type S needs.
#[inline(always)]
pub(super) fn decay<V: LaneOps, S>(isa: V, t: V::V) -> V::V {
    if size_of::<S>() == 2 { decay_any_16bit(isa, t) } else { decay_any(isa, t) }
}
