//! Gradients of norms.
//!
//! With `n = (x - mean) · rstd` (RMS norm: without a mean) and `h = grad · gamma`:
//! ```text
//! dx     = rstd · (h - mean(h) - n · mean(h · n))        RMS norm: without mean(h)
//! dgamma = Σ grad · n,  dbeta = Σ grad                   over all rows
//! ```
//! A row comes from memory once. A few rows at a time, which the second-level cache holds, are walked twice:
//! ```text
//! each row                          Σ h · n, and Σ h
//! each block of columns             gamma and the sums over rows in registers
//!     each of the rows              dx; the sums grow
//! ```
//! So the sums over rows are loaded and stored once for all of those rows. They do not depend on the number of threads
//! (rows/column_sums.rs). Inputs of 16 bits are widened row by row, gradients are f32.

use super::backward_rows::{BackwardRows, MOST_ROWS, Operand, Walk};
use super::operand::NormRows;
use crate::memory::PooledBytes;
use crate::rows::{AnySource, ColumnSums, RowReader, Source, Target, Widened, prefetch_elements, share, streams_rows};
use crate::{Caches, Floats, Launch};

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
    let fetches_dx = !stream && !in_place;
    let is_f32 = operands.into_iter().flatten().all(|operand| matches!(operand.data, AnySource::F32(_)));
    let batch = batch_rows(launch, d);
    // Rows of 16 bits are widened when the first walk reads them, and what the second-level cache holds is at hand.
    let prefetches = is_f32 && 2 * size_of::<f32>() * rows * d > Caches::detect().l2;
    let ahead = if prefetches && (residual.is_some() || fetches_dx) {
        prefetch_elements::<f32>(launch, AHEAD / size_of::<f32>())
    } else {
        0
    };
    let walk = Walk { rows: 0, d, batch, stream, ahead, fetches_dx };
    let launch = share(launch, (3 + usize::from(residual.is_some())) * size_of::<f32>() * rows * d);
    let mut sums = ColumnSums::new(rows, d * (1 + usize::from(is_layer)));
    sums.add_groups(launch, |part, sums| {
        if part.is_empty() {
            return;
        }
        let widths = operands.map(|rows| rows.map_or(0, |rows| batch * RowReader::scratch(rows.data, d)));
        let mut scratch = PooledBytes::take(size_of::<f32>() * widths.iter().sum::<usize>());
        let mut at = scratch.as_mut_slice().as_mut_ptr().cast::<f32>();
        let mut readers = operands.into_iter().zip(widths).map(|(rows, width)| {
            let own = at;
            at = at.wrapping_add(width);
            let Rows { data, stride, .. } = rows?;
            // SAFETY: the scratch memory holds `width` floats for each operand, and is this thread's while it reads.
            Some(Operand { reader: unsafe { RowReader::new(data, own, d) }, stride, first: part.start })
        });
        let [x, grad, residual] = core::array::from_fn(|_| readers.next().flatten());
        let Some((x, grad)) = x.zip(grad) else { return };
        let all = BackwardRows::<false, false> {
            x,
            grad,
            residual,
            mean: mean.part(&part),
            rstd: rstd.part(&part),
            gamma: gamma.part(&(0..d)),
            dx: dx.part(&(part.start * d..part.end * d)),
            sums: sums.as_mut_ptr(),
            walk: Walk { rows: part.len(), ..walk },
        };
        // SAFETY: readers check each row; `part` checked that the others hold these rows of d elements, and the sums
        // hold d columns, 2d of a layer norm.
        unsafe {
            match (is_layer, residual.is_some()) {
                (true, _) => launch.tier.run(all.of::<true, false>().checked()),
                (false, true) => launch.tier.run(all.of::<false, true>().checked()),
                (false, false) => launch.tier.run(all.checked()),
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

/// Rows that are walked twice together: those whose operands fill two first-level caches.
fn batch_rows(launch: Launch, d: usize) -> usize {
    (2 * (launch.block / (2 * size_of::<f32>())) / d).clamp(1, MOST_ROWS)
}

/// Bytes ahead of which rows are prefetched that only the second walk touches. (x and the gradient are not: the
/// hardware does it better, 1.05 to 1.15 times from caches and memory.)
const AHEAD: usize = 8 << 10;
