//! The cross entropy of a language model's head by chunks of positions.
//!
//! ```text
//! for chunks of the positions that count
//!     L  = H·Wᵀ                             tiled product, [chunk, vocab], the only logits there are
//!     L  = share · (softmax(L) - onehot)    cross_entropy.rs, in place; without gradients only lse and loss
//!     dH = L·W                              tiled products
//!     dW += Lᵀ·H                            in place
//! ```
//!
//! One product for the loss and two for its gradients, where a backward that computes logits again has four. Positions
//! whose target is ignored are left out of all of them: their rows are not gathered.

use super::cross_entropy::{RowLoss, cross_entropy};
use crate::config::KernelConfig;
use crate::gemm::{Epilogue, GemmError, Matrix, OutMatrix, Residual, gemm};
use crate::memory::PooledBytes;
use crate::planning::{ProductShape, plan_product};
use crate::{Floats, FloatsMut, Launch};

/// A head and the positions that it is asked about.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// Hidden states, `[positions, width]`, row after row.
    pub hidden: &'a [f32],
    /// `[vocab, width]`, of any float type.
    pub weight: Matrix<'a>,
    /// The target of each position; none for one that does not count.
    pub targets: &'a [Option<usize>],
}

/// Where gradients go.
#[derive(Debug)]
pub struct HeadGradients<'a> {
    /// The gradient of each counted position's loss.
    pub share: f32,
    /// Of the hidden states, `[positions, width]`: 0 for positions that do not count.
    pub hidden: &'a mut [f32],
    /// Of the weight, `[vocab, width]`, where one is wanted.
    pub weight: Option<&'a mut [f32]>,
    /// Whether that of the weight is added to what is there.
    pub adds: bool,
}

/// The loss of all positions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeadLoss {
    /// `Σ` of the losses of the positions that count.
    pub sum: f64,
    /// How many count.
    pub count: usize,
}

/// The cross entropy of `head` and, where they are wanted, its gradients; `lse` gets the log-sum-exp of each position
/// that counts and 0 for the others.
///
/// `chunk` positions have logits at one time; `2 · positions · vocab · width` FLOP, and three times that with all
/// gradients.
///
/// # Errors
/// [`GemmError`] where sizes do not fit; nothing was written then.
///
/// # Panics
/// If a target is no row of the weight.
pub fn head_cross_entropy(
    config: &KernelConfig,
    head: Head<'_>,
    chunk: usize,
    lse: &mut [f32],
    mut gradients: Option<HeadGradients<'_>>,
) -> Result<HeadLoss, GemmError> {
    let Head { hidden, weight, targets } = head;
    let (vocab, width) = (weight.rows(), weight.cols());
    let positions = targets.len();
    let fits = |what, found| check(what, positions.saturating_mul(width), found);
    fits("elements of the hidden states", hidden.len())?;
    check("log-sum-exps", positions, lse.len())?;
    if let Some(HeadGradients { hidden, weight, .. }) = &gradients {
        fits("elements of the gradient of the hidden states", hidden.len())?;
        if let Some(weight) = weight {
            check("elements of the gradient of the weight", vocab.saturating_mul(width), weight.len())?;
        }
    }
    let counted: Vec<usize> = (0..positions).filter(|&position| targets[position].is_some()).collect();
    let ids: Vec<usize> = targets.iter().copied().flatten().collect();
    lse.fill(0.0);
    if let Some(HeadGradients { hidden, weight, adds, .. }) = &mut gradients {
        if counted.len() < positions {
            hidden.fill(0.0);
        }
        if let (true, false, Some(weight)) = (counted.is_empty(), *adds, weight) {
            weight.fill(0.0);
        }
    }
    // Equal chunks: each reads and writes the gradient of the weight once.
    let chunk = counted.len().div_ceil(counted.len().div_ceil(chunk.max(1)).max(1));
    let mut logits = PooledBytes::take(chunk * vocab * size_of::<f32>());
    let mut rows = PooledBytes::take(if counted.len() < positions { chunk * width * size_of::<f32>() } else { 0 });
    let mut losses = vec![RowLoss::default(); chunk];
    let mut sum = 0.0f64;
    for (index, counted) in counted.chunks(chunk.max(1)).enumerate() {
        let (first, len) = (index * chunk, counted.len());
        let whole = first..first + len;
        let gathers = counted.len() < positions && counted != whole.clone().collect::<Vec<_>>();
        let logits: &mut [f32] = &mut bytemuck::cast_slice_mut(logits.as_mut_slice())[..len * vocab];
        let rows: &mut [f32] = bytemuck::cast_slice_mut(rows.as_mut_slice());
        let h = if gathers {
            for (to, &from) in rows.chunks_exact_mut(width.max(1)).zip(counted) {
                to.copy_from_slice(&hidden[from * width..(from + 1) * width]);
            }
            &rows[..len * width]
        } else {
            &hidden[first * width..(first + len) * width]
        };
        let h = Matrix::row_major(Floats::F32(h), len, width)?;
        multiply(config, h, weight.transposed(), logits, false)?;
        let share = gradients.as_ref().map(|gradients| gradients.share);
        let (ids, losses) = (&ids[whole], &mut losses[..len]);
        cross_entropy(Launch::from(config), logits, vocab, ids, share, losses);
        for (&position, RowLoss { lse: row, loss }) in counted.iter().zip(losses) {
            lse[position] = *row;
            sum += f64::from(*loss);
        }
        let Some(HeadGradients { hidden: to, weight: of_weight, adds, .. }) = &mut gradients else { continue };
        let slopes = Matrix::row_major(Floats::F32(logits), len, vocab)?;
        if let Some(of_weight) = of_weight {
            multiply(config, slopes.transposed(), h, of_weight, *adds || index > 0)?;
        }
        if !gathers {
            multiply(config, slopes, weight, &mut to[first * width..(first + len) * width], false)?;
            continue;
        }
        multiply(config, slopes, weight, &mut rows[..len * width], false)?;
        for (from, &position) in rows.chunks_exact(width.max(1)).zip(counted) {
            to[position * width..(position + 1) * width].copy_from_slice(from);
        }
    }
    Ok(HeadLoss { sum, count: counted.len() })
}

/// `a · b` in `out`, added to what is there where `adds` says so.
fn multiply(config: &KernelConfig, a: Matrix<'_>, b: Matrix<'_>, out: &mut [f32], adds: bool) -> Result<(), GemmError> {
    let plan = plan_product(ProductShape::of(&a, &b), config);
    let mut out = OutMatrix::row_major(FloatsMut::F32(out), a.rows(), b.cols())?;
    let residual = if adds { Residual::Output } else { Residual::None };
    gemm(&plan, &a, &b, &mut out, &Epilogue::residual(residual))
}

/// Fails unless `found` is `expected`.
fn check(what: &'static str, expected: usize, found: usize) -> Result<(), GemmError> {
    if expected == found { Ok(()) } else { Err(GemmError::Shape { what, expected, found }) }
}
