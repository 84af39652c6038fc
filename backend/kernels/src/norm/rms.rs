//! RMS norm (Zhang and Sennrich 2019).

use super::operand::{Normed, Rows, Strided};
use crate::rows::{
    BESIDE, GRAIN, Source, Target, Widened, by_dtype, load, prefetch_block, share, spans, store, streams_rows,
};
use crate::simd::{Isa, Kernel};
use crate::{Floats, FloatsMut, Launch, Storage};

/// Weights of `x / √(mean(x²) + epsilon) · gamma`.
#[derive(Debug, Clone, Copy)]
pub struct RmsNorm<'a> {
    /// `[d]`.
    pub gamma: Floats<'a>,
    /// Added to the mean square.
    pub epsilon: f64,
}

/// `out[r] = x[r] · rstd[r] · gamma`, `rstd[r] = 1/√(mean(x[r]²) + epsilon)`.
///
/// # Panics
/// If the lengths do not fit or the element types of `x` and `out` differ.
pub fn rms_norm(launch: Launch, norm: RmsNorm<'_>, x: Rows<'_>, to: Normed<'_>) {
    let (data, Normed { out, rstd }) = (x.data, to);
    by_dtype!((data: Floats, out: FloatsMut) => {
        run(launch, norm, Strided::new(x, data, norm.gamma.len()), Target::new(out), rstd);
    });
}

/// `x[r] = x[r] · rstd[r] · gamma` for `x` `[rows, d]`.
///
/// # Panics
/// As [`rms_norm`].
pub fn rms_norm_in_place(launch: Launch, norm: RmsNorm<'_>, x: Normed<'_>) {
    let Normed { out, rstd } = x;
    by_dtype!((out: FloatsMut) => {
        let out = Target::new(out);
        run(launch, norm, Strided::in_place(out, norm.gamma.len()), out, rstd);
    });
}

fn run<S: Storage>(launch: Launch, norm: RmsNorm<'_>, x: Strided<S>, out: Target<S>, rstd: Option<&mut [f32]>) {
    let Strided { x, rows, stride } = x;
    let d = norm.gamma.len();
    assert_eq!(rows * d, out.len(), "elements of {rows} rows of {d}");
    let rstd = rstd.map(|rstd| {
        assert_eq!(rows, rstd.len(), "one rstd a row");
        Target::new(rstd)
    });
    if d == 0 {
        return;
    }
    let widened = Widened::new::<S>(launch, norm.gamma);
    let gamma = Source::new(widened.get());
    let stream = x.start() != out.source().start() && streams_rows(out.source().start(), d, rows);
    share(launch, 2 * size_of::<S>() * out.len()).split(rows, GRAIN.div_ceil(d), |part| {
        let rows = part.len();
        launch.tier.run(Part {
            x: x.part(&(part.start * stride..(part.end - 1) * stride + d)),
            stride,
            out: out.part(&(part.start * d..part.end * d)),
            rstd: rstd.map(|rstd| rstd.part(&part)),
            gamma: gamma.part(&(0..d)),
            epsilon: norm.epsilon,
            rows,
            d,
            stream,
        });
    });
}

/// Rows of one thread.
struct Part<S> {
    x: *const S,
    stride: usize,
    out: *mut S,
    rstd: Option<*mut f32>,
    /// As [`Widened`].
    gamma: *const f32,
    epsilon: f64,
    rows: usize,
    d: usize,
    stream: bool,
}

impl<S: Storage> Kernel for Part<S> {
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

impl<S: Storage> Part<S> {
    #[inline(always)]
    fn run<I: Isa, const STREAM: bool>(&self, isa: I) {
        for row in 0..self.rows {
            // SAFETY: `run` took the pointers from parts checked to hold these rows; gamma holds d elements.
            unsafe {
                let x = self.x.add(row * self.stride);
                let rstd = measure_rms(isa, x, self.d, self.epsilon);
                let next = x.wrapping_add(self.stride);
                scale::<I, S, STREAM>(isa, x, self.out.add(row * self.d), self.d, (rstd, self.gamma, next));
                if let Some(to) = self.rstd {
                    to.add(row).write(rstd);
                }
            }
        }
    }
}

/// `1/√(mean(x²) + epsilon)`.
///
/// # Safety
/// `x` holds `d` elements, `d > 0`.
#[inline(always)]
pub(super) unsafe fn measure_rms<I: Isa, S: Storage>(isa: I, x: *const S, d: usize, epsilon: f64) -> f32 {
    // SAFETY: the caller's promise.
    reciprocal_root(unsafe { sum_squares(isa, x, d) }, d, epsilon)
}

/// `1/√(sum/d + epsilon)`, rounded to f32 once.
#[inline(always)]
pub(crate) fn reciprocal_root(sum: f32, d: usize, epsilon: f64) -> f32 {
    (1.0 / (sum as f64 / d as f64 + epsilon).sqrt()) as f32
}

/// `Σ x²`.
///
/// # Safety
/// `x` holds `d` elements.
#[inline(always)]
pub(crate) unsafe fn sum_squares<I: Isa, S: Storage>(isa: I, x: *const S, d: usize) -> f32 {
    let mut sums = [isa.splat(0.0); BESIDE];
    let span = spans::<I, S, false>(isa, x, d);
    // SAFETY: the caller's promise; a block ends at `rest` or before, and at + n ≤ d.
    unsafe {
        for at in (0..span.rest).step_by(BESIDE * I::LANES) {
            let v = S::load_block::<I, BESIDE>(isa, x.add(at));
            for (sum, v) in sums.iter_mut().zip(v) {
                *sum = isa.mul_add(v, v, *sum);
            }
        }
        for at in (span.rest..d).step_by(I::LANES) {
            let v = load(isa, x.add(at), I::LANES.min(d - at));
            sums[0] = isa.mul_add(v, v, sums[0]);
        }
    }
    isa.reduce_add(isa.add(isa.add(sums[0], sums[1]), isa.add(sums[2], sums[3])))
}

/// `out = x · rstd · gamma`.
///
/// # Safety
/// `x`, `gamma` (as [`Widened`]) and `out` hold `d` elements; `x` and `out` are the same or do not overlap. With
/// `STREAM`, `out` is a multiple of 64, and the row at `next` is asked for.
#[inline(always)]
pub(super) unsafe fn scale<I: Isa, S: Storage, const STREAM: bool>(
    isa: I,
    x: *const S,
    out: *mut S,
    d: usize,
    (rstd, gamma, next): (f32, *const f32, *const S),
) {
    let rstd = isa.splat(rstd);
    let span = spans::<I, S, false>(isa, out, d);
    // SAFETY: the caller's promise; a block ends at `rest` or before, and at + n ≤ d.
    unsafe {
        for at in (0..span.rest).step_by(BESIDE * I::LANES) {
            let mut v = S::load_block::<I, BESIDE>(isa, x.add(at));
            for (i, v) in v.iter_mut().enumerate() {
                *v = isa.mul(isa.mul(*v, rstd), isa.load(gamma.add(at + i * I::LANES)));
            }
            if STREAM {
                prefetch_block(isa, next.wrapping_add(at));
            }
            S::store_block::<I, BESIDE, STREAM>(isa, out.add(at), v);
        }
        for at in (span.rest..d).step_by(I::LANES) {
            let n = I::LANES.min(d - at);
            let v = isa.mul(isa.mul(load(isa, x.add(at), n), rstd), load(isa, gamma.add(at), n));
            store(isa, out.add(at), v, n);
        }
    }
}
