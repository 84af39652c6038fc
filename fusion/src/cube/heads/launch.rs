//! The one entry to the kernel.

use super::kernel::{self, HeadStridesLaunch};
use crate::cube::limits::Limits;
use crate::cube::operands::{Operands, is_float};
use crate::cube::rows::{Blueprint, Strategy};
use crate::cube::{CubeError, Unavailable};
use burn_backend::TensorMetadata;
use burn_cubecl::{CubeRuntime, kernel::into_contiguous, tensor::CubeTensor};
use burn_std::DType;
use core::ops::Range;
use cubecl::{CubeDim, ir::AddressType};

/// Cosines and sines of the positions.
#[derive(Debug)]
pub struct Angles<'a, R: CubeRuntime> {
    /// `[batch | 1, positions, d / 2]`, f32.
    pub cos: &'a CubeTensor<R>,
    /// Like `cos`.
    pub sin: &'a CubeTensor<R>,
}

/// Heads and where they go.
#[derive(Debug)]
pub struct Placement<'a, R: CubeRuntime> {
    /// `[batch, heads, positions, d]`, the elements of a head being neighbours; any other strides.
    pub x: &'a CubeTensor<R>,
    /// Weight of the norm before the rotation, `[d]`; values have none.
    pub gamma: Option<&'a CubeTensor<R>>,
    /// `[batch, heads, positions, d]` with room for what is placed, the elements of a head being neighbours.
    pub to: &'a CubeTensor<R>,
}

/// What is asked of the kernel.
#[derive(Debug)]
pub struct HeadInputs<'a, R: CubeRuntime> {
    /// Queries, then keys and values if there are any.
    pub placements: &'a [Placement<'a, R>],
    /// Of queries and keys.
    pub angles: Angles<'a, R>,
    /// Added to the mean square where there is a norm.
    pub epsilon: f64,
    /// Which positions of `x` are placed; those of queries go to position 0 and on.
    pub positions: Range<usize>,
    /// Where the first of them goes in keys and values.
    pub start: usize,
}

/// `[batch, heads, positions, d]` of a tensor whose heads' elements are neighbours, and the distances between them; 0
/// along dimensions of one.
pub(in crate::cube) fn measure_heads<R: CubeRuntime>(tensor: &CubeTensor<R>) -> Option<([usize; 4], [usize; 3])> {
    let shape = <[usize; 4]>::try_from(tensor.meta.shape().to_vec()).ok()?;
    let strides = tensor.meta.strides();
    let distance = |i: usize| if shape[i] > 1 { strides[i] } else { 0 };
    (shape[3] <= 1 || strides[3] == 1).then(|| (shape, [0, 1, 2].map(distance)))
}

/// Heads normed where they have a gamma, rotated except for values, and stored. In f32 whatever the storage, and
/// enqueued, not awaited.
///
/// # Shapes
/// Three placements are queries, keys and values; two are queries and keys. `x` has one dtype, that of keys' and
/// values' `to` is one. `d` is even.
///
/// # Errors
/// [`CubeError::InvalidShapes`] or [`CubeError::InvalidDtype`] when the operands don't fit,
/// [`CubeError::MixedDevices`], [`CubeError::Unavailable`]. Nothing has been launched then.
///
/// # Panics
/// If there is no placement, or more than three.
pub fn place_heads<R: CubeRuntime>(inputs: &HeadInputs<'_, R>, strategy: Strategy) -> Result<(), CubeError> {
    let Measured { operands, batch, d, heads, strides, gamma_dtype, address } = measure(inputs)?;
    let &HeadInputs { placements, ref angles, epsilon, ref positions, start } = inputs;
    let (q, length) = (&placements[0], positions.len());
    let rows = batch * length * heads.iter().sum::<usize>();
    if rows == 0 {
        return Ok(());
    }
    let unavailable = |reason| operands.unavailable(reason);
    let client = q.x.client.clone();
    let blueprint = plan(placements, d, &strides, strategy).map_err(unavailable)?;
    let cubes = Limits::read(&client).spread(blueprint.count_cubes(rows)).map_err(unavailable)?;
    let vector = blueprint.vector;
    // Absent ones have none.
    let distances = |i: usize| {
        let [batch, head, position] = strides.get(i).copied().unwrap_or_default().map(|stride| stride / vector);
        HeadStridesLaunch::new(batch, head, position)
    };
    let from = |i: usize| placements.get(i).map(|one| one.x.clone().into_tensor_arg());
    let to = |i: usize| placements.get(i).map(|one| one.to.clone().into_tensor_arg());
    let gamma = |gamma: Option<&CubeTensor<R>>| gamma.map(|gamma| into_contiguous(gamma.clone()).into_array_arg());
    let [angle_batches, whole, _] = [0, 1, 2].map(|i| angles.cos.meta.shape()[i]);
    let angle_batch = if angle_batches == 1 { 0 } else { whole * (d / 2) / vector };
    let gammas = [q.gamma, placements.get(1).and_then(|k| k.gamma)];

    kernel::place_rows::launch::<R>(
        &client,
        cubes,
        CubeDim::new_1d(blueprint.cube_units()),
        address,
        vector,
        q.x.clone().into_tensor_arg(),
        from(1).into(),
        from(2).into(),
        gamma(gammas[0]).into(),
        gamma(gammas[1]).into(),
        into_contiguous(angles.cos.clone()).into_array_arg(),
        into_contiguous(angles.sin.clone()).into_array_arg(),
        q.to.clone().into_tensor_arg(),
        to(1).into(),
        to(2).into(),
        distances(0),
        distances(2),
        distances(4),
        distances(1),
        distances(3),
        distances(5),
        heads[0],
        heads.get(1).copied().unwrap_or(0),
        heads.iter().sum(),
        length,
        rows,
        positions.start,
        start,
        angle_batch,
        (1.0 / d as f64) as f32,
        epsilon as f32,
        d / 2 / vector,
        blueprint,
        q.x.dtype.into(),
        gamma_dtype.into(),
        q.to.dtype.into(),
        placements.get(1).map_or(q.to.dtype, |k| k.to.dtype).into(),
    );
    Ok(())
}

/// How [`place_heads`] would run.
///
/// # Errors
/// As [`place_heads`].
///
/// # Panics
/// As [`place_heads`].
pub fn explain_heads<R: CubeRuntime>(inputs: &HeadInputs<'_, R>, strategy: Strategy) -> Result<Blueprint, CubeError> {
    let Measured { operands, d, strides, .. } = measure(inputs)?;
    plan(inputs.placements, d, &strides, strategy).map_err(|reason| operands.unavailable(reason))
}

/// Operands that fit each other.
struct Measured<'a, R: CubeRuntime> {
    operands: Operands<'a, R>,
    batch: usize,
    d: usize,
    /// Of each placement.
    heads: Vec<usize>,
    /// Distances in each placement's source and destination.
    strides: Vec<[usize; 3]>,
    gamma_dtype: DType,
    address: AddressType,
}

/// Checks the operands and reads their sizes off them.
fn measure<'a, R: CubeRuntime>(inputs: &HeadInputs<'a, R>) -> Result<Measured<'a, R>, CubeError> {
    let &HeadInputs { placements, ref angles, ref positions, start, .. } = inputs;
    assert!((1..=3).contains(&placements.len()), "queries, keys and values, not {} tensors", placements.len());
    let inputs = placements.iter().map(|one| Some(one.x)).chain([Some(angles.cos), Some(angles.sin)]);
    let operands = Operands::new("heads", inputs.chain(placements.iter().map(|one| one.gamma)));
    operands.check_floats()?;
    let invalid = |expected| Err(operands.invalid(expected));

    let q = &placements[0];
    let Some(([batch, _, whole, d], _)) = measure_heads(q.x) else {
        return invalid("heads must be [batch, heads, positions, d], without gaps in the last dimension");
    };
    if positions.start > positions.end || positions.end > whole {
        return invalid("the positions must be among those of the heads");
    }
    let length = positions.len();
    if d == 0 || d % 2 != 0 {
        return invalid("heads must have an even number of elements");
    }
    let mut strides = Vec::new();
    let mut heads = Vec::new();
    for (i, one) in placements.iter().enumerate() {
        let first = if i == 0 { 0 } else { start };
        let (Some((from, from_strides)), Some((to, to_strides))) = (measure_heads(one.x), measure_heads(one.to)) else {
            return invalid("heads must be [batch, heads, positions, d], without gaps in the last dimension");
        };
        if [from[0], from[2], from[3]] != [batch, whole, d] || one.x.dtype != q.x.dtype {
            return invalid("queries, keys and values must have one batch, number of positions, d and dtype");
        }
        if [to[0], to[1], to[3]] != [from[0], from[1], d] || to[2] < first + length || !is_float(one.to.dtype) {
            return Err(operands.invalid_output("heads must have room where they go", one.to));
        }
        strides.extend([from_strides, to_strides]);
        heads.push(from[1]);
    }
    if placements.len() == 3 && placements[1].to.dtype != placements[2].to.dtype {
        return invalid("keys and values must go to tensors of one dtype");
    }
    let gammas = [q.gamma, placements.get(1).and_then(|k| k.gamma)];
    let gamma_dtype = gammas.iter().flatten().map(|gamma| gamma.dtype).next().unwrap_or(DType::F32);
    let fits = |gamma: &&CubeTensor<R>| gamma.shape().to_vec() == [d] && gamma.dtype == gamma_dtype;
    if !gammas.iter().flatten().all(fits) || placements.get(2).is_some_and(|v| v.gamma.is_some()) {
        return invalid("gammas must be [d] and of one dtype, and values have none");
    }
    let angle_shape = angles.cos.shape().to_vec();
    let each = [whole, d / 2];
    let angles_fit = angle_shape.len() == 3 && angle_shape[1..] == each && [1, batch].contains(&angle_shape[0]);
    let f32s = [angles.cos, angles.sin].iter().all(|angles| angles.dtype == DType::F32);
    if !angles_fit || angles.sin.shape().to_vec() != angle_shape || !f32s {
        return invalid("angles must be f32 [batch or 1, positions, d / 2]");
    }
    let outputs: Vec<_> = placements.iter().map(|one| Some(one.to)).collect();
    let address = operands.check_device(&outputs)?;
    Ok(Measured { operands, batch, d, heads, strides, gamma_dtype, address })
}

/// The kernel for pairs of half heads.
fn plan<R: CubeRuntime>(
    placements: &[Placement<'_, R>],
    d: usize,
    strides: &[[usize; 3]],
    strategy: Strategy,
) -> Result<Blueprint, Unavailable> {
    let client = &placements[0].x.client;
    let widest = placements.iter().flat_map(|one| [one.x.dtype, one.to.dtype]).chain([DType::F32]);
    let widths = client.io_optimized_vector_sizes(widest.map(|dtype| dtype.size()).max().unwrap_or(4));
    Blueprint::new(d / 2, strides.as_flattened(), strategy, &Limits::read(client), widths)
}
