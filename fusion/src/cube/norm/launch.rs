//! The one entry to the kernel.

use super::kernel;
use crate::NormKind;
use crate::cube::limits::Limits;
use crate::cube::operands::{Operands, column, is_output};
use crate::cube::rows::{Blueprint, Strategy, find_row_stride};
use crate::cube::{CubeError, Unavailable};
use burn_backend::TensorMetadata;
use burn_cubecl::{CubeRuntime, kernel::into_contiguous, tensor::CubeTensor};
use burn_std::DType;
use cubecl::{CubeDim, prelude::CubeCount};

/// What is asked of the kernel.
#[derive(Debug)]
pub struct NormInputs<'a, R: CubeRuntime> {
    /// Which norm.
    pub kind: NormKind,
    /// `[.., d]`.
    pub x: &'a CubeTensor<R>,
    /// Added to `x` first: shape and dtype of `x`.
    pub residual: Option<&'a CubeTensor<R>>,
    /// `[d]`.
    pub gamma: &'a CubeTensor<R>,
    /// `[d]`, stored like `gamma`.
    pub beta: Option<&'a CubeTensor<R>>,
    /// Added to the variance or the mean square.
    pub epsilon: f64,
}

/// Where the results go: contiguous tensors that exist.
#[derive(Debug)]
pub struct NormOutputs<'a, R: CubeRuntime> {
    /// Shape and dtype of `x`.
    pub y: &'a CubeTensor<R>,
    /// Shape and dtype of `x`; there when there is a residual.
    pub sum: Option<&'a CubeTensor<R>>,
    /// f32, `[.., 1]`, where it is wanted.
    pub rstd: Option<&'a CubeTensor<R>>,
}

impl<'a, R: CubeRuntime> NormInputs<'a, R> {
    fn operands(&self) -> Operands<'a, R> {
        let name = match (self.kind, self.residual) {
            (NormKind::Rms, None) => "rms_norm",
            (NormKind::Rms, Some(_)) => "add_norm",
            (NormKind::Layer, _) => "layer_norm",
        };
        Operands::new(name, [Some(self.x), self.residual, Some(self.gamma), self.beta])
    }

    /// Elements in a row, when the operands fit each other.
    ///
    /// # Errors
    /// [`CubeError::InvalidShapes`] when they don't, or a row has no elements: the mean of nothing has no value.
    /// [`CubeError::InvalidDtype`] when one of them does not hold f32, f16 or bf16.
    pub(super) fn check(&self) -> Result<usize, CubeError> {
        let operands = self.operands();
        operands.check_floats()?;
        let shape = self.x.shape();
        let d = match shape.last() {
            Some(0) | None => return Err(operands.invalid("x must have a last dimension of 1 or more")),
            Some(&d) => d,
        };
        if self.gamma.shape().to_vec() != [d] {
            return Err(operands.invalid("gamma must have one dimension, the last one of x"));
        }
        if self.beta.is_some_and(|beta| beta.shape() != self.gamma.shape() || beta.dtype != self.gamma.dtype) {
            return Err(operands.invalid("beta must have shape and dtype of gamma"));
        }
        if self.residual.is_some_and(|residual| residual.shape() != shape || residual.dtype != self.x.dtype) {
            return Err(operands.invalid("the residual must have shape and dtype of x"));
        }
        Ok(d)
    }

    fn check_outputs(&self, outputs: &NormOutputs<'_, R>) -> Result<(), CubeError> {
        let (shape, dtype) = (self.x.shape(), self.x.dtype);
        let expected = "y and sum must be contiguous with the shape and dtype of x, rstd contiguous f32 [.., 1]";
        let fits = |tensor: &CubeTensor<R>| is_output(tensor, &shape, dtype);
        let invalid = |tensor| Err(self.operands().invalid_output(expected, tensor));
        if !fits(outputs.y) || outputs.sum.is_some() != self.residual.is_some() {
            return invalid(outputs.y);
        }
        match (outputs.sum, outputs.rstd) {
            (Some(sum), _) if !fits(sum) => invalid(sum),
            (_, Some(rstd)) if !is_output(rstd, &column(&shape), DType::F32) => invalid(rstd),
            _ => Ok(()),
        }
    }
}

/// How the kernel runs.
struct Plan {
    blueprint: Blueprint,
    cubes: CubeCount,
    /// Between rows of `x` and of the residual, in elements.
    distances: [usize; 2],
}

/// The kernel for rows of `d` elements.
fn plan<R: CubeRuntime>(inputs: &NormInputs<'_, R>, d: usize, strategy: Strategy) -> Result<Plan, Unavailable> {
    let (x, gamma) = (inputs.x, inputs.gamma);
    let limits = Limits::read(&x.client);
    let widths = x.client.io_optimized_vector_sizes(x.dtype.size().max(gamma.dtype.size()));
    let distance = |tensor: &CubeTensor<R>| find_row_stride(tensor).unwrap_or(d);
    let distances = [distance(x), inputs.residual.map_or(d, distance)];
    let blueprint = Blueprint::new(d, &distances, strategy, &limits, widths)?;
    let cubes = limits.spread(blueprint.count_cubes(x.shape().num_elements() / d))?;
    Ok(Plan { blueprint, cubes, distances })
}

/// How [`launch_norm`] would run the kernel.
///
/// # Errors
/// As [`launch_norm`].
pub fn explain_norm<R: CubeRuntime>(inputs: &NormInputs<'_, R>, strategy: Strategy) -> Result<Blueprint, CubeError> {
    let d = inputs.check()?;
    let operands = inputs.operands();
    operands.check_device(&[])?;
    plan(inputs, d, strategy).map(|plan| plan.blueprint).map_err(|reason| operands.unavailable(reason))
}

/// Runs the kernel. Padded rows are read where they are; any other strided operand is made contiguous first, at the
/// price of a copy. The result is enqueued, not awaited.
///
/// # Errors
/// [`CubeError::InvalidShapes`] or [`CubeError::InvalidDtype`] when the operands don't fit, [`CubeError::MixedDevices`]
/// when they live on different devices, [`CubeError::Unavailable`] when this device lacks what the kernel needs.
/// Nothing has been launched then.
pub fn launch_norm<R: CubeRuntime>(
    inputs: &NormInputs<'_, R>,
    outputs: &NormOutputs<'_, R>,
    strategy: Strategy,
) -> Result<(), CubeError> {
    let d = inputs.check()?;
    inputs.check_outputs(outputs)?;
    let operands = inputs.operands();
    let address = operands.check_device(&[Some(outputs.y), outputs.sum, outputs.rstd])?;
    let (x, gamma) = (inputs.x, inputs.gamma);
    let rows = x.shape().num_elements() / d;
    if rows == 0 {
        return Ok(());
    }

    let Plan { blueprint, cubes, distances } =
        plan(inputs, d, strategy).map_err(|reason| operands.unavailable(reason))?;
    let in_rows = |tensor: &CubeTensor<R>| match find_row_stride(tensor) {
        Some(_) => tensor.clone(),
        None => into_contiguous(tensor.clone()),
    };
    let vector = blueprint.vector;

    kernel::norm_rows::launch::<R>(
        &x.client,
        cubes,
        CubeDim::new_1d(blueprint.cube_units()),
        address,
        vector,
        in_rows(x).into_tensor_arg(),
        inputs.residual.map(|residual| in_rows(residual).into_tensor_arg()).into(),
        into_contiguous(gamma.clone()).into_array_arg(),
        inputs.beta.map(|beta| into_contiguous(beta.clone()).into_array_arg()).into(),
        outputs.y.clone().into_array_arg(),
        outputs.sum.map(|sum| sum.clone().into_array_arg()).into(),
        outputs.rstd.map(|rstd| rstd.clone().into_array_arg()).into(),
        rows,
        d / vector,
        distances[0] / vector,
        distances[1] / vector,
        (1.0 / d as f64) as f32,
        inputs.epsilon as f32,
        inputs.kind,
        blueprint,
        x.dtype.into(),
        gamma.dtype.into(),
    );
    Ok(())
}
