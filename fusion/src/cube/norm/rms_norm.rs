//! RMS norm: `y = x / √(mean(x²) + epsilon) · gamma` over the last dimension (Zhang and Sennrich 2019).

use super::{NormInputs, NormOutputs, launch_norm};
use crate::NormKind;
use crate::cube::CubeError;
use crate::cube::operands::{allocate_like, column};
pub use crate::cube::rows::Strategy;
use burn_backend::TensorMetadata;
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use burn_std::DType;

/// What the kernel computes.
#[derive(Debug, Clone)]
pub struct RmsNormOutput<R: CubeRuntime> {
    /// The normalised rows: shape and dtype of `x`.
    pub y: CubeTensor<R>,
    /// `1 / √(mean(x²) + epsilon)` of each row, f32, `[.., 1]`, when it was asked for: the backward pass needs it.
    pub rstd: Option<CubeTensor<R>>,
}

/// How to call [`rms_norm`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RmsNormOptions {
    /// Added to the mean square.
    pub epsilon: f64,
    /// Whether to keep the reciprocal deviations.
    pub keep_rstd: bool,
    /// How the kernel is made.
    pub strategy: Strategy,
}

impl RmsNormOptions {
    /// Nothing kept, strategy chosen by the device.
    pub fn new(epsilon: f64) -> Self {
        Self { epsilon, keep_rstd: false, strategy: Strategy::Auto }
    }

    /// Also gives [`RmsNormOutput::rstd`].
    pub fn with_rstd(self) -> Self {
        Self { keep_rstd: true, ..self }
    }

    /// Overrides the strategy.
    pub fn with_strategy(self, strategy: Strategy) -> Self {
        Self { strategy, ..self }
    }
}

/// `x / √(mean(x²) + epsilon) · gamma` over the last dimension, in f32 whatever the storage.
///
/// Padded rows are read where they are; any other strided operand is made contiguous first, at the price of a copy. The
/// result is enqueued, not awaited.
///
/// # Shapes
/// `x` `[.., d]`, `gamma` `[d]`, each f32, f16 or bf16, independently; `y` like `x`.
///
/// # Errors
/// As [`launch`].
pub fn rms_norm<R: CubeRuntime>(
    x: &CubeTensor<R>,
    gamma: &CubeTensor<R>,
    options: RmsNormOptions,
) -> Result<RmsNormOutput<R>, CubeError> {
    let inputs = describe(x, gamma, options.epsilon);
    inputs.check()?;
    let output = RmsNormOutput {
        y: allocate_like(x, x.shape(), x.dtype),
        rstd: options.keep_rstd.then(|| allocate_like(x, column(&x.shape()), DType::F32)),
    };
    launch(x, gamma, &output, options.epsilon, options.strategy)?;
    Ok(output)
}

/// [`rms_norm`] into tensors that exist: `output.rstd` decides whether reciprocal deviations are written.
///
/// # Errors
/// As [`launch_norm`].
pub fn launch<R: CubeRuntime>(
    x: &CubeTensor<R>,
    gamma: &CubeTensor<R>,
    output: &RmsNormOutput<R>,
    epsilon: f64,
    strategy: Strategy,
) -> Result<(), CubeError> {
    let outputs = NormOutputs { y: &output.y, sum: None, rstd: output.rstd.as_ref() };
    launch_norm(&describe(x, gamma, epsilon), &outputs, strategy)
}

fn describe<'a, R: CubeRuntime>(x: &'a CubeTensor<R>, gamma: &'a CubeTensor<R>, epsilon: f64) -> NormInputs<'a, R> {
    NormInputs { kind: NormKind::Rms, x, residual: None, gamma, beta: None, epsilon }
}
