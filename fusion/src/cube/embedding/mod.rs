//! Rows of a table by id: `output[i] = f32(table[ids[i]])`.
//!
//! A vector of the output a unit, neighbouring units next to each other: loads and stores coalesce. Bytes: each row
//! once, in its storage type, and the output. No arithmetic.

mod kernel;

use super::{
    CubeError, Unavailable, allocate_like,
    limits::{Limits, check_address, check_storage},
    operands::{is_float, is_output},
    product::{Layout, choose_vector},
};
use burn_backend::TensorMetadata;
use burn_cubecl::{CubeRuntime, kernel::into_contiguous, tensor::CubeTensor};
use burn_std::{DType, Shape};
use core::fmt;
use cubecl::CubeDim;

/// The kernel's name in errors.
const NAME: &str = "embedding";

/// Units in a cube: eight warps, of which an SM of SM61 holds eight cubes. A row of 2,048 f16 is two cubes.
const UNITS: u32 = 256;

/// All that the kernel is specialised on, next to its storage types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Blueprint {
    /// Units in a cube.
    pub units: u32,
    /// Elements in a load or store.
    pub vector: usize,
}

impl fmt::Display for Blueprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cubes of {} units, vectors of {}", self.units, self.vector)
    }
}

/// Rows of `table` by id, as f32. A row of an id outside of the table is NaN. The result is enqueued, not awaited.
///
/// # Shapes
/// `table` `[rows, d]` in f32, f16 or bf16, `ids` `[..]` in i32, i64 or u32; output `[.., d]`.
///
/// # Errors
/// [`CubeError::InvalidShapes`] or [`CubeError::InvalidDtype`] when the operands don't fit, [`CubeError::MixedDevices`]
/// when they live on different devices, [`CubeError::Unavailable`] when this device lacks what the kernel needs.
/// Nothing has been launched then.
pub fn embedding<R: CubeRuntime>(table: &CubeTensor<R>, ids: &CubeTensor<R>) -> Result<CubeTensor<R>, CubeError> {
    let d = table.shape().to_vec().last().copied().unwrap_or(0);
    let shape = Shape::from([ids.shape().to_vec(), vec![d]].concat());
    let output = allocate_like(table, shape, DType::F32);
    launch(table, ids, &output)?;
    Ok(output)
}

/// [`embedding`] into a tensor that exists.
///
/// # Errors
/// As [`embedding`]; [`CubeError::InvalidShapes`] also for an output that doesn't fit.
pub fn launch<R: CubeRuntime>(
    table: &CubeTensor<R>,
    ids: &CubeTensor<R>,
    output: &CubeTensor<R>,
) -> Result<(), CubeError> {
    let tensors = [table, ids, output];
    let [rows, d] = check(&tensors)?;
    if !is_output(output, &Shape::from([ids.shape().to_vec(), vec![d]].concat()), DType::F32) {
        return Err(CubeError::InvalidShapes {
            kernel: NAME,
            expected: "the output must be contiguous f32 [.., d] for ids [..]",
            shapes: list_shapes(&tensors),
        });
    }
    let count = ids.shape().num_elements();
    if count * d == 0 {
        return Ok(());
    }
    let run = || -> Result<(), Unavailable> {
        let client = &table.client;
        let address = check_address(client, &tensors)?;
        let (table, stride, blueprint) = plan(table, ids)?;
        let vector = blueprint.vector;
        let cubes = Limits::read(client).spread((count * (d / vector)).div_ceil(blueprint.units as usize))?;
        kernel::gather_rows::launch::<R>(
            client,
            cubes,
            CubeDim::new_1d(blueprint.units),
            address,
            vector,
            table.clone().into_tensor_arg(),
            into_contiguous(ids.clone()).into_array_arg(),
            output.clone().into_array_arg(),
            count,
            rows,
            d / vector,
            stride / vector,
            // A device cannot report a bad id: NaN is seen, the row of another id would not be. CUDA C++ has no literal
            // for it.
            f32::NAN,
            blueprint,
            table.dtype.into(),
            ids.dtype.into(),
        );
        Ok(())
    };
    run().map_err(|reason| CubeError::Unavailable { kernel: NAME, reason, shapes: list_shapes(&tensors) })
}

/// How [`embedding`] would run. A table that it would copy is copied.
///
/// # Errors
/// As [`embedding`].
pub fn explain<R: CubeRuntime>(table: &CubeTensor<R>, ids: &CubeTensor<R>) -> Result<Blueprint, CubeError> {
    let tensors = [table, ids];
    check(&tensors)?;
    let plan = plan(table, ids).and_then(|plan| check_address(&table.client, &tensors).map(|_| plan));
    plan.map(|(_, _, blueprint)| blueprint).map_err(|reason| CubeError::Unavailable {
        kernel: NAME,
        reason,
        shapes: list_shapes(&tensors),
    })
}

fn list_shapes<R: CubeRuntime>(tensors: &[&CubeTensor<R>]) -> Vec<Vec<usize>> {
    tensors.iter().map(|tensor| tensor.shape().to_vec()).collect()
}

/// Rows of the table and their length, for a table and ids that come first of the tensors.
fn check<R: CubeRuntime>(tensors: &[&CubeTensor<R>]) -> Result<[usize; 2], CubeError> {
    let shapes = || list_shapes(tensors);
    let (table, ids) = (tensors[0], tensors[1]);
    let &[rows, d] = table.shape().to_vec().as_slice() else {
        let expected = "the table must have two dimensions";
        return Err(CubeError::InvalidShapes { kernel: NAME, expected, shapes: shapes() });
    };
    let floats = is_float(table.dtype);
    let integers = matches!(ids.dtype, DType::I32 | DType::I64 | DType::U32);
    for (tensor, fits) in [(table, floats), (ids, integers)] {
        if !fits {
            return Err(CubeError::InvalidDtype { kernel: NAME, found: tensor.dtype, shapes: shapes() });
        }
    }
    if tensors.iter().any(|tensor| tensor.device != table.device) {
        return Err(CubeError::MixedDevices { kernel: NAME, shapes: shapes() });
    }
    Ok([rows, d])
}

/// The table where the kernel can read it, the distance between its rows, and the kernel.
fn plan<R: CubeRuntime>(
    table: &CubeTensor<R>,
    ids: &CubeTensor<R>,
) -> Result<(CubeTensor<R>, usize, Blueprint), Unavailable> {
    let client = &table.client;
    check_storage(client, table.dtype)?;
    check_storage(client, ids.dtype)?;
    let table = match Layout::of_rows(table) {
        Some(layout) if layout.has_rows() => table.clone(),
        _ => into_contiguous(table.clone()),
    };
    let [rows, d] = [table.meta.shape()[0], table.meta.shape()[1]];
    let stride = if rows > 1 { table.meta.strides()[0] } else { d };
    let layout = Layout { side: rows, depth: d, side_stride: stride, depth_stride: 1, batch_stride: 0 };
    let vector = choose_vector([(&table, layout)].into_iter(), client.io_optimized_vector_sizes(size_of::<f32>()));
    let blueprint = Blueprint { units: UNITS.min(Limits::read(client).units), vector };
    Ok((table, stride, blueprint))
}
