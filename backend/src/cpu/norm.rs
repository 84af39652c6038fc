//! Norms over the last dimension.

use super::storage::{CpuBackend, OwnedFloats, View};
use crate::kernels::norm::{self, LayerNorm, Normed, RmsNorm, Rows};
use crate::kernels::{Floats, Launch};
use crate::routes::{Route, note};
use burn_backend::TensorMetadata;
use burn_backend::tensor::FloatTensor;
use burn_kiln_fusion::KernelConfig;
use burn_std::Shape;

/// Rows of a view whose last dimension is contiguous and not empty, and how many elements they hold.
fn rows<'a>(view: &View<'a>) -> Option<(Rows<'a>, usize)> {
    let rows = view.as_rows().filter(|rows| rows.d > 0 && (rows.stride == 1 || rows.d == 1))?;
    Some((Rows { data: view.data_from(view.offset), rows: rows.rows, stride: rows.row_stride }, rows.rows * rows.d))
}

/// A weight `[d]`.
fn weight<B: CpuBackend>(tensor: &FloatTensor<B>, d: usize) -> Option<Floats<'_>> {
    B::view(tensor)?.contiguous().filter(|weight| weight.len() == d)
}

/// The shape of one number a row.
fn column(shape: &[usize]) -> Shape {
    let mut shape = shape.to_vec();
    if let Some(last) = shape.last_mut() {
        *last = 1;
    }
    Shape::from(shape)
}

/// `(x - mean) / √(var + epsilon) · gamma + beta`.
#[allow(clippy::type_complexity)]
pub(super) fn layer<B: CpuBackend>(
    x: FloatTensor<B>,
    gamma: FloatTensor<B>,
    beta: Option<FloatTensor<B>>,
    epsilon: f64,
    config: &KernelConfig,
) -> Result<FloatTensor<B>, (FloatTensor<B>, FloatTensor<B>, Option<FloatTensor<B>>)> {
    let run = || {
        let view = B::view(&x)?;
        let (operand, len) = rows(&view)?;
        let beta = match &beta {
            Some(beta) => Some(weight::<B>(beta, view.last())?),
            None => None,
        };
        let norm = LayerNorm { gamma: weight::<B>(&gamma, view.last())?, beta, epsilon };
        let mut out = B::allocate(view.dtype(), len)?;
        norm::layer_norm(Launch::from(config), norm, operand, out.as_floats_mut());
        B::from_floats(out, x.shape())
    };
    // Where the types differ, B says what it thinks of that.
    let same = gamma.dtype() == x.dtype() && beta.as_ref().is_none_or(|beta| beta.dtype() == x.dtype());
    match if config.blocking.enabled && same { run() } else { None } {
        Some(output) => {
            note(Route::LayerNorm);
            Ok(output)
        }
        None => Err((x, gamma, beta)),
    }
}

/// `x / √(mean(x²) + epsilon) · gamma` and the reciprocal deviations.
#[allow(clippy::type_complexity)]
pub(super) fn rms<B: CpuBackend>(
    x: FloatTensor<B>,
    gamma: FloatTensor<B>,
    epsilon: f64,
    config: &KernelConfig,
) -> Result<(FloatTensor<B>, FloatTensor<B>), (FloatTensor<B>, FloatTensor<B>)> {
    let run = || {
        let view = B::view(&x)?;
        let (operand, len) = rows(&view)?;
        let norm = RmsNorm { gamma: weight::<B>(&gamma, view.last())?, epsilon };
        let mut out = B::allocate(view.dtype(), len)?;
        let mut rstd = vec![0.0; operand.rows];
        let to = Normed { out: out.as_floats_mut(), rstd: Some(&mut rstd) };
        norm::rms_norm(Launch::from(config), norm, operand, to);
        let rstd = B::from_floats(OwnedFloats::F32(rstd), column(&view.shape))?;
        Some((B::from_floats(out, x.shape())?, rstd))
    };
    match if config.blocking.enabled { run() } else { None } {
        Some(output) => {
            note(Route::RmsNorm);
            Ok(output)
        }
        None => Err((x, gamma)),
    }
}

/// `[x + residual, its RMS norm, the reciprocal deviations]`.
pub(super) fn add<B: CpuBackend>(
    x: FloatTensor<B>,
    residual: FloatTensor<B>,
    gamma: FloatTensor<B>,
    epsilon: f64,
    config: &KernelConfig,
) -> Result<[FloatTensor<B>; 3], [FloatTensor<B>; 3]> {
    let run = || {
        let (view, other) = (B::view(&x)?, B::view(&residual)?);
        let d = view.last();
        if view.shape != other.shape || view.dtype() != other.dtype() || d == 0 {
            return None;
        }
        let norm = RmsNorm { gamma: weight::<B>(&gamma, d)?, epsilon };
        let (left, right) = (view.contiguous()?, other.contiguous()?);
        let mut sum = B::allocate(view.dtype(), left.len())?;
        let mut normed = B::allocate(view.dtype(), left.len())?;
        let mut rstd = vec![0.0; left.len() / d];
        let to = Normed { out: normed.as_floats_mut(), rstd: Some(&mut rstd) };
        norm::add_norm(Launch::from(config), norm, [left, right], sum.as_floats_mut(), to);
        let rstd = B::from_floats(OwnedFloats::F32(rstd), column(&view.shape))?;
        Some([B::from_floats(sum, x.shape())?, B::from_floats(normed, x.shape())?, rstd])
    };
    match if config.blocking.enabled { run() } else { None } {
        Some(outputs) => {
            note(Route::AddNorm);
            Ok(outputs)
        }
        None => Err([x, residual, gamma]),
    }
}
