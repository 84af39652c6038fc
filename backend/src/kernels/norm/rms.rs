//! RMS norm (Zhang and Sennrich 2019).

use super::operand::Rows;
use crate::kernels::rows::{AnySource, GRAIN, Source, Target, by_dtype, load, share, store};
use crate::kernels::{Floats, FloatsMut, Launch, Storage};
use crate::simd::{Isa, Kernel};

/// Weights of `x / √(mean(x²) + epsilon) · gamma`.
#[derive(Debug, Clone, Copy)]
pub struct RmsNorm<'a> {
    /// `[d]`.
    pub gamma: Floats<'a>,
    /// Added to the mean square.
    pub epsilon: f64,
}

/// `out[r] = x[r] · rstd[r] · gamma`, `rstd[r] = 1/√(mean(x[r]²) + epsilon)`, for `out` `[rows, d]` and, where it is wanted,
/// `rstd` `[rows]`.
///
/// # Panics
/// If the lengths do not fit or the element types of `x` and `out` differ.
pub fn rms_norm(launch: Launch, norm: RmsNorm<'_>, x: Rows<'_>, out: FloatsMut<'_>, rstd: Option<&mut [f32]>) {
    let (rows, stride, extent, data) = (x.rows, x.stride, x.extent(norm.gamma.len()), x.data);
    by_dtype!((data: Floats, out: FloatsMut) => {
        assert!(extent <= data.len(), "{rows} rows every {stride} elements in {}", data.len());
        run(launch, norm, Source::new(data), stride, Target::new(out), rows, rstd);
    });
}

/// `x[r] = x[r] · rstd[r] · gamma` for `x` `[rows, d]`.
///
/// # Panics
/// As [`rms_norm`].
pub fn rms_norm_in_place(launch: Launch, norm: RmsNorm<'_>, x: FloatsMut<'_>, rstd: Option<&mut [f32]>) {
    let d = norm.gamma.len();
    by_dtype!((x: FloatsMut) => {
        let rows = if d == 0 { 0 } else { x.len() / d };
        let x = Target::new(x);
        run(launch, norm, x.source(), d, x, rows, rstd);
    });
}

fn run<S: Storage>(
    launch: Launch,
    norm: RmsNorm<'_>,
    x: Source<S>,
    stride: usize,
    out: Target<S>,
    rows: usize,
    rstd: Option<&mut [f32]>,
) {
    let d = norm.gamma.len();
    assert_eq!(rows * d, out.len(), "elements of {rows} rows of {d}");
    let rstd = rstd.map(|rstd| {
        assert_eq!(rows, rstd.len(), "one rstd a row");
        Target::new(rstd)
    });
    if d == 0 {
        return;
    }
    let gamma = AnySource::new(norm.gamma);
    share(launch, 2 * size_of::<S>() * out.len()).split(rows, GRAIN.div_ceil(d), |part| {
        let rows = part.len();
        launch.tier.run(Part {
            x: x.part(&(part.start * stride..(part.end - 1) * stride + d)),
            stride,
            out: out.part(&(part.start * d..part.end * d)),
            rstd: rstd.map(|rstd| rstd.part(&part)),
            gamma,
            epsilon: norm.epsilon,
            rows,
            d,
        });
    });
}

/// Rows of one thread.
struct Part<S> {
    x: *const S,
    stride: usize,
    out: *mut S,
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
            // SAFETY: `run` took the pointers from parts checked to hold these rows; gamma holds d elements.
            unsafe {
                let x = self.x.add(row * self.stride);
                let rstd = reciprocal_root(sum_squares(isa, x, self.d), self.d, self.epsilon);
                scale(isa, x, rstd, self.gamma, self.out.add(row * self.d), self.d);
                if let Some(to) = self.rstd {
                    to.add(row).write(rstd);
                }
            }
        }
    }
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
    let mut sums = [isa.splat(0.0); 4];
    let step = 4 * I::LANES;
    let blocks = d / step * step;
    // SAFETY: the caller's promise; blocks ≤ d, and each n ends at d or before.
    unsafe {
        for at in (0..blocks).step_by(step) {
            for (j, sum) in sums.iter_mut().enumerate() {
                let v = S::load(isa, x.add(at + j * I::LANES));
                *sum = isa.mul_add(v, v, *sum);
            }
        }
        for at in (blocks..d).step_by(I::LANES) {
            let v = load(isa, x.add(at), I::LANES.min(d - at));
            sums[0] = isa.mul_add(v, v, sums[0]);
        }
    }
    isa.reduce_add(isa.add(isa.add(sums[0], sums[1]), isa.add(sums[2], sums[3])))
}

/// `out = x · rstd · gamma`.
///
/// # Safety
/// `x`, `gamma` and `out` hold `d` elements; `x` and `out` are the same or do not overlap.
#[inline(always)]
pub(super) unsafe fn scale<I: Isa, S: Storage>(
    isa: I,
    x: *const S,
    rstd: f32,
    gamma: AnySource,
    out: *mut S,
    d: usize,
) {
    let rstd = isa.splat(rstd);
    for at in (0..d).step_by(I::LANES) {
        let n = I::LANES.min(d - at);
        // SAFETY: the caller's promise; at + n ≤ d.
        unsafe {
            let v = isa.mul(load(isa, x.add(at), n), rstd);
            store(isa, out.add(at), isa.mul(v, gamma.load(isa, at, n)), n);
        }
    }
}
