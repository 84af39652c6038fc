//! A residual addition and the RMS norm of its sum, in one pass over memory.

use super::operand::Normed;
use super::rms::{RmsNorm, reciprocal_root, scale};
use crate::math::{Several, Vector};
use crate::rows::{
    BESIDE, GRAIN, Source, Target, Widened, by_dtype, load, prefetch_block, share, spans, store, streams_rows,
};
use crate::simd::{Isa, Kernel};
use crate::{Floats, FloatsMut, Launch, Storage};

/// `sum = x + residual`, `normed = rms_norm(sum)`, both `[rows, d]`.
///
/// The norm is that of the sum as it is stored, rounded to its element type.
///
/// # Panics
/// If the lengths do not fit or the element types of the slices differ.
pub fn add_norm(
    launch: Launch,
    norm: RmsNorm<'_>,
    [x, residual]: [Floats<'_>; 2],
    sum: FloatsMut<'_>,
    normed: Normed<'_>,
) {
    let Normed { out, rstd } = normed;
    by_dtype!((x: Floats, residual: Floats, sum: FloatsMut, out: FloatsMut) => {
        run(launch, norm, [Source::new(x), Source::new(residual)], [Target::new(sum), Target::new(out)], rstd);
    });
}

/// `x = x + residual`, `normed = rms_norm(x)`.
///
/// # Panics
/// As [`add_norm`].
pub fn add_norm_in_place(
    launch: Launch,
    norm: RmsNorm<'_>,
    x: FloatsMut<'_>,
    residual: Floats<'_>,
    normed: Normed<'_>,
) {
    let Normed { out, rstd } = normed;
    by_dtype!((x: FloatsMut, residual: Floats, out: FloatsMut) => {
        let x = Target::new(x);
        run(launch, norm, [x.source(), Source::new(residual)], [x, Target::new(out)], rstd);
    });
}

fn run<S: Storage>(
    launch: Launch,
    norm: RmsNorm<'_>,
    [x, residual]: [Source<S>; 2],
    [sum, normed]: [Target<S>; 2],
    rstd: Option<&mut [f32]>,
) {
    let (d, len) = (norm.gamma.len(), x.len());
    assert!(len == 0 || (d > 0 && len.is_multiple_of(d)), "rows of {d} in {len} elements");
    assert_eq!([len; 3], [residual.len(), sum.len(), normed.len()], "elements of the residual, the sum and the norm");
    let rows = len.checked_div(d).unwrap_or(0);
    let rstd = rstd.map(|rstd| {
        assert_eq!(rows, rstd.len(), "one rstd a row");
        Target::new(rstd)
    });
    let gamma = Widened::new::<S>(launch, norm.gamma);
    let gamma = Source::new(gamma.get());
    let in_place = x.start() == sum.source().start();
    let stream = !in_place && [sum, normed].iter().all(|to| streams_rows(to.source().start(), d, rows));
    share(launch, 4 * size_of::<S>() * len).split(rows, GRAIN.div_ceil(d.max(1)), |part| {
        let elements = part.start * d..part.end * d;
        launch.tier.run(Part {
            x: x.part(&elements),
            residual: residual.part(&elements),
            sum: sum.part(&elements),
            normed: normed.part(&elements),
            rstd: rstd.map(|rstd| rstd.part(&part)),
            gamma: gamma.part(&(0..d)),
            epsilon: norm.epsilon,
            rows: part.len(),
            d,
            stream,
        });
    });
}

/// Rows of one thread.
struct Part<S> {
    x: *const S,
    residual: *const S,
    sum: *mut S,
    normed: *mut S,
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
        // What is streamed must not be read back: the sum stays here until its norm is known.
        let mut kept = vec![S::zeroed(); if self.stream { self.d } else { 0 }];
        for row in 0..self.rows {
            let at = row * self.d;
            // SAFETY: `run` took the pointers from parts checked to hold these rows; gamma holds d elements, and so does `kept`
            // where it is used.
            unsafe {
                let (x, residual, sum) = (self.x.add(at), self.residual.add(at), self.sum.add(at));
                let row_sum = if self.stream { kept.as_mut_ptr() } else { sum };
                let squares = add(isa, x, residual, row_sum, self.d);
                let rstd = reciprocal_root(squares, self.d, self.epsilon);
                let scaled = (rstd, self.gamma, x.wrapping_add(self.d));
                if self.stream {
                    copy(isa, row_sum, sum, self.d, residual.wrapping_add(self.d));
                    scale::<I, S, true>(isa, row_sum, self.normed.add(at), self.d, scaled);
                } else {
                    scale::<I, S, false>(isa, row_sum, self.normed.add(at), self.d, scaled);
                }
                if let Some(to) = self.rstd {
                    to.add(row).write(rstd);
                }
            }
        }
        if self.stream {
            isa.fence();
        }
    }
}

/// `sum = x + y`; returns the sum's `Σ sum²`.
///
/// # Safety
/// All three hold `d` elements; `x` and `sum` are the same or do not overlap.
#[inline(always)]
unsafe fn add<I: Isa, S: Storage>(isa: I, x: *const S, y: *const S, sum: *mut S, d: usize) -> f32 {
    let mut squares = [isa.splat(0.0); BESIDE];
    let span = spans::<I, S, false>(isa, x, d);
    // SAFETY: the caller's promise; a block ends at `rest` or before, and at + n ≤ d.
    unsafe {
        for at in (0..span.rest).step_by(BESIDE * I::LANES) {
            let (x, y) = (S::load_block::<I, BESIDE>(isa, x.add(at)), S::load_block::<I, BESIDE>(isa, y.add(at)));
            S::store_block::<I, BESIDE, false>(isa, sum.add(at), Several(isa).add(x, y));
            // Read back, as the norm is that of the rounded sum.
            let v = S::load_block::<I, BESIDE>(isa, sum.add(at));
            for (squares, v) in squares.iter_mut().zip(v) {
                *squares = Isa::mul_add(isa, v, v, *squares);
            }
        }
        for at in (span.rest..d).step_by(I::LANES) {
            let n = I::LANES.min(d - at);
            let v = Isa::add(isa, load(isa, x.add(at), n), load(isa, y.add(at), n));
            store(isa, sum.add(at), v, n);
            let v = load(isa, sum.add(at), n);
            squares[0] = Isa::mul_add(isa, v, v, squares[0]);
        }
    }
    isa.reduce_add(Isa::add(isa, Isa::add(isa, squares[0], squares[1]), Isa::add(isa, squares[2], squares[3])))
}

/// `to = from`, past the caches; the row at `next` is asked for.
///
/// # Safety
/// Both hold `d` elements and do not overlap; `to` is a multiple of 64.
#[inline(always)]
unsafe fn copy<I: Isa, S: Storage>(isa: I, from: *const S, to: *mut S, d: usize, next: *const S) {
    let span = spans::<I, S, false>(isa, from, d);
    // SAFETY: the caller's promise; a block ends at `rest` or before, and at + n ≤ d.
    unsafe {
        for at in (0..span.rest).step_by(BESIDE * I::LANES) {
            let v = S::load_block::<I, BESIDE>(isa, from.add(at));
            prefetch_block(isa, next.wrapping_add(at));
            S::store_block::<I, BESIDE, true>(isa, to.add(at), v);
        }
        core::ptr::copy_nonoverlapping(from.add(span.rest), to.add(span.rest), d - span.rest);
    }
}
