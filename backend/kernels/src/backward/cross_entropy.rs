//! The cross entropy of rows of logits with one target each, and its gradient in place.
//!
//! ```text
//! for each row, on one thread
//!     for blocks of the row                       each in the L1 cache between its two passes
//!         m' = max(m, block)
//!         s  = s · e^(m - m') + Σ e^(x - m')      (Milakov and Gimelshein 2018, "Online normalizer calculation")
//!     lse  = m + log s
//!     loss = lse - x[target]
//!     x    = share · (e^(x - lse) - onehot)       where a gradient is wanted; the row is in the L2 cache
//! ```

use crate::math::{LaneOps, Unrolled, decay_any};
use crate::rows::{self, Target, UNROLL, load, load_or, store};
use crate::simd::{Isa, Kernel};
use crate::{Launch, Storage};

/// The result of one row.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RowLoss {
    /// `log Σ exp(logit)`.
    pub lse: f32,
    /// `lse - logit[target]`.
    pub loss: f32,
}

/// The loss of each row of `logits`, `[targets, width]`. With a `share`, rows become `share · (softmax - onehot)`.
///
/// NaN in a row makes its results NaN, as does an infinite logit.
///
/// # Panics
/// If `logits` is no row a target, or a target is not below `width`; if there are not as many results.
pub fn cross_entropy(
    launch: Launch,
    logits: &mut [f32],
    width: usize,
    targets: &[usize],
    share: Option<f32>,
    out: &mut [RowLoss],
) {
    assert_eq!(logits.len(), targets.len() * width, "elements of rows of {width}");
    assert_eq!(out.len(), targets.len(), "a result a row");
    assert!(targets.iter().all(|&target| target < width), "targets below {width}");
    let (logits, out) = (Target::new(logits), Target::new(out));
    let bytes = logits.len() * size_of::<f32>();
    rows::share(launch, bytes).split(targets.len(), 1, |rows| {
        for row in rows {
            let x = logits.part(&(row * width..(row + 1) * width));
            let result = launch.tier.run(Row { x, width, target: targets[row], share });
            // SAFETY: the part was checked, and no other thread has this row.
            unsafe { out.part(&(row..row + 1)).write(result) };
        }
    });
}

/// Elements of a block: 16 KiB, a third of the first-level cache.
const BLOCK: usize = 4096;

/// One row.
struct Row {
    x: *mut f32,
    width: usize,
    target: usize,
    share: Option<f32>,
}

impl Kernel for Row {
    type Out = RowLoss;

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) -> RowLoss {
        let Self { x, width, target, share } = self;
        let (mut max, mut sum) = (f32::NEG_INFINITY, 0.0f32);
        for first in (0..width).step_by(BLOCK) {
            let len = BLOCK.min(width - first);
            // SAFETY: `cross_entropy` took `x` from a checked part of `width` elements, and the block lies within.
            let block = unsafe { x.add(first) };
            // SAFETY: as above.
            let new = max.max(unsafe { measure_max(isa, block, len) });
            if new == f32::NEG_INFINITY {
                // Nothing but -∞ so far, which adds nothing; or NaN, which `max` passes over: the sum finds it.
                // SAFETY: as above.
                sum += unsafe { add_decays(isa, block, len, 0.0) };
                continue;
            }
            if new > max {
                sum *= (max - new).exp();
            }
            max = new;
            // SAFETY: as above.
            sum += unsafe { add_decays(isa, block, len, max) };
        }
        let lse = max + sum.ln();
        // SAFETY: `cross_entropy` checked that the target is below `width`.
        let loss = lse - unsafe { x.add(target).read() };
        if let Some(share) = share {
            // SAFETY: `cross_entropy` took `x` from a checked part of `width` elements, of which the target is one.
            unsafe {
                differentiate(isa, x, width, lse, share);
                *x.add(target) -= share;
            }
        }
        RowLoss { lse, loss }
    }
}

/// The largest of `len` elements; NaN is passed over or not.
///
/// # Safety
/// `x` is readable for `len` elements.
#[inline(always)]
unsafe fn measure_max<I: Isa>(isa: I, x: *const f32, len: usize) -> f32 {
    let blocks = len / (UNROLL * I::LANES) * UNROLL * I::LANES;
    let lowest = isa.splat(f32::NEG_INFINITY);
    let mut max = [lowest; UNROLL];
    for at in (0..blocks).step_by(UNROLL * I::LANES) {
        // SAFETY: a block ends at `len` or before.
        max = Unrolled(isa).max(unsafe { f32::load_block(isa, x.add(at)) }, max);
    }
    let mut all = lowest;
    for one in max {
        all = isa.max(one, all);
    }
    for at in (blocks..len).step_by(I::LANES) {
        let n = I::LANES.min(len - at);
        // SAFETY: at + n ≤ len.
        all = isa.max(unsafe { load_or(isa, x.add(at), n, f32::NEG_INFINITY) }, all);
    }
    isa.reduce_max(all)
}

/// `Σ e^(x - max)` over `len` elements, none larger than `max`.
///
/// # Safety
/// `x` is readable for `len` elements.
#[inline(always)]
unsafe fn add_decays<I: Isa>(isa: I, x: *const f32, len: usize, max: f32) -> f32 {
    let blocks = len / (UNROLL * I::LANES) * UNROLL * I::LANES;
    let mut sums = [isa.splat(0.0); UNROLL];
    for at in (0..blocks).step_by(UNROLL * I::LANES) {
        let all = Unrolled::<_, UNROLL>(isa);
        // SAFETY: a block ends at `len` or before.
        let t = all.sub(all.splat(max), unsafe { f32::load_block(isa, x.add(at)) });
        sums = all.add(sums, decay_any(all, t));
    }
    let mut sum = isa.splat(0.0);
    for one in sums {
        sum = isa.add(sum, one);
    }
    for at in (blocks..len).step_by(I::LANES) {
        let n = I::LANES.min(len - at);
        // SAFETY: at + n ≤ len.
        let t = isa.sub(isa.splat(max), unsafe { load_or(isa, x.add(at), n, f32::NEG_INFINITY) });
        sum = isa.add(sum, decay_any(isa, t));
    }
    isa.reduce_add(sum)
}

/// `x = share · e^(x - lse)`.
///
/// # Safety
/// `x` is readable and writable for `len` elements.
#[inline(always)]
unsafe fn differentiate<I: Isa>(isa: I, x: *mut f32, len: usize, lse: f32, share: f32) {
    let blocks = len / (UNROLL * I::LANES) * UNROLL * I::LANES;
    for at in (0..blocks).step_by(UNROLL * I::LANES) {
        let all = Unrolled::<_, UNROLL>(isa);
        // SAFETY: a block ends at `len` or before.
        unsafe {
            let t = all.sub(all.splat(lse), f32::load_block(isa, x.add(at)));
            f32::store_block::<I, UNROLL, false>(isa, x.add(at), all.mul(decay_any(all, t), all.splat(share)));
        }
    }
    for at in (blocks..len).step_by(I::LANES) {
        let n = I::LANES.min(len - at);
        // SAFETY: at + n ≤ len.
        unsafe {
            let t = isa.sub(isa.splat(lse), load(isa, x.add(at), n));
            store(isa, x.add(at), isa.mul(decay_any(isa, t), isa.splat(share)), n);
        }
    }
}
