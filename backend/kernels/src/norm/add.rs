//! A residual addition and the RMS norm of its sum, in one pass over memory.

use super::operand::Normed;
use super::rms::{RmsNorm, Scaling, reciprocal_root, scale};
use super::row_writer::{Columns, RowWalk, RowWriter, WriteRows};
use crate::math::{LaneOps, Unrolled};
use crate::memory::PooledBytes;
use crate::rows::{
    GRAIN, Source, Target, UNROLL, Widened, by_dtype, load, prefetch_block, share, spans, store, streams_rows,
};
use crate::simd::Isa;
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
    if len == 0 {
        return;
    }
    let walk = RowWalk::new::<S>(launch, [d, d], 1, stream);
    share(launch, 4 * size_of::<S>() * len).split(rows, GRAIN.div_ceil(d), |part| {
        let elements = part.start * d..part.end * d;
        // What is streamed must not be read back: the sum stays here until its norm is known.
        let mut kept = stream.then(|| PooledBytes::take(size_of::<S>() * d));
        let writer = AddNormRows {
            x: x.part(&elements),
            residual: residual.part(&elements),
            sum: sum.part(&elements),
            kept: kept.as_mut().map_or(core::ptr::null_mut(), |kept| kept.as_mut_slice().as_mut_ptr().cast()),
            normed: normed.part(&elements),
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
struct AddNormRows<S> {
    x: *const S,
    residual: *const S,
    sum: *mut S,
    /// One row, aligned to 64 bytes, where results are streamed; else null.
    kept: *mut S,
    normed: *mut S,
    rstd: Option<*mut f32>,
    /// As [`Widened`].
    gamma: *const f32,
    epsilon: f64,
    d: usize,
}

impl<S> AddNormRows<S> {
    /// Where the sum of row `row` is until its norm is known.
    ///
    /// # Safety
    /// The row exists.
    #[inline(always)]
    unsafe fn row_sum<const STREAM: bool>(&self, row: usize) -> *mut S {
        // SAFETY: the row exists (`# Safety` of `AddNormRows::row_sum`).
        if STREAM { self.kept } else { unsafe { self.sum.add(row * self.d) } }
    }
}

impl<S: Storage> RowWriter for AddNormRows<S> {
    /// The reciprocal deviation.
    type Measured = f32;

    #[inline(always)]
    unsafe fn measure<I: Isa, const STREAM: bool>(&self, isa: I, row: usize) -> f32 {
        let at = row * self.d;
        // SAFETY: the row exists, by the `# Safety` clause of `RowWriter::measure`; `kept` holds one, and `rstd` has an
        // element for each.
        unsafe {
            let sum = self.row_sum::<STREAM>(row);
            let squares = add(isa, self.x.add(at), self.residual.add(at), sum, self.d);
            let rstd = reciprocal_root(squares, self.d, self.epsilon);
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
        Columns { at: column, n, ahead }: Columns,
    ) {
        let at = row * self.d + column;
        // SAFETY: row and columns exist, by the `# Safety` clause of `RowWriter::write`; gamma holds d elements.
        unsafe {
            let from = self.row_sum::<STREAM>(row).add(column);
            if STREAM {
                let next = self.residual.wrapping_add(at + ahead);
                copy::<I, S, PREFETCH>(isa, from, self.sum.add(at), n, next);
            }
            let scaling = Scaling { rstd, gamma: self.gamma.add(column), next: self.x.wrapping_add(at + ahead) };
            scale::<I, S, STREAM, PREFETCH>(isa, from, self.normed.add(at), n, scaling);
        }
    }
}

/// `sum = x + y`; returns the sum's `Σ sum²`.
///
/// # Safety
/// All three hold `d` elements; `x` and `sum` are the same or do not overlap.
#[inline(always)]
unsafe fn add<I: Isa, S: Storage>(isa: I, x: *const S, y: *const S, sum: *mut S, d: usize) -> f32 {
    let mut squares = [isa.splat(0.0); UNROLL];
    let span = spans::<I, S, false>(isa, x, d);
    // SAFETY: all three hold `d` elements; `x` and `sum` are the same or do not overlap (`# Safety` of `add`); a block
    // ends at `rest` or before, and at + n ≤ d.
    unsafe {
        for at in (0..span.rest).step_by(UNROLL * I::LANES) {
            let (x, y) = (S::load_block::<I, UNROLL>(isa, x.add(at)), S::load_block::<I, UNROLL>(isa, y.add(at)));
            S::store_block::<I, UNROLL, false>(isa, sum.add(at), Unrolled(isa).add(x, y));
            // Read back, as the norm is that of the rounded sum.
            let v = S::load_block::<I, UNROLL>(isa, sum.add(at));
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

/// `to = from` by non-temporal stores; with `PREFETCH` as many elements at `next` are prefetched.
///
/// # Safety
/// Both hold `d` elements and do not overlap; `to` is a multiple of 64.
#[inline(always)]
unsafe fn copy<I: Isa, S: Storage, const PREFETCH: bool>(isa: I, from: *const S, to: *mut S, d: usize, next: *const S) {
    let span = spans::<I, S, false>(isa, from, d);
    // SAFETY: both hold `d` elements and do not overlap; `to` is a multiple of 64 (`# Safety` of `copy`); a block ends
    // at `rest` or before, and at + n ≤ d.
    unsafe {
        for at in (0..span.rest).step_by(UNROLL * I::LANES) {
            let v = S::load_block::<I, UNROLL>(isa, from.add(at));
            if PREFETCH {
                prefetch_block(isa, next.wrapping_add(at));
            }
            S::store_block::<I, UNROLL, true>(isa, to.add(at), v);
        }
        core::ptr::copy_nonoverlapping(from.add(span.rest), to.add(span.rest), d - span.rest);
    }
}
