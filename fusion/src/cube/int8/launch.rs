//! The entries to the kernels.

use super::{blueprint::Blueprint, kernel};
use crate::cube::{
    CubeError, Strategy, Unavailable, allocate_like,
    limits::Limits,
    operands::Operands,
    rows::{self, find_row_stride},
};
use burn_backend::TensorMetadata;
use burn_cubecl::{CubeRuntime, kernel::into_contiguous, tensor::CubeTensor};
use burn_std::{DType, Shape};
use cubecl::CubeDim;

/// Rows of `x` summed side by side, at most: each is a sum in a register and a load for each word of the weight.
const MAX_ROWS: usize = 4;

/// The same where words are loaded one by one: with four rows ptxas 12.8 unrolls until it spills.
const MAX_ROWS_BY_WORDS: usize = 2;

/// Elements in a word.
const PACKED: usize = 4;

/// Rows of 8-bit integers, each with its scale.
#[derive(Debug, Clone)]
pub struct Int8Rows<R: CubeRuntime> {
    /// `[rows, ⌈d / 4⌉]`, i32: four elements a word.
    pub values: CubeTensor<R>,
    /// `[rows]`, f32.
    pub scales: CubeTensor<R>,
    /// Elements of a row.
    pub d: usize,
}

/// Rows as 8-bit integers: activations row by row, or a weight `[out, in]` output by output.
///
/// # Shapes
/// `x` `[.., d]` in f32, f16 or bf16, all leading dimensions as one. Enqueued, not awaited. A row with a NaN or an
/// infinity gives nothing of use.
///
/// # Errors
/// [`CubeError::InvalidShapes`] when `x` has no last dimension of 1 or more, [`CubeError::InvalidDtype`],
/// [`CubeError::Unavailable`]. Nothing has been launched then.
pub fn quantize<R: CubeRuntime>(x: &CubeTensor<R>, strategy: Strategy) -> Result<Int8Rows<R>, CubeError> {
    let operands = Operands::new("quantize", [Some(x)]);
    operands.check_floats()?;
    let shape = x.shape();
    let d = match shape.last() {
        Some(&d) if d > 0 => d,
        _ => return Err(operands.invalid("x must have a last dimension of 1 or more")),
    };
    let address = operands.check_device(&[])?;
    let (count, words) = (shape.num_elements() / d, d.div_ceil(PACKED));
    let values = allocate_like(x, Shape::from(vec![count, words]), DType::I32);
    let scales = allocate_like(x, Shape::from(vec![count]), DType::F32);
    if count == 0 {
        return Ok(Int8Rows { values, scales, d });
    }
    let unavailable = |reason| operands.unavailable(reason);
    let limits = Limits::read(&x.client);
    let blueprint = rows::Blueprint::new(words, &[], strategy, &limits, [1].into_iter()).map_err(unavailable)?;
    let cubes = limits.spread(blueprint.count_cubes(count)).map_err(unavailable)?;
    let (x, distance) = match find_row_stride(x) {
        Some(distance) => (x.clone(), distance),
        None => (into_contiguous(x.clone()), d),
    };
    let (client, dtype) = (x.client.clone(), x.dtype);
    kernel::quantize_rows::launch::<R>(
        &client,
        cubes,
        CubeDim::new_1d(blueprint.cube_units()),
        address,
        x.into_tensor_arg(),
        values.clone().into_array_arg(),
        scales.clone().into_array_arg(),
        count,
        d,
        distance,
        words,
        blueprint,
        dtype.into(),
    );
    Ok(Int8Rows { values, scales, d })
}

/// `x · weightᵀ` in f32, `[rows of x, rows of weight]`. Enqueued, not awaited.
///
/// # Errors
/// [`CubeError::InvalidShapes`] when rows differ in length, [`CubeError::MixedDevices`], [`CubeError::Unavailable`].
/// Nothing has been launched then.
pub fn multiply<R: CubeRuntime>(
    x: &Int8Rows<R>,
    weight: &Int8Rows<R>,
    strategy: Strategy,
) -> Result<CubeTensor<R>, CubeError> {
    let blueprint = explain(x, weight, strategy)?;
    let operands = list_operands(x, weight);
    let [rows, outputs] = [x, weight].map(|side| side.values.meta.shape()[0]);
    let y = allocate_like(&x.values, Shape::from(vec![rows, outputs]), DType::F32);
    if rows * outputs == 0 {
        return Ok(y);
    }
    let address = operands.check_device(&[Some(&y)])?;
    let items = rows.div_ceil(blueprint.rows) * outputs;
    let cubes = Limits::read(&y.client)
        .spread(blueprint.sum.count_cubes(items))
        .map_err(|reason| operands.unavailable(reason))?;
    let vector = blueprint.sum.vector;
    kernel::multiply_words::launch::<R>(
        &y.client,
        cubes,
        CubeDim::new_1d(blueprint.sum.cube_units()),
        address,
        vector,
        x.values.clone().into_array_arg(),
        weight.values.clone().into_array_arg(),
        x.scales.clone().into_array_arg(),
        weight.scales.clone().into_array_arg(),
        y.clone().into_array_arg(),
        rows,
        outputs,
        items,
        x.d.div_ceil(PACKED) / vector,
        blueprint,
    );
    Ok(y)
}

/// How [`multiply`] would run.
///
/// # Errors
/// As [`multiply`].
pub fn explain<R: CubeRuntime>(
    x: &Int8Rows<R>,
    weight: &Int8Rows<R>,
    strategy: Strategy,
) -> Result<Blueprint, CubeError> {
    let operands = list_operands(x, weight);
    let [(rows, words), (_, weight_words)] = [x, weight].map(|side| {
        let shape = side.values.meta.shape();
        (shape[0], shape[1])
    });
    if x.d != weight.d || words != weight_words {
        return Err(operands.invalid("rows of both sides must have as many elements"));
    }
    operands.check_device(&[])?;
    let plan = || -> Result<Blueprint, Unavailable> {
        let limits = Limits::read(&x.values.client);
        let widths = x.values.client.io_optimized_vector_sizes(size_of::<i32>());
        let sum = rows::Blueprint::new(words, &[], strategy, &limits, widths)?;
        let most = if sum.vector == 1 { MAX_ROWS_BY_WORDS } else { MAX_ROWS };
        let rows = rows.clamp(1, most).next_power_of_two();
        let shared = rows * sum.reduction.partials(sum.units) * size_of::<i32>();
        if shared > limits.shared_bytes {
            return Err(Unavailable::SharedMemory { found: shared, limit: limits.shared_bytes });
        }
        Ok(Blueprint { rows, sum })
    };
    plan().map_err(|reason| operands.unavailable(reason))
}

fn list_operands<'a, R: CubeRuntime>(x: &'a Int8Rows<R>, weight: &'a Int8Rows<R>) -> Operands<'a, R> {
    Operands::new("int8 product", [&x.values, &weight.values, &x.scales, &weight.scales].map(Some))
}
