//! A residual addition and the RMS norm of its sum, in one pass over memory.

use super::rms::{RmsNorm, reciprocal_root, scale};
use crate::kernels::rows::{AnySource, GRAIN, Source, Target, by_dtype, load, share, store};
use crate::kernels::{Floats, FloatsMut, Launch, Storage};
use crate::simd::{Isa, Kernel};

/// `sum = x + residual`, `normed = rms_norm(sum)`, both `[rows, d]`, and, where it is wanted, `rstd` `[rows]` of the sum.
///
/// The norm is that of the sum as it is stored, rounded to its element type.
///
/// # Panics
/// If the lengths do not fit or the element types of the slices differ.
pub fn add_norm(
    launch: Launch,
    norm: RmsNorm<'_>,
    x: Floats<'_>,
    residual: Floats<'_>,
    sum: FloatsMut<'_>,
    normed: FloatsMut<'_>,
    rstd: Option<&mut [f32]>,
) {
    by_dtype!((x: Floats, residual: Floats, sum: FloatsMut, normed: FloatsMut) => {
        let (x, residual) = (Source::new(x), Source::new(residual));
        run(launch, norm, x, residual, [Target::new(sum), Target::new(normed)], rstd);
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
    normed: FloatsMut<'_>,
    rstd: Option<&mut [f32]>,
) {
    by_dtype!((x: FloatsMut, residual: Floats, normed: FloatsMut) => {
        let x = Target::new(x);
        run(launch, norm, x.source(), Source::new(residual), [x, Target::new(normed)], rstd);
    });
}

fn run<S: Storage>(
    launch: Launch,
    norm: RmsNorm<'_>,
    x: Source<S>,
    residual: Source<S>,
    [sum, normed]: [Target<S>; 2],
    rstd: Option<&mut [f32]>,
) {
    let (d, len) = (norm.gamma.len(), x.len());
    assert!(len == 0 || (d > 0 && len.is_multiple_of(d)), "rows of {d} in {len} elements");
    assert_eq!([len; 3], [residual.len(), sum.len(), normed.len()], "elements of the residual, the sum and the norm");
    let rows = if d == 0 { 0 } else { len / d };
    let rstd = rstd.map(|rstd| {
        assert_eq!(rows, rstd.len(), "one rstd a row");
        Target::new(rstd)
    });
    let gamma = AnySource::new(norm.gamma);
    share(launch, 4 * size_of::<S>() * len).split(rows, GRAIN.div_ceil(d.max(1)), |part| {
        let elements = part.start * d..part.end * d;
        launch.tier.run(Part {
            x: x.part(&elements),
            residual: residual.part(&elements),
            sum: sum.part(&elements),
            normed: normed.part(&elements),
            rstd: rstd.map(|rstd| rstd.part(&part)),
            gamma,
            epsilon: norm.epsilon,
            rows: part.len(),
            d,
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
    gamma: AnySource,
    epsilon: f64,
    rows: usize,
    d: usize,
}

impl<S: Storage> Kernel for Part<S> {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        for row in 0..self.rows {
            let at = row * self.d;
            // SAFETY: `run` took the pointers from parts checked to hold these rows; gamma holds d elements.
            unsafe {
                let sum = self.sum.add(at);
                let squares = add(isa, self.x.add(at), self.residual.add(at), sum, self.d);
                let rstd = reciprocal_root(squares, self.d, self.epsilon);
                scale(isa, sum, rstd, self.gamma, self.normed.add(at), self.d);
                if let Some(to) = self.rstd {
                    to.add(row).write(rstd);
                }
            }
        }
    }
}

/// `sum = x + y`; returns the sum's `Σ sum²`.
///
/// # Safety
/// All three hold `d` elements; `x` and `sum` are the same or do not overlap.
#[inline(always)]
unsafe fn add<I: Isa, S: Storage>(isa: I, x: *const S, y: *const S, sum: *mut S, d: usize) -> f32 {
    let mut squares = [isa.splat(0.0); 4];
    let step = 4 * I::LANES;
    let blocks = d / step * step;
    // SAFETY: the caller's promise; blocks ≤ d, and each n ends at d or before.
    unsafe {
        for at in (0..blocks).step_by(step) {
            for (j, squares) in squares.iter_mut().enumerate() {
                let at = at + j * I::LANES;
                S::store(isa, sum.add(at), isa.add(S::load(isa, x.add(at)), S::load(isa, y.add(at))));
                // Read back, as the norm is that of the rounded sum.
                let v = S::load(isa, sum.add(at));
                *squares = isa.mul_add(v, v, *squares);
            }
        }
        for at in (blocks..d).step_by(I::LANES) {
            let n = I::LANES.min(d - at);
            store(isa, sum.add(at), isa.add(load(isa, x.add(at), n), load(isa, y.add(at), n)), n);
            let v = load(isa, sum.add(at), n);
            squares[0] = isa.mul_add(v, v, squares[0]);
        }
    }
    isa.reduce_add(isa.add(isa.add(squares[0], squares[1]), isa.add(squares[2], squares[3])))
}
