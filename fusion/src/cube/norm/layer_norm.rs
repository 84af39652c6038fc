//! Layer norm: `y = (x - mean(x)) / √(var(x) + epsilon) · gamma + beta` over the last dimension (Ba, Kiros and Hinton
//! 2016).

use super::{NormInputs, NormOutputs, launch_norm};
use crate::NormKind;
use crate::cube::operands::allocate_like;
use crate::cube::{CubeError, rows::Strategy};
use burn_backend::TensorMetadata;
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};

/// Layer norm in f32 whatever the storage; strides as [`rms_norm`](super::rms_norm::rms_norm).
///
/// # Shapes
/// `x` `[.., d]`; `gamma` and `beta` `[d]`, stored alike; the result like `x`.
///
/// # Errors
/// As [`launch_norm`].
pub fn layer_norm<R: CubeRuntime>(
    x: &CubeTensor<R>,
    gamma: &CubeTensor<R>,
    beta: Option<&CubeTensor<R>>,
    epsilon: f64,
    strategy: Strategy,
) -> Result<CubeTensor<R>, CubeError> {
    let inputs = NormInputs { kind: NormKind::Layer, x, residual: None, gamma, beta, epsilon };
    inputs.check()?;
    let y = allocate_like(x, x.shape(), x.dtype);
    launch_norm(&inputs, &NormOutputs { y: &y, sum: None, rstd: None }, strategy)?;
    Ok(y)
}
