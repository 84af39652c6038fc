//! RMS norm: `y = x / √(mean(x²) + epsilon) · gamma` over the last dimension (Zhang and Sennrich 2019).
//!
//! ```text
//! a cube a row:
//!   each unit:  acc = Σ v² over vectors unit, unit + units, unit + 2·units, .. of the row     (f32, one lane sum a lane)
//!   the cube:   rstd = 1 / √(sum over lanes and units / d + epsilon)
//!   each unit:  y = v · rstd · gamma over the same vectors
//! ```
//!
//! Reads `x` twice and writes `y` once. The second read of a row comes from the cache that the first one filled: a row of the
//! models at hand is 8 to 20 KiB. Neighbouring units read neighbouring vectors, so loads coalesce.

mod blueprint;
mod kernel;
mod problem;

pub use blueprint::{Blueprint, Strategy};
pub use problem::Problem;
use problem::find_row_stride;

use super::{
    CubeError,
    limits::{Limits, check_address, check_storage},
};
use burn_backend::TensorMetadata;
use burn_cubecl::{CubeRuntime, kernel::into_contiguous, tensor::CubeTensor};
use burn_std::{DType, Shape};
use cubecl::CubeDim;

/// The kernel's name in errors.
const NAME: &str = "rms_norm";

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
/// Padded rows are read where they are; any other strided operand is made contiguous first, at the price of a copy. The result
/// is enqueued, not awaited.
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
    let problem = Problem::new(x, gamma)?;
    let output = RmsNormOutput {
        y: allocate_like(x, x.shape(), x.dtype),
        rstd: options.keep_rstd.then(|| allocate_like(x, problem.rstd_shape(), DType::F32)),
    };
    launch(x, gamma, &output, options.epsilon, options.strategy)?;
    Ok(output)
}

/// [`rms_norm`] into tensors that exist: `output.rstd` decides whether reciprocal deviations are written.
///
/// # Errors
/// [`CubeError::InvalidShapes`] or [`CubeError::InvalidDtype`] when the operands don't fit, [`CubeError::MixedDevices`] when they live on different devices,
/// [`CubeError::Unavailable`] when this device lacks what the kernel needs. Nothing has been launched then.
pub fn launch<R: CubeRuntime>(
    x: &CubeTensor<R>,
    gamma: &CubeTensor<R>,
    output: &RmsNormOutput<R>,
    epsilon: f64,
    strategy: Strategy,
) -> Result<(), CubeError> {
    let problem = Problem::new(x, gamma)?;
    problem.check_output(output)?;
    let devices = [Some(gamma), Some(&output.y), output.rstd.as_ref()];
    if devices.into_iter().flatten().any(|tensor| tensor.device != x.device) {
        return Err(CubeError::MixedDevices { kernel: NAME, shapes: problem.shapes() });
    }
    if problem.rows == 0 {
        return Ok(());
    }

    let client = x.client.clone();
    let unavailable = |reason| CubeError::Unavailable { kernel: NAME, reason, shapes: problem.shapes() };
    for dtype in [problem.x, problem.gamma] {
        check_storage(&client, dtype).map_err(unavailable)?;
    }
    let address = check_address(&client, &[x, gamma, &output.y]).map_err(unavailable)?;
    let limits = Limits::read(&client);
    let element_bytes = problem.x.size().max(problem.gamma.size());
    let widths = client.io_optimized_vector_sizes(element_bytes);
    let blueprint = Blueprint::new(&problem, strategy, &limits, widths).map_err(unavailable)?;
    let cubes = limits.spread(problem.rows).map_err(unavailable)?;
    let rows = if find_row_stride(x).is_some() { x.clone() } else { into_contiguous(x.clone()) };

    kernel::rms_norm_rows::launch::<R>(
        &client,
        cubes,
        CubeDim::new_1d(blueprint.units),
        address,
        blueprint.vector,
        rows.into_tensor_arg(),
        into_contiguous(gamma.clone()).into_array_arg(),
        output.y.clone().into_array_arg(),
        output.rstd.clone().map(|rstd| rstd.into_array_arg()).into(),
        problem.rows,
        problem.d / blueprint.vector,
        problem.row_stride / blueprint.vector,
        (1.0 / problem.d as f64) as f32,
        epsilon as f32,
        blueprint,
        problem.x.into(),
        problem.gamma.into(),
    );
    Ok(())
}

/// An uninitialised contiguous tensor on the device of `like`.
fn allocate_like<R: CubeRuntime>(like: &CubeTensor<R>, shape: Shape, dtype: DType) -> CubeTensor<R> {
    let handle = like.client.empty(shape.num_elements() * dtype.size());
    CubeTensor::new_contiguous(like.client.clone(), like.device.clone(), shape, handle, dtype)
}
