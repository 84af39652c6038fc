//! What is asked of the kernels, and whether it can be.

use super::blueprint::Problem;
use super::score::ScoreStridesLaunch;
use crate::cube::heads::measure_heads;
use crate::cube::limits::check_storage;
use crate::cube::operands::{Operands, allocate_like, is_output};
use crate::cube::{CubeError, Unavailable};
use burn_backend::TensorMetadata;
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use burn_std::{BoolStore, DType, Shape};

/// Operands of attention, with any strides; keys and values are copied first where elements of a head are not
/// neighbours.
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
    /// Ends of the segments of a packed sequence, ascending, the last one its length; a query sees its own segment
    /// only.
    pub segments: Option<&'a [usize]>,
}

/// Where the results go.
#[derive(Debug)]
pub struct AttentionOutputs<'a, R: CubeRuntime> {
    /// `[batch, heads, queries, value_dim]`, f32, f16 or bf16; any strides that keep the elements of a head together. A
    /// query that sees no key gives 0. More positions than queries are left alone.
    pub out: &'a CubeTensor<R>,
    /// The position in `out` of the first query.
    pub start: usize,
    /// `log Σ exp(score)`, contiguous f32 `[batch, heads, queries, 1]`, -∞ where a query sees no key; where it is
    /// wanted.
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

/// Operands that fit each other.
pub(super) struct Measured {
    pub problem: Problem,
    /// Distances between batches, heads and positions of queries, keys, values and the output.
    pub strides: [[usize; 3]; 4],
}

/// Checks the operands and reads their sizes off them.
pub(super) fn measure<R: CubeRuntime>(
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
pub(super) fn broadcast<R: CubeRuntime>(
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
pub(super) fn find_mask_dtype<R: CubeRuntime>(
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
