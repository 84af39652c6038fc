//! Softmax and log-softmax over the last dimension.
//!
//! ```text
//! each unit:  over its vectors, online (Milakov and Gimelshein 2018):  m' = max(m, v), s = s · e^{m - m'} + e^{v - m'}
//! the row:    M = max m,  S = Σ s · e^{m - M}
//! each unit:  e^{v - M} / S,  or  v - M - ln S
//! ```
//!
//! Rows of any length, without a row's exponentials in memory. `m` starts at the lowest finite f32: a score of -∞ then
//! adds 0, and a row of nothing else is 0/0, NaN, as in PyTorch.

use super::limits::Limits;
use super::operands::{Operands, allocate_like, is_output};
use super::rows::{Blueprint, Strategy, find_row, find_row_stride, find_unit, max_row, sum_lanes, sum_row};
use super::store::round_store;
use super::{CubeError, Unavailable};
use burn_backend::TensorMetadata;
use burn_cubecl::{CubeRuntime, kernel::into_contiguous, tensor::CubeTensor};
use cubecl::prelude::*;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SoftmaxForm {
    /// `eˣ / Σ eˣ`.
    Plain,
    /// `x - ln Σ eˣ`.
    Log,
}

/// Softmax of each row, in f32 whatever the storage. Padded rows are read where they are; any other strided operand is
/// made contiguous first, at the price of a copy. The result is enqueued, not awaited.
///
/// # Shapes
/// `x` `[.., d]`, f32, f16 or bf16; the result like `x`, contiguous. Nothing is launched where there are no elements.
///
/// # Errors
/// As [`launch`].
pub fn softmax<R: CubeRuntime>(
    x: &CubeTensor<R>,
    form: SoftmaxForm,
    strategy: Strategy,
) -> Result<CubeTensor<R>, CubeError> {
    let y = allocate_like(x, x.shape(), x.dtype);
    launch(x, &y, form, strategy)?;
    Ok(y)
}

/// [`softmax`] into a tensor that exists.
///
/// # Errors
/// [`CubeError::InvalidShapes`] when `x` has no dimension or `y` is not a contiguous tensor like it,
/// [`CubeError::InvalidDtype`] when `x` does not hold floats, [`CubeError::MixedDevices`], [`CubeError::Unavailable`].
/// Nothing has been launched then.
pub fn launch<R: CubeRuntime>(
    x: &CubeTensor<R>,
    y: &CubeTensor<R>,
    form: SoftmaxForm,
    strategy: Strategy,
) -> Result<(), CubeError> {
    let operands = Operands::new("softmax", [Some(x)]);
    operands.check_floats()?;
    let shape = x.shape();
    let Some(&d) = shape.last() else { return Err(operands.invalid("x must have a dimension")) };
    if !is_output(y, &shape, x.dtype) {
        return Err(operands.invalid_output("y must be contiguous with the shape and dtype of x", y));
    }
    let address = operands.check_device(&[Some(y)])?;
    if shape.num_elements() == 0 {
        return Ok(());
    }
    let rows = shape.num_elements() / d;

    let (blueprint, cubes) = plan(x, d, strategy).map_err(|reason| operands.unavailable(reason))?;
    let (x, distance) = match find_row_stride(x) {
        Some(distance) => (x.clone(), distance),
        None => (into_contiguous(x.clone()), d),
    };
    let (client, dtype, vector) = (x.client.clone(), x.dtype, blueprint.vector);

    softmax_rows::launch::<R>(
        &client,
        cubes,
        CubeDim::new_1d(blueprint.cube_units()),
        address,
        vector,
        x.into_tensor_arg(),
        y.clone().into_array_arg(),
        rows,
        d / vector,
        distance / vector,
        form,
        blueprint,
        dtype.into(),
    );
    Ok(())
}

/// How [`softmax`] would run.
///
/// # Errors
/// As [`launch`].
pub fn explain<R: CubeRuntime>(x: &CubeTensor<R>, strategy: Strategy) -> Result<Blueprint, CubeError> {
    let operands = Operands::new("softmax", [Some(x)]);
    operands.check_floats()?;
    let d = match x.shape().last() {
        Some(&d) if d > 0 => d,
        _ => return Err(operands.invalid("x must have a last dimension of 1 or more")),
    };
    operands.check_device(&[])?;
    plan(x, d, strategy).map(|(blueprint, _)| blueprint).map_err(|reason| operands.unavailable(reason))
}

/// The kernel for rows of `d` elements.
fn plan<R: CubeRuntime>(
    x: &CubeTensor<R>,
    d: usize,
    strategy: Strategy,
) -> Result<(Blueprint, CubeCount), Unavailable> {
    let limits = Limits::read(&x.client);
    let widths = x.client.io_optimized_vector_sizes(x.dtype.size());
    let blueprint = Blueprint::new(d, &[find_row_stride(x).unwrap_or(d)], strategy, &limits, widths)?;
    let cubes = limits.spread(blueprint.count_cubes(x.shape().num_elements() / d))?;
    Ok((blueprint, cubes))
}

/// One row a cube or a plane. Rows are `vectors` vectors of `N` and start `distance` vectors apart in `x`.
#[cube(launch, address_type = "dynamic")]
fn softmax_rows<X: Float, N: Size>(
    x: &Tensor<Vector<X, N>>,
    y: &mut Array<Vector<X, N>>,
    rows: usize,
    vectors: usize,
    distance: usize,
    #[comptime] form: SoftmaxForm,
    #[comptime] blueprint: Blueprint,
    #[define(X)] _x_dtype: StorageType,
) {
    let row = find_row(blueprint);
    // A whole row's units leave here or none of them, so what they do together below stays converged.
    if row >= rows {
        terminate!();
    }
    let unit = find_unit(blueprint);
    let units = comptime!(blueprint.units as usize);
    let x_start = row * distance;
    let y_start = row * vectors;

    let mut largest = f32::new(f32::MIN);
    let mut sums = Vector::<f32, N>::new(0.0f32);
    for i in range_stepped(unit, vectors, units) {
        let v = Vector::<f32, N>::cast_from(x[x_start + i]);
        let mut next = largest;
        #[unroll]
        for lane in 0..N::value() {
            next = max(next, v[lane]);
        }
        sums = sums * Vector::new(f32::exp(largest - next)) + Vector::exp(v - Vector::new(next));
        largest = next;
    }
    let peak = max_row(largest, blueprint);
    let total = sum_row::<f32>(sum_lanes(sums) * f32::exp(largest - peak), blueprint);

    let peaks = Vector::<f32, N>::new(peak);
    let scale = match form {
        SoftmaxForm::Plain => 1.0f32 / total,
        SoftmaxForm::Log => f32::ln(total),
    };
    let scales = Vector::<f32, N>::new(scale);
    for i in range_stepped(unit, vectors, units) {
        let v = Vector::<f32, N>::cast_from(x[x_start + i]) - peaks;
        let out = match form {
            SoftmaxForm::Plain => Vector::exp(v) * scales,
            SoftmaxForm::Log => v - scales,
        };
        y[y_start + i] = round_store::<X, N>(out);
    }
}
