//! The one entry to the kernels.

use super::blueprint::{AttentionStrategy, Blueprint, Problem};
use super::combine;
use super::kernel::{self, Kinds, ScoreStridesLaunch, SizesLaunch};
use crate::cube::heads::{HeadStridesLaunch, measure_heads};
use crate::cube::limits::{Limits, check_storage};
use crate::cube::operands::{Operands, allocate_like, is_output};
use crate::cube::rows::{self, Strategy};
use crate::cube::{CubeError, Unavailable};
use burn_backend::TensorMetadata;
use burn_cubecl::{CubeRuntime, kernel::into_contiguous, tensor::CubeTensor};
use burn_std::{BoolStore, DType, Shape};
use cubecl::{CubeDim, ir::AddressType};

/// Operands of attention, with any strides; keys and values are copied first where elements of a head are not neighbours.
#[derive(Debug)]
pub struct AttentionInputs<'a, R: CubeRuntime> {
    /// `[batch, heads, queries, head_dim]`.
    pub q: &'a CubeTensor<R>,
    /// `[batch, kv_heads, keys, head_dim]`; query head `h` reads head `h / (heads / kv_heads)`.
    pub k: &'a CubeTensor<R>,
    /// `[batch, kv_heads, keys, value_dim]`, stored like `k`.
    pub v: &'a CubeTensor<R>,
    /// Booleans, true where a key is hidden; `[batch | 1, heads | 1, queries | 1, keys | 1]`.
    pub mask: Option<&'a CubeTensor<R>>,
    /// Added to the scores; broadcasts likewise.
    pub bias: Option<&'a CubeTensor<R>>,
}

/// How scores are made and which are hidden.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionRules<'a> {
    /// Factor of `q·kᵀ`.
    pub scale: f64,
    /// Query `i` of `n`, against `m` keys, sees keys `0 ..= i + m - n`.
    pub causal: bool,
    /// Soft limit of the scaled scores, above 0.
    pub softcap: Option<f64>,
    /// Ends of the segments of a packed sequence, ascending, the last one its length; a query sees its own segment only.
    pub segments: Option<&'a [usize]>,
}

/// Where the results go.
#[derive(Debug)]
pub struct AttentionOutputs<'a, R: CubeRuntime> {
    /// `[batch, heads, queries, value_dim]`, f32, f16 or bf16; any strides that keep the elements of a head together. A query that sees
    /// no key gives 0. More positions than queries are left alone.
    pub out: &'a CubeTensor<R>,
    /// The position in `out` of the first query.
    pub start: usize,
    /// `log Σ exp(score)`, contiguous f32 `[batch, heads, queries, 1]`, -∞ where a query sees no key; where it is wanted.
    pub lse: Option<&'a CubeTensor<R>>,
}

/// Contiguous outputs for the operands, the output stored like `q`.
pub fn allocate_outputs<R: CubeRuntime>(
    q: &CubeTensor<R>,
    v: &CubeTensor<R>,
    with_lse: bool,
) -> (CubeTensor<R>, Option<CubeTensor<R>>) {
    let mut dims = q.shape().to_vec();
    let (last, value_dim) = (dims.len() - 1, v.shape().to_vec().last().copied().unwrap_or(0));
    dims[last] = value_dim;
    let out = allocate_like(q, Shape::from(dims.clone()), q.dtype);
    dims[last] = 1;
    (out, with_lse.then(|| allocate_like(q, Shape::from(dims), DType::F32)))
}

/// Shape `[batch, heads, length, d]` and distances of each operand.
struct Measured {
    problem: Problem,
    /// Of queries, keys, values and the output.
    strides: [[usize; 3]; 4],
}

fn measure<R: CubeRuntime>(
    operands: &Operands<'_, R>,
    inputs: &AttentionInputs<'_, R>,
    rules: &AttentionRules<'_>,
    outputs: &AttentionOutputs<'_, R>,
) -> Result<Measured, CubeError> {
    let invalid = |expected| Err(operands.invalid(expected));
    let all = [inputs.q, inputs.k, inputs.v, outputs.out].map(measure_heads);
    let [Some((q, q_strides)), Some((k, k_strides)), Some((v, v_strides)), Some((out, out_strides))] = all else {
        return invalid("operands must be [batch, heads, length, d], without gaps in the last dimension");
    };
    let [batch, heads, queries, head_dim] = q;
    let [_, kv_heads, keys, value_dim] = v;
    if k != [batch, kv_heads, keys, head_dim] || v[0] != batch || inputs.k.dtype != inputs.v.dtype {
        return invalid("keys must have the batch and d of queries, the heads, length and dtype of values");
    }
    if head_dim == 0 || value_dim == 0 || kv_heads == 0 || heads % kv_heads != 0 {
        return invalid("d must be 1 or more, and queries must have a multiple of the heads of keys");
    }
    if [out[0], out[1], out[3]] != [batch, heads, value_dim] || out[2] < outputs.start + queries {
        let expected = "the output must be [batch, heads, queries, d of values], with room behind its start";
        return Err(operands.invalid_output(expected, outputs.out));
    }
    let lse_shape = Shape::from(vec![batch, heads, queries, 1]);
    if let Some(lse) = outputs.lse.filter(|lse| !is_output(lse, &lse_shape, DType::F32)) {
        return Err(operands.invalid_output("the log-sum-exp must be contiguous f32 [batch, heads, queries, 1]", lse));
    }
    if rules.softcap.is_some_and(|cap| cap <= 0.0) {
        return invalid("a soft cap must be above 0");
    }
    let whole = |ends: &[usize]| queries == keys && ends.is_sorted() && ends.last() == Some(&queries);
    if !rules.segments.is_none_or(whole) {
        return invalid("segments need as many keys as queries, and must end there");
    }
    let group = heads / kv_heads;
    let problem = Problem { batch, kv_heads, group, queries, keys, head_dim, value_dim };
    Ok(Measured { problem, strides: [q_strides, k_strides, v_strides, out_strides] })
}

/// Distances of a tensor that is broadcast over the scores.
fn broadcast<R: CubeRuntime>(
    operands: &Operands<'_, R>,
    scores: Option<&CubeTensor<R>>,
    problem: &Problem,
) -> Result<ScoreStridesLaunch<R>, CubeError> {
    let square = [problem.batch, problem.kv_heads * problem.group, problem.queries, problem.keys];
    let mut distances = [0; 4];
    if let Some(scores) = scores {
        let shape = scores.shape().to_vec();
        if shape.len() != 4 || shape.iter().zip(square).any(|(&size, whole)| size != 1 && size != whole) {
            return Err(operands.invalid_output("masks must broadcast to [batch, heads, queries, keys]", scores));
        }
        for (i, distance) in distances.iter_mut().enumerate() {
            *distance = if shape[i] == 1 { 0 } else { scores.meta.strides()[i] };
        }
    }
    let [batch, head, query, key] = distances;
    Ok(ScoreStridesLaunch::new(batch, head, query, key))
}

/// How the mask is stored.
fn find_mask_dtype<R: CubeRuntime>(
    operands: &Operands<'_, R>,
    mask: Option<&CubeTensor<R>>,
) -> Result<DType, CubeError> {
    let Some(mask) = mask else { return Ok(DType::U32) };
    let dtype = match mask.dtype {
        DType::Bool(BoolStore::U8) => DType::U8,
        DType::Bool(BoolStore::U32) => DType::U32,
        other => return Err(operands.unavailable(Unavailable::Storage(other))),
    };
    check_storage(&mask.client, dtype).map_err(|reason| operands.unavailable(reason))?;
    Ok(dtype)
}

/// Attention: one launch, or two where the keys are split over cubes. In f32 whatever the storage, and enqueued, not awaited.
///
/// # Errors
/// [`CubeError::InvalidShapes`] or [`CubeError::InvalidDtype`] when the operands don't fit, [`CubeError::MixedDevices`],
/// [`CubeError::Unavailable`] (heads longer than 256 among the reasons). Nothing has been launched then.
pub fn launch_attention<R: CubeRuntime>(
    inputs: &AttentionInputs<'_, R>,
    rules: &AttentionRules<'_>,
    outputs: &AttentionOutputs<'_, R>,
    strategy: AttentionStrategy,
) -> Result<(), CubeError> {
    let operands = Operands::new("attention", [Some(inputs.q), Some(inputs.k), Some(inputs.v), inputs.bias]);
    operands.check_floats()?;
    // Copies only where a head's elements are apart.
    let close = |x: &CubeTensor<R>| if measure_heads(x).is_some() { x.clone() } else { into_contiguous(x.clone()) };
    let whole = inputs.q.shape().len() == 4 && inputs.k.shape().num_elements() > 0;
    let (q, k, v) = match whole {
        true => (close(inputs.q), close(inputs.k), close(inputs.v)),
        false => (inputs.q.clone(), inputs.k.clone(), inputs.v.clone()),
    };
    let copied = AttentionInputs { q: &q, k: &k, v: &v, ..*inputs };
    let Measured { problem, strides } = measure(&operands, &copied, rules, outputs)?;
    let mask_strides = broadcast(&operands, inputs.mask, &problem)?;
    let bias_strides = broadcast(&operands, inputs.bias, &problem)?;
    let mask_dtype = find_mask_dtype(&operands, inputs.mask)?;
    let address = operands.check_device(&[Some(outputs.out), outputs.lse, inputs.mask])?;
    if problem.rows() * problem.batch == 0 {
        return Ok(());
    }
    let launch = Launch { operands, problem, strides, rules, address, limits: Limits::read(&q.client) };
    launch.run([&q, &k, &v], inputs, [mask_strides, bias_strides], mask_dtype, outputs, strategy)
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

    fn run(
        &self,
        [q, k, v]: [&CubeTensor<R>; 3],
        inputs: &AttentionInputs<'_, R>,
        [mask_strides, bias_strides]: [ScoreStridesLaunch<R>; 2],
        mask_dtype: DType,
        outputs: &AttentionOutputs<'_, R>,
        strategy: AttentionStrategy,
    ) -> Result<(), CubeError> {
        let Self { problem, rules, limits, .. } = self;
        let unavailable = |reason| self.operands.unavailable(reason);
        let dtypes = [q.dtype, k.dtype, outputs.out.dtype, DType::F32];
        let vector = self.choose_vector(q, dtypes.iter().map(DType::size).max().unwrap_or(4));
        let tile = Blueprint::new(problem, vector, limits).map_err(unavailable)?;
        let (split_keys, splits) = tile.split(problem, strategy, limits);
        let row_tiles = tile.row_tiles(problem);
        let cubes = limits.spread(row_tiles * splits * problem.kv_heads * problem.batch).map_err(unavailable)?;
        let Problem { batch, kv_heads, group, queries, keys, value_dim, .. } = *problem;
        let rows = batch * kv_heads * group * queries;

        // With parts, each has an output of its own.
        let parts = (splits > 1).then(|| {
            let part = vec![splits, batch, kv_heads * group, queries, value_dim];
            let parts = allocate_like(q, Shape::from(part), DType::F32);
            (parts, allocate_like(q, Shape::from(vec![splits, rows]), DType::F32))
        });
        let out_start = outputs.start * self.strides[3][2];
        let (out, lse, out_strides, out_start) = match &parts {
            Some((parts, lse)) => {
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
            Some(parts) => self.combine(&parts, splits, vector, outputs),
            None => Ok(()),
        }
    }

    /// The second launch.
    fn combine(
        &self,
        (parts, part_lse): &(CubeTensor<R>, CubeTensor<R>),
        splits: usize,
        vector: usize,
        outputs: &AttentionOutputs<'_, R>,
    ) -> Result<(), CubeError> {
        let unavailable = |reason| self.operands.unavailable(reason);
        let Problem { batch, kv_heads, group, queries, value_dim, .. } = self.problem;
        let rows = batch * kv_heads * group * queries;
        let widths = [vector].into_iter();
        let blueprint = rows::Blueprint::new(value_dim, &[], Strategy::Auto, &self.limits, widths);
        // The vectors are those of the strides: 4 or 1.
        let blueprint = rows::Blueprint { vector, ..blueprint.map_err(unavailable)? };
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
            blueprint,
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
