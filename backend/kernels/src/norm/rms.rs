//! RMS norm (Zhang and Sennrich 2019).

use super::operand::{NormRows, Normed, Strided};
use super::row_writer::{Columns, RowWalk, RowWriter, WriteRows};
use crate::rows::{
    GRAIN, Source, Target, UNROLL, Widened, by_dtype, load, prefetch_block, share, spans, store, streams_rows,
};
use crate::simd::Isa;
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
pub fn rms_norm(launch: Launch, norm: RmsNorm<'_>, x: NormRows<'_>, to: Normed<'_>) {
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
    let walk = RowWalk::new::<S>(launch, [d, stride], 1, stream);
    share(launch, 2 * size_of::<S>() * out.len()).split(rows, GRAIN.div_ceil(d), |part| {
        let writer = RmsNormRows {
            x: x.part(&(part.start * stride..(part.end - 1) * stride + d)),
            stride,
            out: out.part(&(part.start * d..part.end * d)),
            rstd: rstd.map(|rstd| rstd.part(&part)),
            gamma: gamma.part(&(0..d)),
            epsilon: norm.epsilon,
            d,
        };
        // SAFETY: `part` checked that all of them hold these rows of d elements.
        launch.tier.run(unsafe { WriteRows::new(writer, walk, part.len()) });
    });
}

/// Rows of one thread.
struct RmsNormRows<S> {
    x: *const S,
    stride: usize,
    out: *mut S,
    rstd: Option<*mut f32>,
    /// As [`Widened`].
    gamma: *const f32,
    epsilon: f64,
    d: usize,
}

impl<S: Storage> RowWriter for RmsNormRows<S> {
    /// The reciprocal deviation.
    type Measured = f32;

    #[inline(always)]
    unsafe fn measure<I: Isa, const STREAM: bool>(&self, isa: I, row: usize) -> f32 {
        // SAFETY: the row exists, by the `# Safety` clause of `RowWriter::measure`; `rstd` has an element for each.
        unsafe {
            let rstd = measure_rms(isa, self.x.add(row * self.stride), self.d, self.epsilon);
            if let Some(to) = self.rstd {
                to.add(row).write(rstd);
            }
            rstd
        }
    }

    #[inline(always)]
    unsafe fn write<I: Isa, const STREAM: bool, const PREFETCH: bool>(
        &self,
        isa: I,
        row: usize,
        rstd: f32,
        Columns { at, n, ahead }: Columns,
    ) {
        // SAFETY: row and columns exist, by the `# Safety` clause of `RowWriter::write`; gamma holds d elements.
        unsafe {
            let x = self.x.add(row * self.stride + at);
            let scaling = Scaling { rstd, gamma: self.gamma.add(at), next: x.wrapping_add(ahead) };
            scale::<I, S, STREAM, PREFETCH>(isa, x, self.out.add(row * self.d + at), n, scaling);
        }
    }
}

/// `1/√(mean(x²) + epsilon)`.
///
/// # Safety
/// `x` holds `d` elements, `d > 0`.
#[inline(always)]
pub(super) unsafe fn measure_rms<I: Isa, S: Storage>(isa: I, x: *const S, d: usize, epsilon: f64) -> f32 {
    // SAFETY: `x` holds `d` elements, `d > 0` (`# Safety` of `measure_rms`).
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
    let mut sums = [isa.splat(0.0); UNROLL];
    let span = spans::<I, S, false>(isa, x, d);
    // SAFETY: `x` holds `d` elements (`# Safety` of `sum_squares`); a block ends at `rest` or before, and at + n ≤ d.
    unsafe {
        for at in (0..span.rest).step_by(UNROLL * I::LANES) {
            let v = S::load_block::<I, UNROLL>(isa, x.add(at));
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

/// What [`scale`] multiplies by, and what it prefetches.
#[derive(Clone, Copy)]
pub(super) struct Scaling<S> {
    pub(super) rstd: f32,
    /// As [`Widened`].
    pub(super) gamma: *const f32,
    /// An address that is only prefetched.
    pub(super) next: *const S,
}

/// `out = x · rstd · gamma`; with `PREFETCH` as many elements at `next` are prefetched.
///
/// # Safety
/// `x`, `gamma` and `out` hold `d` elements; `x` and `out` are the same or do not overlap. With `STREAM`, `out` is a
/// multiple of 64.
#[inline(always)]
pub(super) unsafe fn scale<I: Isa, S: Storage, const STREAM: bool, const PREFETCH: bool>(
    isa: I,
    x: *const S,
    out: *mut S,
    d: usize,
    Scaling { rstd, gamma, next }: Scaling<S>,
) {
    let rstd = isa.splat(rstd);
    let span = spans::<I, S, false>(isa, out, d);
    // SAFETY: `x`, `gamma` and `out` hold `d` elements (`# Safety` of `scale`); a block ends at `rest` or before, and
    // at + n ≤ d.
    unsafe {
        for at in (0..span.rest).step_by(UNROLL * I::LANES) {
            let mut v = S::load_block::<I, UNROLL>(isa, x.add(at));
            for (i, v) in v.iter_mut().enumerate() {
                *v = isa.mul(isa.mul(*v, rstd), isa.load(gamma.add(at + i * I::LANES)));
            }
            if PREFETCH {
                prefetch_block(isa, next.wrapping_add(at));
            }
            S::store_block::<I, UNROLL, STREAM>(isa, out.add(at), v);
        }
        for at in (span.rest..d).step_by(I::LANES) {
            let n = I::LANES.min(d - at);
            let v = isa.mul(isa.mul(load(isa, x.add(at), n), rstd), load(isa, gamma.add(at), n));
            store(isa, out.add(at), v, n);
        }
    }
}
