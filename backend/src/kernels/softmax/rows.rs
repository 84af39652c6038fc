//! Over the last dimension: a row is contiguous.
//!
//! Two ways through a row:
//! - *short*: maximum, exponentials stored with their sum, scaling: three passes, of which only the first reads memory, as the
//!   row stays in the first-level cache. Each exponential is computed once. For f32 only: 16-bit results would round twice.
//! - *long*: blocks of [`BLOCK`] elements give maximum and sum together, each block from memory once and rescaling what came
//!   before; a second pass computes the results. Two reads and a write instead of three and two.

use super::SoftmaxKind;
use crate::kernels::math::exp;
use crate::kernels::rows::{GRAIN, Source, Target, load, load_or, share, store};
use crate::kernels::{Launch, Storage};
use crate::simd::{Isa, Kernel};
use core::any::TypeId;

/// Elements of a block of a long row, and of the longest short one: 16 KiB of f32, half of the smallest first-level cache
/// (32 KiB), so that source and result of a short row fit together. It also bounds the terms of a partial sum to 256.
pub(super) const BLOCK: usize = 4096;

pub(super) fn run<S: Storage>(
    launch: Launch,
    kind: SoftmaxKind,
    rows: usize,
    d: usize,
    src: Source<S>,
    dst: Target<S>,
) {
    share(launch, 2 * size_of::<S>() * rows * d).split(rows, GRAIN.div_ceil(d), |part| {
        let elements = part.start * d..part.end * d;
        launch.tier.run(Part { kind, src: src.part(&elements), dst: dst.part(&elements), rows: part.len(), d });
    });
}

/// Rows of one thread.
struct Part<S> {
    kind: SoftmaxKind,
    src: *const S,
    dst: *mut S,
    rows: usize,
    d: usize,
}

impl<S: Storage> Kernel for Part<S> {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        let Self { kind, d, .. } = self;
        let keeps_exponentials = TypeId::of::<S>() == TypeId::of::<f32>() && d <= BLOCK && kind == SoftmaxKind::Plain;
        for row in 0..self.rows {
            // SAFETY: `run` took the pointers from checked parts of `rows · d` elements.
            unsafe {
                let (src, dst) = (self.src.add(row * d), self.dst.add(row * d));
                if keeps_exponentials {
                    let max = maximum(isa, src, d);
                    let sum = exponentials::<I, S, true>(isa, src, max, dst, d);
                    scale(isa, dst, 1.0 / sum, d);
                } else {
                    let (max, sum) = normaliser(isa, src, d);
                    match kind {
                        SoftmaxKind::Plain => write_plain(isa, src, max, 1.0 / sum, dst, d),
                        SoftmaxKind::Log => write_log(isa, src, max, sum.ln(), dst, d),
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
pub(crate) unsafe fn maximum<I: Isa, S: Storage>(isa: I, x: *const S, d: usize) -> f32 {
    let mut most = [isa.splat(f32::NEG_INFINITY); 4];
    let step = 4 * I::LANES;
    let blocks = d / step * step;
    // SAFETY: the caller's promise; blocks ≤ d, and each n ends at d or before.
    unsafe {
        for at in (0..blocks).step_by(step) {
            for (j, most) in most.iter_mut().enumerate() {
                // The second operand stays where the first is NaN.
                *most = isa.max(S::load(isa, x.add(at + j * I::LANES)), *most);
            }
        }
        for at in (blocks..d).step_by(I::LANES) {
            let v = load_or(isa, x.add(at), I::LANES.min(d - at), f32::NEG_INFINITY);
            most[0] = isa.max(v, most[0]);
        }
    }
    isa.reduce_max(isa.max(isa.max(most[0], most[1]), isa.max(most[2], most[3])))
}

/// `Σ e^{x - max}`; with `STORE` the terms go to `dst`.
///
/// # Safety
/// `x` holds `d` elements, and with `STORE` `dst` too; they are the same or do not overlap.
#[inline(always)]
pub(crate) unsafe fn exponentials<I: Isa, S: Storage, const STORE: bool>(
    isa: I,
    x: *const S,
    max: f32,
    dst: *mut S,
    d: usize,
) -> f32 {
    let max = isa.splat(max);
    let mut sums = [isa.splat(0.0); 2];
    let step = 2 * I::LANES;
    let blocks = d / step * step;
    // SAFETY: the caller's promise; blocks ≤ d, and each n ends at d or before.
    unsafe {
        for at in (0..blocks).step_by(step) {
            for (j, sum) in sums.iter_mut().enumerate() {
                let at = at + j * I::LANES;
                let e = exp(isa, isa.sub(S::load(isa, x.add(at)), max));
                *sum = isa.add(*sum, e);
                if STORE {
                    S::store(isa, dst.add(at), e);
                }
            }
        }
        for at in (blocks..d).step_by(I::LANES) {
            let n = I::LANES.min(d - at);
            if n == I::LANES {
                let e = exp(isa, isa.sub(S::load(isa, x.add(at)), max));
                sums[0] = isa.add(sums[0], e);
                if STORE {
                    S::store(isa, dst.add(at), e);
                }
            } else {
                // Element by element into the sum: empty lanes of a row whose maximum is -∞ would not be 0.
                let mut lanes = [0.0f32; 16];
                let e = exp(isa, isa.sub(load(isa, x.add(at), n), max));
                isa.store(lanes.as_mut_ptr(), e);
                lanes[n..].fill(0.0);
                sums[1] = isa.add(sums[1], isa.load(lanes.as_ptr()));
                if STORE {
                    S::store_partial(isa, dst.add(at), e, n);
                }
            }
        }
    }
    isa.reduce_add(isa.add(sums[0], sums[1]))
}

/// `m` and `s` of a row, block by block.
///
/// # Safety
/// `x` holds `d` elements.
#[inline(always)]
unsafe fn normaliser<I: Isa, S: Storage>(isa: I, x: *const S, d: usize) -> (f32, f32) {
    let (mut max, mut sum) = (f32::NEG_INFINITY, 0.0f32);
    for at in (0..d).step_by(BLOCK) {
        let n = BLOCK.min(d - at);
        // SAFETY: at + n ≤ d.
        unsafe {
            let block = maximum(isa, x.add(at), n);
            if block > max {
                // Nothing came before a first block, whose factor e^{-∞} is 0.
                sum *= (max - block).exp();
                max = block;
            }
            // Where all so far is -∞, subtracting a finite number gives the 0 that the exponential of -∞ is.
            sum += exponentials::<I, S, false>(isa, x.add(at), max.max(f32::MIN), core::ptr::null_mut(), n);
        }
    }
    (max, sum)
}

/// `x *= by`.
///
/// # Safety
/// `x` holds `d` elements.
#[inline(always)]
unsafe fn scale<I: Isa, S: Storage>(isa: I, x: *mut S, by: f32, d: usize) {
    let by = isa.splat(by);
    for at in (0..d).step_by(I::LANES) {
        let n = I::LANES.min(d - at);
        // SAFETY: at + n ≤ d.
        unsafe { store(isa, x.add(at), isa.mul(load(isa, x.add(at), n), by), n) };
    }
}

/// `dst = e^{x - max} · by`.
///
/// # Safety
/// `x` and `dst` hold `d` elements and are the same or do not overlap.
#[inline(always)]
unsafe fn write_plain<I: Isa, S: Storage>(isa: I, x: *const S, max: f32, by: f32, dst: *mut S, d: usize) {
    let (max, by) = (isa.splat(max), isa.splat(by));
    for at in (0..d).step_by(I::LANES) {
        let n = I::LANES.min(d - at);
        // SAFETY: at + n ≤ d.
        unsafe {
            let e = exp(isa, isa.sub(load(isa, x.add(at), n), max));
            store(isa, dst.add(at), isa.mul(e, by), n);
        }
    }
}

/// `dst = (x - max) - log_sum`.
///
/// # Safety
/// `x` and `dst` hold `d` elements and are the same or do not overlap.
#[inline(always)]
unsafe fn write_log<I: Isa, S: Storage>(isa: I, x: *const S, max: f32, log_sum: f32, dst: *mut S, d: usize) {
    let (max, log_sum) = (isa.splat(max), isa.splat(log_sum));
    for at in (0..d).step_by(I::LANES) {
        let n = I::LANES.min(d - at);
        // SAFETY: at + n ≤ d.
        unsafe {
            let shifted = isa.sub(load(isa, x.add(at), n), max);
            store(isa, dst.add(at), isa.sub(shifted, log_sum), n);
        }
    }
}
