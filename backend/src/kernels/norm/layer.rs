//! Layer norm (Ba, Kiros and Hinton 2016).

use super::operand::Rows;
use super::rms::reciprocal_root;
use crate::kernels::rows::{AnySource, GRAIN, Source, Target, by_dtype, load, share, store};
use crate::kernels::{Floats, FloatsMut, Launch, Storage};
use crate::simd::{Isa, Kernel};

/// Weights of `(x - mean(x)) / √(var(x) + epsilon) · gamma + beta`.
#[derive(Debug, Clone, Copy)]
pub struct LayerNorm<'a> {
    /// `[d]`.
    pub gamma: Floats<'a>,
    /// `[d]`; none is 0.
    pub beta: Option<Floats<'a>>,
    /// Added to the variance.
    pub epsilon: f64,
}

/// Statistics of the rows, which the backward needs, each `[rows]`.
#[derive(Debug)]
pub struct Moments<'a> {
    /// `mean(x)`.
    pub mean: &'a mut [f32],
    /// `1/√(var(x) + epsilon)`.
    pub rstd: &'a mut [f32],
}

/// `out[r] = (x[r] - mean[r]) · rstd[r] · gamma + beta` for `out` `[rows, d]`, with the variance over d, not d - 1.
///
/// The mean has two parts: that of x, and that of what remains after subtracting it. The second one takes away the rounding
/// of the first, so that a mean far larger than the deviation costs the result no digits.
///
/// # Panics
/// If the lengths do not fit or the element types of `x` and `out` differ.
pub fn layer_norm(launch: Launch, norm: LayerNorm<'_>, x: Rows<'_>, out: FloatsMut<'_>, moments: Option<Moments<'_>>) {
    let (rows, stride, extent, data) = (x.rows, x.stride, x.extent(norm.gamma.len()), x.data);
    by_dtype!((data: Floats, out: FloatsMut) => {
        assert!(extent <= data.len(), "{rows} rows every {stride} elements in {}", data.len());
        run(launch, norm, Source::new(data), stride, Target::new(out), rows, moments);
    });
}

/// `x[r] = (x[r] - mean[r]) · rstd[r] · gamma + beta` for `x` `[rows, d]`.
///
/// # Panics
/// As [`layer_norm`].
pub fn layer_norm_in_place(launch: Launch, norm: LayerNorm<'_>, x: FloatsMut<'_>, moments: Option<Moments<'_>>) {
    let d = norm.gamma.len();
    by_dtype!((x: FloatsMut) => {
        let rows = if d == 0 { 0 } else { x.len() / d };
        let x = Target::new(x);
        run(launch, norm, x.source(), d, x, rows, moments);
    });
}

fn run<S: Storage>(
    launch: Launch,
    norm: LayerNorm<'_>,
    x: Source<S>,
    stride: usize,
    out: Target<S>,
    rows: usize,
    moments: Option<Moments<'_>>,
) {
    let d = norm.gamma.len();
    assert_eq!(rows * d, out.len(), "elements of {rows} rows of {d}");
    let moments = moments.map(|Moments { mean, rstd }| {
        assert_eq!([rows; 2], [mean.len(), rstd.len()], "one mean and one rstd a row");
        [Target::new(mean), Target::new(rstd)]
    });
    let beta = norm.beta.map(|beta| {
        assert_eq!(d, beta.len(), "as many elements of beta as of gamma");
        AnySource::new(beta)
    });
    if d == 0 {
        return;
    }
    let gamma = AnySource::new(norm.gamma);
    share(launch, 2 * size_of::<S>() * out.len()).split(rows, GRAIN.div_ceil(d), |part| {
        launch.tier.run(Part {
            x: x.part(&(part.start * stride..(part.end - 1) * stride + d)),
            stride,
            out: out.part(&(part.start * d..part.end * d)),
            moments: moments.map(|moments| moments.map(|m| m.part(&part))),
            gamma,
            beta,
            epsilon: norm.epsilon,
            rows: part.len(),
            d,
        });
    });
}

/// Rows of one thread.
struct Part<S> {
    x: *const S,
    stride: usize,
    out: *mut S,
    moments: Option<[*mut f32; 2]>,
    gamma: AnySource,
    beta: Option<AnySource>,
    epsilon: f64,
    rows: usize,
    d: usize,
}

impl<S: Storage> Kernel for Part<S> {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        let d = self.d as f32;
        for row in 0..self.rows {
            // SAFETY: `run` took the pointers from parts checked to hold these rows; gamma and beta hold d elements.
            unsafe {
                let x = self.x.add(row * self.stride);
                let mean = sum(isa, x, self.d) / d;
                let (rest, squares) = sum_centred(isa, x, mean, self.d);
                let rest = rest / d;
                // Σ(x - m - r)² = Σ(x - m)² - d r²; rounding may leave it below 0.
                let centred = squares - rest * rest * d;
                let centred = if centred < 0.0 { 0.0 } else { centred };
                let rstd = reciprocal_root(centred, self.d, self.epsilon);
                self.write(isa, x, [mean, rest, rstd], self.out.add(row * self.d));
                if let Some([to_mean, to_rstd]) = self.moments {
                    to_mean.add(row).write(mean + rest);
                    to_rstd.add(row).write(rstd);
                }
            }
        }
    }
}

impl<S: Storage> Part<S> {
    /// `out = ((x - mean) - rest) · rstd · gamma + beta`.
    ///
    /// # Safety
    /// `x` and `out` hold `d` elements and are the same or do not overlap.
    #[inline(always)]
    unsafe fn write<I: Isa>(&self, isa: I, x: *const S, [mean, rest, rstd]: [f32; 3], out: *mut S) {
        let (mean, rest, rstd) = (isa.splat(mean), isa.splat(rest), isa.splat(rstd));
        for at in (0..self.d).step_by(I::LANES) {
            let n = I::LANES.min(self.d - at);
            // SAFETY: the caller's promise; at + n ≤ d.
            unsafe {
                let centred = isa.sub(isa.sub(load(isa, x.add(at), n), mean), rest);
                let normed = isa.mul(centred, rstd);
                let gamma = self.gamma.load(isa, at, n);
                let y = match self.beta {
                    Some(beta) => isa.mul_add(normed, gamma, beta.load(isa, at, n)),
                    None => isa.mul(normed, gamma),
                };
                store(isa, out.add(at), y, n);
            }
        }
    }
}

/// `Σ x`.
///
/// # Safety
/// `x` holds `d` elements.
#[inline(always)]
unsafe fn sum<I: Isa, S: Storage>(isa: I, x: *const S, d: usize) -> f32 {
    let mut sums = [isa.splat(0.0); 4];
    let step = 4 * I::LANES;
    let blocks = d / step * step;
    // SAFETY: the caller's promise; blocks ≤ d, and each n ends at d or before.
    unsafe {
        for at in (0..blocks).step_by(step) {
            for (j, sum) in sums.iter_mut().enumerate() {
                *sum = isa.add(*sum, S::load(isa, x.add(at + j * I::LANES)));
            }
        }
        for at in (blocks..d).step_by(I::LANES) {
            sums[0] = isa.add(sums[0], load(isa, x.add(at), I::LANES.min(d - at)));
        }
    }
    isa.reduce_add(isa.add(isa.add(sums[0], sums[1]), isa.add(sums[2], sums[3])))
}

/// `Σ (x - mean)` and `Σ (x - mean)²`.
///
/// # Safety
/// `x` holds `d` elements.
#[inline(always)]
unsafe fn sum_centred<I: Isa, S: Storage>(isa: I, x: *const S, mean: f32, d: usize) -> (f32, f32) {
    let centre = isa.splat(mean);
    let mut sums = [isa.splat(0.0); 4];
    let mut squares = [isa.splat(0.0); 4];
    let step = 4 * I::LANES;
    let blocks = d / step * step;
    let (mut sum_left, mut squares_left) = (0.0, 0.0);
    // SAFETY: the caller's promise; blocks ≤ d.
    unsafe {
        for at in (0..blocks).step_by(step) {
            for j in 0..4 {
                let v = isa.sub(S::load(isa, x.add(at + j * I::LANES)), centre);
                sums[j] = isa.add(sums[j], v);
                squares[j] = isa.mul_add(v, v, squares[j]);
            }
        }
        let whole = d / I::LANES * I::LANES;
        for at in (blocks..whole).step_by(I::LANES) {
            let v = isa.sub(S::load(isa, x.add(at)), centre);
            sums[0] = isa.add(sums[0], v);
            squares[0] = isa.mul_add(v, v, squares[0]);
        }
        // One by one, as empty lanes would count as -mean.
        for at in whole..d {
            let v = (*x.add(at)).to_f32() - mean;
            sum_left += v;
            squares_left += v * v;
        }
    }
    let total = |v: [I::V; 4]| isa.reduce_add(isa.add(isa.add(v[0], v[1]), isa.add(v[2], v[3])));
    (total(sums) + sum_left, total(squares) + squares_left)
}
