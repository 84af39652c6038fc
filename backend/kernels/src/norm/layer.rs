//! Layer norm (Ba, Kiros and Hinton 2016).

use super::operand::{NormRows, Strided};
use super::rms::reciprocal_root;
use super::row_writer::{Columns, RowWalk, RowWriter, WriteRows};
use crate::rows::{
    GRAIN, Source, Target, UNROLL, Widened, by_dtype, load, prefetch_block, share, spans, store, streams_rows,
};
use crate::simd::Isa;
use crate::{Floats, FloatsMut, Launch, Storage};

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

/// `out[r] = (x[r] - mean[r]) · rstd[r] · gamma + beta` for `out` `[rows, d]`, with the variance over d, not d - 1.
///
/// The mean has two parts: that of the row's beginning, and that of what remains after subtracting it. So one pass
/// measures the row, and neither a mean far larger than the deviation nor a beginning unlike the rest costs the result
/// more than `√(d/m)` units in the last place, where the beginning has `m ≥ d/32` elements: their mean is at most
/// `√((d - m)/m)` deviations from that of all.
///
/// # Panics
/// If the lengths do not fit or the element types of `x` and `out` differ.
pub fn layer_norm(launch: Launch, norm: LayerNorm<'_>, x: NormRows<'_>, out: FloatsMut<'_>) {
    let data = x.data;
    by_dtype!((data: Floats, out: FloatsMut) => {
        run(launch, norm, Strided::new(x, data, norm.gamma.len()), Target::new(out), None);
    });
}

/// Where the result of a layer norm goes with what its backward needs.
#[derive(Debug)]
pub struct LayerNormed<'a> {
    /// `[rows, d]`.
    pub out: FloatsMut<'a>,
    /// `mean(x)`, `[rows]`.
    pub mean: &'a mut [f32],
    /// `1/√(var(x) + epsilon)`, `[rows]`.
    pub rstd: &'a mut [f32],
}

/// [`layer_norm`] that keeps the numbers of each row.
///
/// # Panics
/// As [`layer_norm`], and if there is not one number a row.
pub fn layer_norm_forward(launch: Launch, norm: LayerNorm<'_>, x: NormRows<'_>, to: LayerNormed<'_>) {
    let (data, LayerNormed { out, mean, rstd }) = (x.data, to);
    let kept = [Target::new(mean), Target::new(rstd)];
    by_dtype!((data: Floats, out: FloatsMut) => {
        run(launch, norm, Strided::new(x, data, norm.gamma.len()), Target::new(out), Some(kept));
    });
}

/// `x[r] = (x[r] - mean[r]) · rstd[r] · gamma + beta` for `x` `[rows, d]`.
///
/// # Panics
/// As [`layer_norm`].
pub fn layer_norm_in_place(launch: Launch, norm: LayerNorm<'_>, x: FloatsMut<'_>) {
    by_dtype!((x: FloatsMut) => {
        let x = Target::new(x);
        run(launch, norm, Strided::in_place(x, norm.gamma.len()), x, None);
    });
}

/// `kept` is for mean and reciprocal deviation of each row.
fn run<S: Storage>(launch: Launch, norm: LayerNorm<'_>, x: Strided<S>, out: Target<S>, kept: Option<[Target<f32>; 2]>) {
    let Strided { x, rows, stride } = x;
    let d = norm.gamma.len();
    assert_eq!(rows * d, out.len(), "elements of {rows} rows of {d}");
    assert!(kept.is_none_or(|kept| kept.iter().all(|kept| kept.len() == rows)), "one mean and one rstd a row");
    assert!(norm.beta.is_none_or(|beta| beta.len() == d), "as many elements of beta as of gamma");
    if d == 0 {
        return;
    }
    let (gamma, beta) = (Widened::new::<S>(launch, norm.gamma), norm.beta.map(|b| Widened::new::<S>(launch, b)));
    let (gamma, beta) = (Source::new(gamma.get()), beta.as_ref().map(|beta| Source::new(beta.get())));
    let stream = x.start() != out.source().start() && streams_rows(out.source().start(), d, rows);
    let walk = RowWalk::new::<S>(launch, [d, stride], 1 + usize::from(beta.is_some()), stream);
    share(launch, 2 * size_of::<S>() * out.len()).split(rows, GRAIN.div_ceil(d), |part| {
        let writer = LayerNormRows::<S, true> {
            x: x.part(&(part.start * stride..(part.end - 1) * stride + d)),
            stride,
            out: out.part(&(part.start * d..part.end * d)),
            gamma: gamma.part(&(0..d)),
            beta: beta.unwrap_or(gamma).part(&(0..d)),
            kept: kept.map(|kept| kept.map(|kept| kept.part(&part))),
            epsilon: norm.epsilon,
            d,
        };
        // SAFETY: `part` checked that all of them hold these rows of d elements.
        unsafe {
            if beta.is_some() {
                launch.tier.run(WriteRows::new(writer, walk, part.len()));
            } else {
                launch.tier.run(WriteRows::new(writer.without_beta(), walk, part.len()));
            }
        }
    });
}

/// Rows of one thread; with `BETA` there is a beta.
struct LayerNormRows<S, const BETA: bool> {
    x: *const S,
    stride: usize,
    out: *mut S,
    /// As [`Widened`], like `beta`.
    gamma: *const f32,
    beta: *const f32,
    /// Mean and reciprocal deviation of each row.
    kept: Option<[*mut f32; 2]>,
    epsilon: f64,
    d: usize,
}

impl<S> LayerNormRows<S, true> {
    fn without_beta(self) -> LayerNormRows<S, false> {
        let Self { x, stride, out, gamma, beta, kept, epsilon, d } = self;
        LayerNormRows { x, stride, out, gamma, beta, kept, epsilon, d }
    }
}

impl<S: Storage, const BETA: bool> RowWriter for LayerNormRows<S, BETA> {
    /// Mean, reciprocal deviation and shift.
    type Measured = [f32; 3];

    #[inline(always)]
    unsafe fn measure<I: Isa, const STREAM: bool>(&self, isa: I, row: usize) -> [f32; 3] {
        // SAFETY: the row exists, by the `# Safety` clause of `RowWriter::measure`; `kept` has elements for each.
        unsafe {
            let x = self.x.add(row * self.stride);
            let (numbers, rest) = measure_layer(isa, x, self.d, self.epsilon);
            if let Some([mean, rstd]) = self.kept {
                mean.add(row).write(numbers[0] + rest);
                rstd.add(row).write(numbers[1]);
            }
            numbers
        }
    }

    /// `out = ((x - mean) · rstd + shift) · gamma + beta`.
    #[inline(always)]
    unsafe fn write<I: Isa, const STREAM: bool, const PREFETCH: bool>(
        &self,
        isa: I,
        row: usize,
        [mean, rstd, shift]: [f32; 3],
        Columns { at: column, n: d, ahead }: Columns,
    ) {
        let (mean, rstd, shift) = (isa.splat(mean), isa.splat(rstd), isa.splat(shift));
        // SAFETY: row and columns exist, by the `# Safety` clause of `RowWriter::write`; gamma and beta hold d
        // elements.
        let (x, out, gamma, beta) = unsafe {
            let (x, out) = (self.x.add(row * self.stride + column), self.out.add(row * self.d + column));
            (x, out, self.gamma.add(column), self.beta.add(column))
        };
        let span = spans::<I, S, false>(isa, out, d);
        // SAFETY: columns exist, by the `# Safety` clause of `RowWriter::write`; a block ends at `rest` or before, and
        // at + n ≤ d.
        unsafe {
            for at in (0..span.rest).step_by(UNROLL * I::LANES) {
                let mut v = S::load_block::<I, UNROLL>(isa, x.add(at));
                for (i, v) in v.iter_mut().enumerate() {
                    let normed = isa.mul_add(isa.sub(*v, mean), rstd, shift);
                    let at = at + i * I::LANES;
                    let gamma = isa.load(gamma.add(at));
                    *v = if BETA { isa.mul_add(normed, gamma, isa.load(beta.add(at))) } else { isa.mul(normed, gamma) };
                }
                if PREFETCH {
                    prefetch_block(isa, x.wrapping_add(ahead + at));
                }
                S::store_block::<I, UNROLL, STREAM>(isa, out.add(at), v);
            }
            for at in (span.rest..d).step_by(I::LANES) {
                let n = I::LANES.min(d - at);
                let normed = isa.mul_add(isa.sub(load(isa, x.add(at), n), mean), rstd, shift);
                let gamma = load(isa, gamma.add(at), n);
                let y =
                    if BETA { isa.mul_add(normed, gamma, load(isa, beta.add(at), n)) } else { isa.mul(normed, gamma) };
                store(isa, out.add(at), y, n);
            }
        }
    }
}

/// Of a row's elements, one in this many at most gives its first mean.
const BEGINNING: usize = 32;

/// The mean of a row's beginning, the reciprocal deviation of the row, and what brings the mean to 0 then: `-r · rstd`
/// for the mean r of what remains after subtracting the first. Then r.
///
/// # Safety
/// `x` holds `d` elements, `d > 0`.
#[inline(always)]
pub(super) unsafe fn measure_layer<I: Isa, S: Storage>(isa: I, x: *const S, d: usize, epsilon: f64) -> ([f32; 3], f32) {
    let len = d as f32;
    // SAFETY: `x` holds `d` elements, `d > 0` (`# Safety` of `measure_layer`).
    let (mean, rest, squares) = unsafe {
        let beginning = d.div_ceil(BEGINNING).next_multiple_of(UNROLL * I::LANES).min(d);
        let mean = sum(isa, x, beginning) / beginning as f32;
        let (rest, squares) = sum_centred(isa, x, mean, d);
        (mean, rest / len, squares)
    };
    // Σ(x - m - r)² = Σ(x - m)² - d r²; rounding may leave it below 0.
    let centred = squares - rest * rest * len;
    let centred = if centred < 0.0 { 0.0 } else { centred };
    let rstd = reciprocal_root(centred, d, epsilon);
    ([mean, rstd, -rest * rstd], rest)
}

/// `Σ x`.
///
/// # Safety
/// `x` holds `d` elements.
#[inline(always)]
unsafe fn sum<I: Isa, S: Storage>(isa: I, x: *const S, d: usize) -> f32 {
    let mut sums = [isa.splat(0.0); UNROLL];
    let span = spans::<I, S, false>(isa, x, d);
    // SAFETY: `x` holds `d` elements (`# Safety` of `sum`); a block ends at `rest` or before, and at + n ≤ d.
    unsafe {
        for at in (0..span.rest).step_by(UNROLL * I::LANES) {
            for (sum, v) in sums.iter_mut().zip(S::load_block::<I, UNROLL>(isa, x.add(at))) {
                *sum = isa.add(*sum, v);
            }
        }
        for at in (span.rest..d).step_by(I::LANES) {
            sums[0] = isa.add(sums[0], load(isa, x.add(at), I::LANES.min(d - at)));
        }
    }
    add_up(isa, sums)
}

/// `Σ (x - mean)` and `Σ (x - mean)²`.
///
/// # Safety
/// `x` holds `d` elements.
#[inline(always)]
unsafe fn sum_centred<I: Isa, S: Storage>(isa: I, x: *const S, mean: f32, d: usize) -> (f32, f32) {
    let centre = isa.splat(mean);
    let mut sums = [isa.splat(0.0); UNROLL];
    let mut squares = [isa.splat(0.0); UNROLL];
    let span = spans::<I, S, false>(isa, x, d);
    let (mut sum_left, mut squares_left) = (0.0, 0.0);
    // SAFETY: `x` holds `d` elements (`# Safety` of `sum_centred`); a block ends at `rest` or before, a register at
    // `whole`.
    unsafe {
        for at in (0..span.rest).step_by(UNROLL * I::LANES) {
            for (i, v) in S::load_block::<I, UNROLL>(isa, x.add(at)).into_iter().enumerate() {
                let v = isa.sub(v, centre);
                sums[i] = isa.add(sums[i], v);
                squares[i] = isa.mul_add(v, v, squares[i]);
            }
        }
        let whole = d / I::LANES * I::LANES;
        for at in (span.rest..whole).step_by(I::LANES) {
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
    (add_up(isa, sums) + sum_left, add_up(isa, squares) + squares_left)
}

/// The sum of all lanes.
#[inline(always)]
fn add_up<I: Isa>(isa: I, v: [I::V; UNROLL]) -> f32 {
    isa.reduce_add(isa.add(isa.add(v[0], v[1]), isa.add(v[2], v[3])))
}
