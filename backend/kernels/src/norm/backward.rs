//! Gradients of norms.
//!
//! With `n = (x - mean) · rstd` (RMS norm: without a mean) and `h = grad · gamma`:
//! ```text
//! dx     = rstd · (h - mean(h) - n · mean(h · n))        RMS norm: without mean(h)
//! dgamma = Σ grad · n,  dbeta = Σ grad                   over all rows
//! ```
//! A row comes from memory once: the first pass over it sums `h · n` (and `h`) and adds to the sums over rows, the
//! second writes dx. Sums over rows do not depend on the number of threads (rows/column_sums.rs). Inputs of 16 bits are
//! widened row by row, gradients are f32.

use super::operand::NormRows;
use super::row_writer::{Columns, RowWalk, RowWriter, WriteRows};
use crate::memory::PooledBytes;
use crate::rows::{
    AnySource, ColumnSums, RowReader, Source, Target, UNROLL, Widened, load, load_or, prefetch_block,
    prefetch_elements, share, spans, store, streams_rows,
};
use crate::simd::Isa;
use crate::{Caches, Floats, Launch, Storage};

/// A norm and what its forward kept.
#[derive(Debug, Clone, Copy)]
pub struct NormBackward<'a> {
    /// `[d]`.
    pub gamma: Floats<'a>,
    /// Of a layer norm: the mean of each row, `[rows]`. None is an RMS norm.
    pub mean: Option<&'a [f32]>,
    /// `[rows]`.
    pub rstd: &'a [f32],
}

/// What a gradient is made of: rows of `d` elements each, of any types.
#[derive(Debug, Clone, Copy)]
pub struct NormGradInputs<'a> {
    /// The norm's input.
    pub x: NormRows<'a>,
    /// Gradient of its output.
    pub grad: NormRows<'a>,
    /// Added to dx: the gradient that the sum of a residual addition got from elsewhere.
    pub residual: Option<NormRows<'a>>,
}

/// Gradients of a norm's weights.
#[derive(Debug)]
pub struct NormWeightGrads<'a> {
    /// `[d]`.
    pub gamma: &'a mut [f32],
    /// `[d]`; of a layer norm alone.
    pub beta: Option<&'a mut [f32]>,
}

/// Writes `dx`, `[rows, d]`, and the gradients of the weights.
///
/// # Panics
/// If lengths do not fit, or there is a residual or no beta's gradient for a layer norm.
pub fn norm_backward(
    launch: Launch,
    norm: NormBackward<'_>,
    inputs: NormGradInputs<'_>,
    dx: &mut [f32],
    weights: NormWeightGrads<'_>,
) {
    let NormGradInputs { x, grad, residual } = inputs;
    let residual = residual.map(Rows::new);
    run(launch, norm, [Rows::new(x), Rows::new(grad)], residual, Target::new(dx), weights);
}

/// The same with `dx` in place of the gradient of the output, `[rows, d]`.
///
/// # Panics
/// As [`norm_backward`].
pub fn norm_backward_in_place(
    launch: Launch,
    norm: NormBackward<'_>,
    x: NormRows<'_>,
    grad: &mut [f32],
    residual: Option<NormRows<'_>>,
    weights: NormWeightGrads<'_>,
) {
    let d = norm.gamma.len();
    let dx = Target::new(grad);
    let grad = Rows { data: AnySource::F32(dx.source()), rows: dx.len().checked_div(d).unwrap_or(0), stride: d };
    run(launch, norm, [Rows::new(x), grad], residual.map(Rows::new), dx, weights);
}

/// [`NormRows`] that threads share.
#[derive(Clone, Copy)]
struct Rows {
    data: AnySource,
    rows: usize,
    stride: usize,
}

impl Rows {
    fn new(NormRows { data, rows, stride }: NormRows<'_>) -> Self {
        Self { data: AnySource::new(data), rows, stride }
    }
}

fn run(
    launch: Launch,
    norm: NormBackward<'_>,
    [x, grad]: [Rows; 2],
    residual: Option<Rows>,
    dx: Target<f32>,
    to: NormWeightGrads<'_>,
) {
    let (d, rows) = (norm.gamma.len(), x.rows);
    let is_layer = norm.mean.is_some();
    assert_eq!(rows * d, dx.len(), "elements of {rows} rows of {d}");
    let others = residual.map_or(rows, |residual| residual.rows);
    assert_eq!([rows; 3], [grad.rows, others, norm.rstd.len()], "rows of x, of both gradients and of rstd");
    assert!(norm.mean.is_none_or(|mean| mean.len() == rows), "one mean a row");
    assert!(!(is_layer && residual.is_some()), "a residual addition before an RMS norm alone");
    assert_eq!(d, to.gamma.len(), "elements of gamma's gradient");
    assert_eq!(is_layer.then_some(d), to.beta.as_ref().map(|beta| beta.len()), "elements of beta's gradient");
    if d == 0 {
        return;
    }
    let gamma = Widened::new::<f32>(launch, norm.gamma);
    let (gamma, rstd) = (Source::new(gamma.get()), Source::new(norm.rstd));
    let mean = norm.mean.map_or(rstd, Source::new);
    let operands = [Some(x), Some(grad), residual];
    let in_place = matches!(grad.data, AnySource::F32(grad) if grad.start() == dx.source().start());
    let stream = !in_place && streams_rows(dx.source().start(), d, rows);
    let is_f32 = operands.into_iter().flatten().all(|operand| matches!(operand.data, AnySource::F32(_)));
    // Rows of 16 bits are read elsewhere, and those that the second-level cache holds need no prefetch.
    let prefetches = is_f32 && 2 * size_of::<f32>() * rows * d > Caches::detect().l2;
    let ahead = if prefetches { prefetch_elements::<f32>(launch, x.stride) } else { 0 };
    let walk = RowWalk::new::<f32>(launch, [d, x.stride], 3, stream).prefetching(ahead);
    let launch = share(launch, (3 + usize::from(residual.is_some())) * size_of::<f32>() * rows * d);
    let mut sums = ColumnSums::new(rows, d * (1 + usize::from(is_layer)));
    sums.add_groups(launch, |part, sums| {
        if part.is_empty() {
            return;
        }
        let widths = operands.map(|rows| rows.map_or(0, |rows| RowReader::scratch(rows.data, d)));
        let mut scratch = PooledBytes::take(size_of::<f32>() * widths.iter().sum::<usize>());
        let mut at = scratch.as_mut_slice().as_mut_ptr().cast::<f32>();
        let mut readers = operands.into_iter().zip(widths).map(|(rows, width)| {
            let own = at;
            at = at.wrapping_add(width);
            // SAFETY: the scratch memory holds `width` floats for each operand, and is this thread's while it reads.
            rows.map(|rows| (unsafe { RowReader::new(rows.data, own, d) }, rows.stride))
        });
        let [x, grad, residual] = core::array::from_fn(|_| readers.next().flatten());
        let Some((x, grad)) = x.zip(grad) else { return };
        let writer = BackwardRows::<false, false> {
            x,
            grad,
            residual,
            first: part.start,
            mean: mean.part(&part),
            rstd: rstd.part(&part),
            gamma: gamma.part(&(0..d)),
            dx: dx.part(&(part.start * d..part.end * d)),
            sums: sums.as_mut_ptr(),
            d,
        };
        // SAFETY: readers check each row; `part` checked that the others hold these rows of d elements, and the sums
        // hold d columns, 2d of a layer norm.
        unsafe {
            match (is_layer, residual.is_some()) {
                (true, _) => launch.tier.run(WriteRows::new(writer.of::<true, false>(), walk, part.len())),
                (false, true) => launch.tier.run(WriteRows::new(writer.of::<false, true>(), walk, part.len())),
                (false, false) => launch.tier.run(WriteRows::new(writer, walk, part.len())),
            }
        }
    });
    let sums = sums.finish(launch);
    let sums: &[f32] = bytemuck::cast_slice(sums.as_slice());
    to.gamma.copy_from_slice(&sums[..d]);
    if let Some(beta) = to.beta {
        beta.copy_from_slice(&sums[d..2 * d]);
    }
}

/// Rows of one group; of a layer norm with `LAYER`, with a residual's gradient with `ADD`.
struct BackwardRows<const LAYER: bool, const ADD: bool> {
    /// Each with the elements between its rows.
    x: (RowReader, usize),
    grad: (RowReader, usize),
    residual: Option<(RowReader, usize)>,
    /// Number of the group's first row.
    first: usize,
    /// Those of the group's rows, like `rstd`, `dx`.
    mean: *const f32,
    rstd: *const f32,
    gamma: *const f32,
    dx: *mut f32,
    /// d of gamma, then d of beta.
    sums: *mut f32,
    d: usize,
}

impl BackwardRows<false, false> {
    fn of<const LAYER: bool, const ADD: bool>(self) -> BackwardRows<LAYER, ADD> {
        let Self { x, grad, residual, first, mean, rstd, gamma, dx, sums, d } = self;
        BackwardRows { x, grad, residual, first, mean, rstd, gamma, dx, sums, d }
    }
}

/// A row's operands as f32, and its numbers.
#[derive(Debug, Clone, Copy)]
struct RowNumbers {
    x: *const f32,
    grad: *const f32,
    /// `grad` where there is none.
    residual: *const f32,
    mean: f32,
    rstd: f32,
    /// `mean(h · n)`.
    along: f32,
    /// `mean(h)`; of a layer norm.
    shift: f32,
}

/// `n`.
#[inline(always)]
fn normalize<I: Isa, const LAYER: bool>(isa: I, x: I::V, [mean, rstd]: [I::V; 2]) -> I::V {
    if LAYER { isa.mul(isa.sub(x, mean), rstd) } else { isa.mul(x, rstd) }
}

/// dx of an element of x, of the gradient, of gamma and of the residual's gradient.
#[inline(always)]
fn differentiate<I: Isa, const LAYER: bool, const ADD: bool>(
    isa: I,
    [x, grad, gamma, residual]: [I::V; 4],
    [mean, rstd, along, shift]: [I::V; 4],
) -> I::V {
    let n = normalize::<I, LAYER>(isa, x, [mean, rstd]);
    let h = isa.mul(grad, gamma);
    let h = if LAYER { isa.sub(h, shift) } else { h };
    let across = isa.neg_mul_add(n, along, h);
    if ADD { isa.mul_add(across, rstd, residual) } else { isa.mul(across, rstd) }
}

/// The sum of all lanes.
#[inline(always)]
fn add_up<I: Isa>(isa: I, v: [I::V; UNROLL]) -> f32 {
    isa.reduce_add(isa.add(isa.add(v[0], v[1]), isa.add(v[2], v[3])))
}

impl<const LAYER: bool, const ADD: bool> RowWriter for BackwardRows<LAYER, ADD> {
    type Measured = RowNumbers;
    const PREFETCHES_ALWAYS: bool = true;

    #[inline(always)]
    unsafe fn measure<I: Isa, const STREAM: bool>(&self, isa: I, row: usize) -> RowNumbers {
        let d = self.d;
        let row_of_all = self.first + row;
        let (x, grad) = (self.x.0.read(isa, row_of_all * self.x.1), self.grad.0.read(isa, row_of_all * self.grad.1));
        let residual = match &self.residual {
            Some((reader, stride)) if ADD => reader.read(isa, row_of_all * stride),
            _ => grad,
        };
        // SAFETY: the row exists, by the `# Safety` clause of `RowWriter::measure`.
        let [mean, rstd] = unsafe { [if LAYER { *self.mean.add(row) } else { 0.0 }, *self.rstd.add(row)] };
        let (numbers, span) = ([isa.splat(mean), isa.splat(rstd)], spans::<I, f32, false>(isa, x, d));
        let (mut along, mut shift) = ([isa.splat(0.0); UNROLL], [isa.splat(0.0); UNROLL]);
        // SAFETY: readers checked that rows hold d elements; gamma and the sums do (2d of a layer norm), by the `SAFETY`
        // of `run`; a block ends at `rest` or before, and at + lanes ≤ d. In empty lanes `n` and `h` are 0.
        unsafe {
            for at in (0..span.rest).step_by(UNROLL * I::LANES) {
                for i in 0..UNROLL {
                    let at = at + i * I::LANES;
                    let n = normalize::<I, LAYER>(isa, isa.load(x.add(at)), numbers);
                    let g = isa.load(grad.add(at));
                    let h = isa.mul(g, isa.load(self.gamma.add(at)));
                    along[i] = isa.mul_add(h, n, along[i]);
                    let sum = self.sums.add(at);
                    isa.store(sum, isa.mul_add(g, n, isa.load(sum)));
                    if LAYER {
                        shift[i] = isa.add(shift[i], h);
                        let sum = self.sums.add(d + at);
                        isa.store(sum, isa.add(isa.load(sum), g));
                    }
                }
            }
            for at in (span.rest..d).step_by(I::LANES) {
                let lanes = I::LANES.min(d - at);
                let n = normalize::<I, LAYER>(isa, load_or(isa, x.add(at), lanes, mean), numbers);
                let g = load(isa, grad.add(at), lanes);
                let h = isa.mul(g, load(isa, self.gamma.add(at), lanes));
                along[0] = isa.mul_add(h, n, along[0]);
                let sum = self.sums.add(at);
                store(isa, sum, isa.mul_add(g, n, load(isa, sum, lanes)), lanes);
                if LAYER {
                    shift[0] = isa.add(shift[0], h);
                    let sum = self.sums.add(d + at);
                    store(isa, sum, isa.add(load(isa, sum, lanes), g), lanes);
                }
            }
        }
        let (along, shift) = (add_up(isa, along) / d as f32, add_up(isa, shift) / d as f32);
        RowNumbers { x, grad, residual, mean, rstd, along, shift }
    }

    #[inline(always)]
    unsafe fn write<I: Isa, const STREAM: bool, const PREFETCH: bool>(
        &self,
        isa: I,
        row: usize,
        numbers: RowNumbers,
        Columns { at: column, n: d, ahead }: Columns,
    ) {
        let RowNumbers { x, grad, residual, mean, rstd, along, shift } = numbers;
        let (along, shift) = (isa.splat(along), isa.splat(shift));
        let [mean, rstd] = [mean, rstd].map(|number| isa.splat(number));
        // SAFETY: row and columns exist, by the `# Safety` clause of `RowWriter::write`; gamma holds d elements.
        let (x, grad, residual, gamma, dx) = unsafe {
            let (x, grad, residual) = (x.add(column), grad.add(column), residual.add(column));
            (x, grad, residual, self.gamma.add(column), self.dx.add(row * self.d + column))
        };
        let numbers = [mean, rstd, along, shift];
        let span = spans::<I, f32, false>(isa, dx, d);
        // SAFETY: columns exist, by the `# Safety` clause of `RowWriter::write`; a block ends at `rest` or before, and
        // at + n ≤ d. An element of the gradient is read before dx is written in its place.
        unsafe {
            for at in (0..span.rest).step_by(UNROLL * I::LANES) {
                let mut v = [isa.splat(0.0); UNROLL];
                for (i, v) in v.iter_mut().enumerate() {
                    let at = at + i * I::LANES;
                    let added = if ADD { isa.load(residual.add(at)) } else { isa.splat(0.0) };
                    let element = [isa.load(x.add(at)), isa.load(grad.add(at)), isa.load(gamma.add(at)), added];
                    *v = differentiate::<I, LAYER, ADD>(isa, element, numbers);
                }
                if PREFETCH {
                    prefetch_block(isa, x.wrapping_add(ahead + at));
                    prefetch_block(isa, grad.wrapping_add(ahead + at));
                    if ADD {
                        prefetch_block(isa, residual.wrapping_add(ahead + at));
                    }
                }
                f32::store_block::<I, UNROLL, STREAM>(isa, dx.add(at), v);
            }
            for at in (span.rest..d).step_by(I::LANES) {
                let n = I::LANES.min(d - at);
                let (x, g) = (load(isa, x.add(at), n), load(isa, grad.add(at), n));
                let gamma = load(isa, gamma.add(at), n);
                let added = if ADD { load(isa, residual.add(at), n) } else { isa.splat(0.0) };
                let v = differentiate::<I, LAYER, ADD>(isa, [x, g, gamma, added], numbers);
                store(isa, dx.add(at), v, n);
            }
        }
    }
}
