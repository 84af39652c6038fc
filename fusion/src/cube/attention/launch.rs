//! The one entry to the kernels.

use super::blueprint::{AttentionPlan, AttentionStrategy, Blueprint, Problem};
use super::combine;
use super::kernel;
use super::operands::{
    AttentionInputs, AttentionOutputs, AttentionRules, Measured, broadcast, find_mask_dtype, measure,
};
use super::score::{Kinds, ScoreStridesLaunch};
use super::sizes::SizesLaunch;
use crate::cube::heads::{HeadStridesLaunch, measure_heads};
use crate::cube::limits::Limits;
use crate::cube::operands::{Operands, allocate_like};
use crate::cube::rows::{self, Strategy};
use crate::cube::{CubeError, Unavailable};
use burn_backend::TensorMetadata;
use burn_cubecl::{CubeRuntime, kernel::into_contiguous, tensor::CubeTensor};
use burn_std::{DType, Shape};
use cubecl::{CubeDim, ir::AddressType};

/// Attention: one launch, or two where the keys are split over cubes. In f32 whatever the storage, and enqueued, not
/// awaited.
///
/// # Errors
/// [`CubeError::InvalidShapes`] or [`CubeError::InvalidDtype`] when the operands don't fit,
/// [`CubeError::MixedDevices`], [`CubeError::Unavailable`] (heads longer than 256 among the reasons). Nothing has been
/// launched then.
pub fn launch_attention<R: CubeRuntime>(
    inputs: &AttentionInputs<'_, R>,
    rules: &AttentionRules<'_>,
    outputs: &AttentionOutputs<'_, R>,
    strategy: AttentionStrategy,
) -> Result<(), CubeError> {
    let close = close_heads(inputs);
    let (launch, mask) = check(inputs, [&close.0, &close.1, &close.2], rules, outputs)?;
    if launch.problem.rows() * launch.problem.batch == 0 {
        return Ok(());
    }
    launch.run([&close.0, &close.1, &close.2], inputs, mask, outputs, strategy)
}

/// How [`launch_attention`] would run. Operands that it would copy are copied.
///
/// # Errors
/// As [`launch_attention`].
pub fn explain_attention<R: CubeRuntime>(
    inputs: &AttentionInputs<'_, R>,
    rules: &AttentionRules<'_>,
    outputs: &AttentionOutputs<'_, R>,
    strategy: AttentionStrategy,
) -> Result<AttentionPlan, CubeError> {
    let (q, k, v) = close_heads(inputs);
    let (launch, _) = check(inputs, [&q, &k, &v], rules, outputs)?;
    launch.plan([&q, &k], outputs, strategy).map_err(|reason| launch.operands.unavailable(reason))
}

/// Sizes of a call whose operands fit.
pub(super) fn find_problem<R: CubeRuntime>(
    inputs: &AttentionInputs<'_, R>,
    rules: &AttentionRules<'_>,
    outputs: &AttentionOutputs<'_, R>,
) -> Result<Problem, CubeError> {
    let (q, k, v) = close_heads(inputs);
    check(inputs, [&q, &k, &v], rules, outputs).map(|(launch, _)| launch.problem)
}

/// Queries, keys and values, copied only where the elements of a head are apart.
fn close_heads<R: CubeRuntime>(inputs: &AttentionInputs<'_, R>) -> (CubeTensor<R>, CubeTensor<R>, CubeTensor<R>) {
    let close = |x: &CubeTensor<R>| if measure_heads(x).is_some() { x.clone() } else { into_contiguous(x.clone()) };
    let whole = inputs.q.shape().len() == 4 && inputs.k.shape().num_elements() > 0;
    match whole {
        true => (close(inputs.q), close(inputs.k), close(inputs.v)),
        false => (inputs.q.clone(), inputs.k.clone(), inputs.v.clone()),
    }
}

/// How masks and biases lie, and how the mask is stored.
type Scores<R> = ([ScoreStridesLaunch<R>; 2], DType);

/// Checks the operands, of which `q`, `k` and `v` are ready to be read.
fn check<'a, R: CubeRuntime>(
    inputs: &AttentionInputs<'a, R>,
    [q, k, v]: [&CubeTensor<R>; 3],
    rules: &'a AttentionRules<'a>,
    outputs: &AttentionOutputs<'_, R>,
) -> Result<(Launch<'a, R>, Scores<R>), CubeError> {
    let operands = Operands::new("attention", [Some(inputs.q), Some(inputs.k), Some(inputs.v), inputs.bias]);
    operands.check_floats()?;
    let copied = AttentionInputs { q, k, v, ..*inputs };
    let Measured { problem, strides } = measure(&operands, &copied, rules, outputs)?;
    let mask_strides = broadcast(&operands, inputs.mask, &problem)?;
    let bias_strides = broadcast(&operands, inputs.bias, &problem)?;
    let mask_dtype = find_mask_dtype(&operands, inputs.mask)?;
    let address = operands.check_device(&[Some(outputs.out), outputs.lse, inputs.mask])?;
    let launch = Launch { operands, problem, strides, rules, address, limits: Limits::read(&q.client) };
    Ok((launch, ([mask_strides, bias_strides], mask_dtype)))
}

/// A call whose operands fit.
struct Launch<'a, R: CubeRuntime> {
    operands: Operands<'a, R>,
    problem: Problem,
    strides: [[usize; 3]; 4],
    rules: &'a AttentionRules<'a>,
    address: AddressType,
    limits: Limits,
}

impl<R: CubeRuntime> Launch<'_, R> {
    /// 4 where all rows divide by it and the device loads as many.
    fn choose_vector(&self, q: &CubeTensor<R>, widest: usize) -> usize {
        let Problem { head_dim, value_dim, .. } = self.problem;
        let fits = |distance: &usize| distance.is_multiple_of(4);
        let divides = [head_dim, value_dim].iter().chain(self.strides.as_flattened()).all(fits);
        let loads = q.client.io_optimized_vector_sizes(widest).any(|width| width == 4);
        if divides && loads { 4 } else { 1 }
    }

    /// The kernels for the operands.
    fn plan(
        &self,
        [q, k]: [&CubeTensor<R>; 2],
        outputs: &AttentionOutputs<'_, R>,
        strategy: AttentionStrategy,
    ) -> Result<AttentionPlan, Unavailable> {
        let Self { problem, limits, .. } = self;
        let dtypes = [q.dtype, k.dtype, outputs.out.dtype, DType::F32];
        let vector = self.choose_vector(q, dtypes.iter().map(DType::size).max().unwrap_or(4));
        let tile = Blueprint::new(problem, vector, limits)?;
        let (split_keys, splits) = tile.split(problem, strategy, limits);
        let combine = || {
            let blueprint = rows::Blueprint::new(problem.value_dim, &[], Strategy::Auto, limits, [vector].into_iter());
            // The vectors are those of the strides: 4 or 1.
            blueprint.map(|blueprint| rows::Blueprint { vector, ..blueprint })
        };
        let combine = if splits > 1 { Some(combine()?) } else { None };
        Ok(AttentionPlan { tile, splits, split_keys, combine })
    }

    fn run(
        &self,
        [q, k, v]: [&CubeTensor<R>; 3],
        inputs: &AttentionInputs<'_, R>,
        ([mask_strides, bias_strides], mask_dtype): Scores<R>,
        outputs: &AttentionOutputs<'_, R>,
        strategy: AttentionStrategy,
    ) -> Result<(), CubeError> {
        let Self { problem, rules, limits, .. } = self;
        let unavailable = |reason| self.operands.unavailable(reason);
        let AttentionPlan { tile, splits, split_keys, combine } =
            self.plan([q, k], outputs, strategy).map_err(unavailable)?;
        let vector = tile.vector;
        let row_tiles = tile.row_tiles(problem);
        let cubes = limits.spread(row_tiles * splits * problem.kv_heads * problem.batch).map_err(unavailable)?;
        let Problem { batch, kv_heads, group, queries, keys, value_dim, .. } = *problem;
        let rows = batch * kv_heads * group * queries;

        // With parts, each has an output of its own.
        let parts = combine.map(|blueprint| {
            let part = vec![splits, batch, kv_heads * group, queries, value_dim];
            let parts = allocate_like(q, Shape::from(part), DType::F32);
            (parts, allocate_like(q, Shape::from(vec![splits, rows]), DType::F32), blueprint)
        });
        let out_start = outputs.start * self.strides[3][2];
        let (out, lse, out_strides, out_start) = match &parts {
            Some((parts, lse, _)) => {
                let head = queries * value_dim;
                (parts, Some(lse), [kv_heads * group * head, head, value_dim], 0)
            }
            None => (outputs.out, outputs.lse, self.strides[3], out_start),
        };
        // An empty buffer may not be bound; nothing is read of it.
        let (k, v) = if keys == 0 { (q, q) } else { (k, v) };
        let distances = |strides: [usize; 3]| {
            let [batch, head, position] = strides.map(|stride| stride / vector);
            HeadStridesLaunch::new(batch, head, position)
        };
        let ends = rules.segments.map(|ends| upload_ends(q, ends));
        let sizes = SizesLaunch::new(
            batch,
            kv_heads,
            queries,
            keys,
            row_tiles,
            splits,
            split_keys,
            rules.segments.map_or(0, <[usize]>::len),
            tile.depth,
            tile.value_keys / 4,
            out_start / vector,
            rows * value_dim / vector,
        );
        kernel::attend_tile::launch::<R>(
            &q.client,
            cubes,
            CubeDim::new_1d(tile.units()),
            self.address,
            vector,
            q.clone().into_tensor_arg(),
            k.clone().into_tensor_arg(),
            v.clone().into_tensor_arg(),
            inputs.mask.map(|mask| mask.clone().into_array_arg()).into(),
            inputs.bias.map(|bias| bias.clone().into_array_arg()).into(),
            ends.map(CubeTensor::into_array_arg).into(),
            out.clone().into_tensor_arg(),
            lse.map(|lse| lse.clone().into_array_arg()).into(),
            distances(self.strides[0]),
            distances(self.strides[1]),
            distances(self.strides[2]),
            distances(out_strides),
            mask_strides,
            bias_strides,
            sizes,
            rules.scale as f32,
            rules.softcap.unwrap_or(1.0) as f32,
            Kinds { causal: rules.causal, capped: rules.softcap.is_some() },
            tile,
            q.dtype.into(),
            k.dtype.into(),
            out.dtype.into(),
            mask_dtype.into(),
            inputs.bias.map_or(DType::F32, |bias| bias.dtype).into(),
        );
        match parts {
            Some(parts) => self.combine(&parts, splits, outputs),
            None => Ok(()),
        }
    }

    /// The second launch.
    fn combine(
        &self,
        (parts, part_lse, blueprint): &(CubeTensor<R>, CubeTensor<R>, rows::Blueprint),
        splits: usize,
        outputs: &AttentionOutputs<'_, R>,
    ) -> Result<(), CubeError> {
        let unavailable = |reason| self.operands.unavailable(reason);
        let Problem { batch, kv_heads, group, queries, value_dim, .. } = self.problem;
        let rows = batch * kv_heads * group * queries;
        let vector = blueprint.vector;
        let cubes = self.limits.spread(blueprint.count_cubes(rows)).map_err(unavailable)?;
        let [batch_stride, head_stride, query_stride] = self.strides[3].map(|stride| stride / vector);
        combine::combine_rows::launch::<R>(
            &parts.client,
            cubes,
            CubeDim::new_1d(blueprint.cube_units()),
            self.address,
            vector,
            parts.clone().into_array_arg(),
            part_lse.clone().into_array_arg(),
            outputs.out.clone().into_tensor_arg(),
            outputs.lse.map(|lse| lse.clone().into_array_arg()).into(),
            HeadStridesLaunch::new(batch_stride, head_stride, query_stride),
            outputs.start * query_stride,
            kv_heads * group,
            queries,
            rows,
            splits,
            value_dim / vector,
            *blueprint,
            outputs.out.dtype.into(),
        );
        Ok(())
    }
}

/// The ends of segments on the device, u32.
fn upload_ends<R: CubeRuntime>(like: &CubeTensor<R>, ends: &[usize]) -> CubeTensor<R> {
    let bytes: Vec<u8> = ends.iter().flat_map(|&end| (end as u32).to_ne_bytes()).collect();
    let handle = like.client.create_from_slice(&bytes);
    let shape = Shape::from(vec![ends.len()]);
    CubeTensor::new_contiguous(like.client.clone(), like.device.clone(), shape, handle, DType::U32)
}
