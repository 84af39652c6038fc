//! Over a dimension that is not the last: each register holds neighbouring columns, and no lane ever meets another.
//!
//! A strip of columns goes down its dimension twice, whole row pieces at a time, so that memory is read in long runs
//! whatever the distance of the rows (which is often a power of two, where single columns would fight for one cache
//! set):
//! 1. in blocks of a few rows, which stay in the first-level cache (rows/blocks.rs): the block's maxima, what came
//!    before relative to them, the block's exponentials;
//! 2. the results.
//!
//! Maxima and sums of the strip stay there too.

use super::{Axis, SoftmaxKind};
use crate::math::decay_any;
use crate::rows::{MAX_STRIP, Source, StripBlock, Target, load, share, softmax_strip, store};
use crate::simd::{Isa, Kernel};
use crate::{Launch, Storage};

pub(super) fn run<S: Storage>(launch: Launch, kind: SoftmaxKind, axis: Axis, src: Source<S>, dst: Target<S>) {
    let StripBlock { columns, rows } = softmax_strip(launch, axis.inner);
    let strips = axis.inner.div_ceil(columns);
    share(launch, 2 * size_of::<S>() * axis.len()).split(axis.outer * strips, 1, |part| {
        for strip in part {
            let (outer, column) = (strip / strips, strip % strips * columns);
            let width = columns.min(axis.inner - column);
            let begin = outer * axis.n * axis.inner + column;
            let elements = begin..begin + (axis.n - 1) * axis.inner + width;
            let (src, dst) = (src.part(&elements), dst.part(&elements));
            launch.tier.run(Strip { kind, src, dst, n: axis.n, stride: axis.inner, width, rows });
        }
    });
}

/// `n` rows of `width` columns, `stride` elements apart.
struct Strip<S> {
    kind: SoftmaxKind,
    src: *const S,
    dst: *mut S,
    n: usize,
    stride: usize,
    width: usize,
    /// Rows of a block.
    rows: usize,
}

/// What is known of the columns of a strip.
struct Columns {
    max: [f32; MAX_STRIP],
    /// `Σ e^{x - max}`; at the end its reciprocal or logarithm.
    sum: [f32; MAX_STRIP],
}

impl<S: Storage> Kernel for Strip<S> {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        let mut columns = Columns { max: [f32::NEG_INFINITY; MAX_STRIP], sum: [0.0; MAX_STRIP] };
        for row in (0..self.n).step_by(self.rows) {
            self.take_block(isa, row..(row + self.rows).min(self.n), &mut columns);
        }
        for sum in &mut columns.sum[..self.width] {
            *sum = match self.kind {
                SoftmaxKind::Plain => 1.0 / *sum,
                SoftmaxKind::Log => sum.ln(),
            };
        }
        self.write(isa, &columns);
    }
}

impl<S: Storage> Strip<S> {
    /// Maxima and sums with a block of rows.
    #[inline(always)]
    fn take_block<I: Isa>(&self, isa: I, rows: core::ops::Range<usize>, columns: &mut Columns) {
        let mut old = columns.max;
        let max = columns.max.as_mut_ptr();
        // Where all so far is -∞, subtracting a finite number gives the 0 that the exponential of -∞ is.
        let lowest = isa.splat(f32::MIN);
        for row in rows.clone() {
            for at in (0..self.width).step_by(I::LANES) {
                // SAFETY: `run` took the pointer from a checked part of n rows; the arrays hold whole registers.
                unsafe {
                    let x = load(isa, self.src.add(row * self.stride + at), I::LANES.min(self.width - at));
                    // The second operand stays where the first is NaN.
                    isa.store(max.add(at), isa.max(x, isa.load(max.add(at))));
                }
            }
        }
        let (old, sum) = (old.as_mut_ptr(), columns.sum.as_mut_ptr());
        for at in (0..self.width).step_by(I::LANES) {
            // SAFETY: the arrays hold whole registers.
            unsafe {
                let (before, now) = (isa.max(isa.load(old.add(at)), lowest), isa.max(isa.load(max.add(at)), lowest));
                isa.store(sum.add(at), isa.mul(isa.load(sum.add(at)), decay_any(isa, isa.sub(now, before))));
            }
        }
        for row in rows {
            for at in (0..self.width).step_by(I::LANES) {
                // SAFETY: `run` took the pointer from a checked part of n rows; the arrays hold whole registers.
                unsafe {
                    let x = load(isa, self.src.add(row * self.stride + at), I::LANES.min(self.width - at));
                    let e = decay_any(isa, isa.sub(isa.max(isa.load(max.add(at)), lowest), x));
                    isa.store(sum.add(at), isa.add(isa.load(sum.add(at)), e));
                }
            }
        }
    }

    /// The results.
    #[inline(always)]
    fn write<I: Isa>(&self, isa: I, columns: &Columns) {
        for row in 0..self.n {
            for at in (0..self.width).step_by(I::LANES) {
                let lanes = I::LANES.min(self.width - at);
                // SAFETY: `run` took the pointers from checked parts of n rows; the arrays hold whole registers.
                unsafe {
                    let (max, last) = (isa.load(columns.max.as_ptr().add(at)), isa.load(columns.sum.as_ptr().add(at)));
                    let x = load(isa, self.src.add(row * self.stride + at), lanes);
                    let y = match self.kind {
                        SoftmaxKind::Plain => isa.mul(decay_any(isa, isa.sub(max, x)), last),
                        SoftmaxKind::Log => isa.sub(isa.sub(x, max), last),
                    };
                    store(isa, self.dst.add(row * self.stride + at), y, lanes);
                }
            }
        }
    }
}
