//! Residual addition and RMS norm: `sum = x + residual`, `normed = sum / √(mean(sum²) + epsilon) · gamma`.
//!
//! As two ops the sum would be read from device memory again: 5 row lengths of traffic in place of 4.

use super::{NormInputs, NormOutputs, launch_norm};
use crate::NormKind;
use crate::cube::operands::{allocate_like, column};
use crate::cube::{CubeError, rows::Strategy};
use burn_backend::TensorMetadata;
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use burn_std::DType;

/// What [`add_norm`] computes.
#[derive(Debug, Clone)]
pub struct AddNormOutput<R: CubeRuntime> {
    /// `x + residual`, rounded to the dtype of `x`.
    pub sum: CubeTensor<R>,
    /// The RMS norm of that sum: shape and dtype of `x`.
    pub normed: CubeTensor<R>,
    /// `1 / √(mean(sum²) + epsilon)`, f32, `[.., 1]`.
    pub rstd: CubeTensor<R>,
}

/// Residual addition and RMS norm in one pass, in f32 whatever the storage; strides as
/// [`rms_norm`](super::rms_norm::rms_norm).
///
/// # Shapes
/// `x` and `residual` `[.., d]`, stored alike; `gamma` `[d]`.
///
/// # Errors
/// As [`launch_norm`].
pub fn add_norm<R: CubeRuntime>(
    x: &CubeTensor<R>,
    residual: &CubeTensor<R>,
    gamma: &CubeTensor<R>,
    epsilon: f64,
    strategy: Strategy,
) -> Result<AddNormOutput<R>, CubeError> {
    let inputs = NormInputs { kind: NormKind::Rms, x, residual: Some(residual), gamma, beta: None, epsilon };
    inputs.check()?;
    let output = AddNormOutput {
        sum: allocate_like(x, x.shape(), x.dtype),
        normed: allocate_like(x, x.shape(), x.dtype),
        rstd: allocate_like(x, column(&x.shape()), DType::F32),
    };
    let outputs = NormOutputs { y: &output.normed, sum: Some(&output.sum), rstd: Some(&output.rstd) };
    launch_norm(&inputs, &outputs, strategy)?;
    Ok(output)
}
