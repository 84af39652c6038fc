//! Over a dimension that is not the last: each register holds neighbouring columns, and no lane ever meets another.
//!
//! Strips of [`STRIP`] columns go down their dimension three times (maximum, sum, result). A strip of n rows is n cache-line
//! pairs, so for n ≤ 256 it stays in the first-level cache between the passes.

use super::{Axis, SoftmaxKind};
use crate::kernels::math::exp;
use crate::kernels::rows::{Source, Target, load, share, store};
use crate::kernels::{Launch, Storage};
use crate::simd::{Isa, Kernel};

/// Columns of a strip: two cache lines of f32, a whole number of registers on every tier.
const STRIP: usize = 32;

pub(super) fn run<S: Storage>(launch: Launch, kind: SoftmaxKind, axis: Axis, src: Source<S>, dst: Target<S>) {
    let strips = axis.inner.div_ceil(STRIP);
    share(launch, 2 * size_of::<S>() * axis.len()).split(axis.outer * strips, 1, |part| {
        for strip in part {
            let (outer, column) = (strip / strips, strip % strips * STRIP);
            let width = STRIP.min(axis.inner - column);
            let begin = outer * axis.n * axis.inner + column;
            let elements = begin..begin + (axis.n - 1) * axis.inner + width;
            let (src, dst) = (src.part(&elements), dst.part(&elements));
            launch.tier.run(Strip { kind, src, dst, n: axis.n, stride: axis.inner, width });
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
}

impl<S: Storage> Kernel for Strip<S> {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        let Self { kind, src, dst, n, stride, width } = self;
        for column in (0..width).step_by(I::LANES) {
            let lanes = I::LANES.min(width - column);
            // SAFETY: `run` took the pointers from checked parts of n rows of `width` elements; column + lanes ≤ width.
            unsafe {
                let (src, dst) = (src.add(column), dst.add(column));
                let mut max = isa.splat(f32::NEG_INFINITY);
                for row in 0..n {
                    // The second operand stays where the first is NaN.
                    max = isa.max(load(isa, src.add(row * stride), lanes), max);
                }
                let mut sum = isa.splat(0.0);
                for row in 0..n {
                    sum = isa.add(sum, exp(isa, isa.sub(load(isa, src.add(row * stride), lanes), max)));
                }
                let last = match kind {
                    SoftmaxKind::Plain => isa.div(isa.splat(1.0), sum),
                    SoftmaxKind::Log => logarithm(isa, sum),
                };
                for row in 0..n {
                    let shifted = isa.sub(load(isa, src.add(row * stride), lanes), max);
                    let y = match kind {
                        SoftmaxKind::Plain => isa.mul(exp(isa, shifted), last),
                        SoftmaxKind::Log => isa.sub(shifted, last),
                    };
                    store(isa, dst.add(row * stride), y, lanes);
                }
            }
        }
    }
}

/// `ln x`, lane by lane: once a column, next to n exponentials.
#[inline(always)]
fn logarithm<I: Isa>(isa: I, x: I::V) -> I::V {
    let mut lanes = [0.0f32; 16];
    // SAFETY: the array holds a whole register.
    unsafe {
        isa.store(lanes.as_mut_ptr(), x);
        for lane in &mut lanes[..I::LANES] {
            *lane = lane.ln();
        }
        isa.load(lanes.as_ptr())
    }
}
