//! The kernel over tiles.

use super::blueprint::{Blueprint, KEYS_A_UNIT, ROWS_A_UNIT};
use super::score::{KeyRange, Kinds, ScoreStrides, find_range, finish_score};
use super::stage::{Four, Source, add_scores, add_values, load_rows};
use crate::cube::heads::HeadStrides;
use crate::cube::store::{round_scalar, round_store};
use cubecl::prelude::*;

/// Sizes of the attention at hand.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub(super) struct Sizes {
    pub batch: usize,
    pub kv_heads: usize,
    pub queries: usize,
    pub keys: usize,
    /// Tiles of rows.
    pub row_tiles: usize,
    /// Parts of the keys, and keys in each.
    pub splits: usize,
    pub split_keys: usize,
    /// Segments of the sequence.
    pub segments: usize,
    /// Vectors of a chunk of the depth, and fours of keys in a chunk of values. As arguments, for the CUDA compiler unrolls loops of
    /// known length until registers run out.
    pub depth: usize,
    pub value_fours: usize,
    /// The first vector of the output.
    pub out_start: usize,
    /// Vectors from the output of a part to that of the next.
    pub split_distance: usize,
}

/// A tile of rows against the keys of one part; see the module above. `lse` is `[splits, batch, heads, queries]`.
///
/// Launched with bounds checks: loads are few beside arithmetic, and it stays safe code.
#[cube(launch, address_type = "dynamic")]
#[allow(clippy::collapsible_if)] // `#[cube]` resolves the outer one at compile time, the inner one on the device
pub(super) fn attend_tile<Q: Float, K: Float, O: Float, M: Numeric, B: Float, N: Size>(
    q: &Tensor<Vector<Q, N>>,
    k: &Tensor<Vector<K, N>>,
    v: &Tensor<Vector<K, N>>,
    mask: &ComptimeOption<Array<M>>,
    bias: &ComptimeOption<Array<B>>,
    ends: &ComptimeOption<Array<u32>>,
    out: &mut Tensor<Vector<O, N>>,
    lse: &mut ComptimeOption<Array<f32>>,
    q_strides: HeadStrides,
    k_strides: HeadStrides,
    v_strides: HeadStrides,
    out_strides: HeadStrides,
    mask_strides: ScoreStrides,
    bias_strides: ScoreStrides,
    sizes: Sizes,
    scale: f32,
    softcap: f32,
    #[comptime] kinds: Kinds,
    #[comptime] tile: Blueprint,
    #[define(Q)] _q_dtype: StorageType,
    #[define(K)] _k_dtype: StorageType,
    #[define(O)] _o_dtype: StorageType,
    #[define(M)] _mask_dtype: StorageType,
    #[define(B)] _bias_dtype: StorageType,
) {
    let cubes = sizes.row_tiles * sizes.splits * sizes.kv_heads * sizes.batch;
    // A whole cube leaves here or none of it, so the barriers below stay converged.
    if CUBE_POS >= cubes {
        terminate!();
    }
    let row_units = comptime!(tile.row_units);
    let column_units = comptime!(tile.column_units);
    let values = comptime!(tile.values_a_unit);
    let group = comptime!(tile.group);
    let unit = UNIT_POS as usize;
    let ty = unit / column_units;
    let tx = unit % column_units;

    // Under a causal mask the last tiles have most to do: they start first.
    let first_row = (sizes.row_tiles - 1 - CUBE_POS % sizes.row_tiles) * comptime!(tile.rows());
    let part = CUBE_POS / sizes.row_tiles % sizes.splits;
    let kv_head = CUBE_POS / sizes.row_tiles / sizes.splits % sizes.kv_heads;
    let batch = CUBE_POS / sizes.row_tiles / sizes.splits / sizes.kv_heads;
    let rows = sizes.queries * group;

    // Keys that some row of the tile sees, of this part. Both bounds rise with the query.
    let last_row = min(first_row + comptime!(tile.rows()), rows) - 1;
    let begin = max(find_range(first_row / group, ends, &sizes, kinds).begin, part * sizes.split_keys);
    let end = min(find_range(last_row / group, ends, &sizes, kinds).end, (part + 1) * sizes.split_keys);
    let mut tiles = 0usize;
    if begin < end {
        tiles = (end - begin + comptime!(tile.keys() - 1)) / comptime!(tile.keys());
    }

    let q_source = Source {
        start: batch * q_strides.batch + kv_head * group * q_strides.head,
        distance: q_strides.position,
        member: q_strides.head,
        rows,
    };
    let k_source = Source {
        start: batch * k_strides.batch + kv_head * k_strides.head,
        distance: k_strides.position,
        member: 0usize,
        rows: end,
    };
    let v_source = Source {
        start: batch * v_strides.batch + kv_head * v_strides.head,
        distance: v_strides.position,
        member: 0usize,
        rows: end,
    };

    let mut stage = SharedMemory::<Four>::new(comptime!(tile.stage()));
    let mut weights = SharedMemory::<Four>::new(comptime!(tile.rows() * tile.weight_stride()));
    let mut partials = SharedMemory::<f32>::new(comptime!(tile.rows() * tile.column_units));
    let mut scores = Array::<f32>::new(comptime!(ROWS_A_UNIT * KEYS_A_UNIT));
    let mut output = Array::<Four>::new(comptime!(ROWS_A_UNIT * values));
    let mut largest = Array::<f32>::new(ROWS_A_UNIT);
    let mut sums = Array::<f32>::new(ROWS_A_UNIT);
    let mut begins = Array::<u32>::new(ROWS_A_UNIT);
    let mut range_ends = Array::<u32>::new(ROWS_A_UNIT);
    #[unroll]
    for i in 0..ROWS_A_UNIT {
        largest[i] = f32::new(f32::MIN);
        sums[i] = 0.0f32;
        let range = find_range((first_row + ty + comptime!(i * row_units)) / group, ends, &sizes, kinds);
        begins[i] = range.begin as u32;
        range_ends[i] = min(range.end, end) as u32;
        #[unroll]
        for c in 0..values {
            output[comptime!(i * values + c)] = Four::new(0.0f32);
        }
    }

    for step in 0..tiles {
        let first_key = begin + step * comptime!(tile.keys());
        #[unroll]
        for i in 0..comptime!(ROWS_A_UNIT * KEYS_A_UNIT) {
            scores[i] = 0.0f32;
        }
        for chunk in 0..comptime!(tile.chunks) {
            let column = chunk * comptime!(4 * tile.depth);
            sync_cube();
            load_rows(q, &q_source, first_row, column, &mut stage, comptime!(tile.query_chunk()), tile);
            load_rows(k, &k_source, first_key, column, &mut stage, comptime!(tile.key_chunk()), tile);
            sync_cube();
            add_scores(&stage, &mut scores, sizes.depth, ty, tx, tile);
        }

        #[unroll]
        for i in 0..ROWS_A_UNIT {
            let row = first_row + ty + comptime!(i * row_units);
            let query = row / group;
            let head = kv_head * group + row % group;
            let range = KeyRange { begin: begins[i] as usize, end: range_ends[i] as usize };
            let mask_at = batch * mask_strides.batch + head * mask_strides.head + query * mask_strides.query;
            let bias_at = batch * bias_strides.batch + head * bias_strides.head + query * bias_strides.query;
            let mut peak = f32::new(f32::MIN);
            #[unroll]
            for j in 0..KEYS_A_UNIT {
                let score = finish_score::<M, B>(
                    scores[comptime!(i * KEYS_A_UNIT + j)],
                    first_key + tx * KEYS_A_UNIT + j,
                    &range,
                    mask,
                    bias,
                    mask_at,
                    bias_at,
                    mask_strides.key,
                    bias_strides.key,
                    scale,
                    softcap,
                    kinds,
                );
                scores[comptime!(i * KEYS_A_UNIT + j)] = score;
                peak = max(peak, score);
            }
            partials[(ty + comptime!(i * row_units)) * column_units + tx] = peak;
        }
        sync_cube();

        #[unroll]
        for i in 0..ROWS_A_UNIT {
            let row = ty + comptime!(i * row_units);
            let mut next = largest[i];
            for c in 0..column_units {
                next = max(next, partials[row * column_units + c]);
            }
            let decay = f32::exp(largest[i] - next);
            largest[i] = next;
            let mut sum = sums[i] * decay;
            let mut four = Four::new(0.0f32);
            #[unroll]
            for j in 0..KEYS_A_UNIT {
                let score = scores[comptime!(i * KEYS_A_UNIT + j)];
                // Hidden keys weigh nothing, though they be all that a row has seen; NaN is none of them.
                let weight = select(score <= f32::new(f32::MIN), 0.0f32, f32::exp(score - next));
                four[j] = weight;
                sum += weight;
            }
            sums[i] = sum;
            weights[row * comptime!(tile.weight_stride()) + tx] = four;
            #[unroll]
            for c in 0..values {
                output[comptime!(i * values + c)] *= Four::new(decay);
            }
        }

        for chunk in 0..comptime!(tile.keys() / tile.value_keys) {
            // The stage is free: the barrier above, or that of the chunk before, which is behind all its readers.
            if chunk > 0 {
                sync_cube();
            }
            let first = first_key + chunk * comptime!(tile.value_keys);
            load_rows(v, &v_source, first, 0usize, &mut stage, comptime!(tile.value_chunk()), tile);
            sync_cube();
            add_values(&stage, &weights, &mut output, chunk * sizes.value_fours, sizes.value_fours, ty, tx, tile);
        }
    }

    // Sums over the units of a row.
    sync_cube();
    #[unroll]
    for i in 0..ROWS_A_UNIT {
        partials[(ty + comptime!(i * row_units)) * column_units + tx] = sums[i];
    }
    sync_cube();
    #[unroll]
    for i in 0..ROWS_A_UNIT {
        let row = ty + comptime!(i * row_units);
        let mut sum = 0.0f32;
        for c in 0..column_units {
            sum += partials[row * column_units + c];
        }
        let query = (first_row + row) / group;
        let head = kv_head * group + (first_row + row) % group;
        if query < sizes.queries {
            let to = sizes.out_start
                + part * sizes.split_distance
                + batch * out_strides.batch
                + head * out_strides.head
                + query * out_strides.position;
            // A query that sees no key gives 0; a sum of NaN is not 0.
            let recip = select(sum == 0.0f32, 0.0f32, 1.0f32 / sum);
            #[unroll]
            for c in 0..values {
                let element = (tx + comptime!(c * column_units)) * 4;
                store_four(out, to, element, output[comptime!(i * values + c)] * Four::new(recip), tile);
            }
            #[comptime]
            if let ComptimeOption::Some(lse) = lse {
                if tx == 0 {
                    let heads = sizes.kv_heads * group;
                    let at = ((part * sizes.batch + batch) * heads + head) * sizes.queries + query;
                    lse[at] = largest[i] + f32::ln(sum);
                }
            }
        }
    }
}

/// Writes up to four elements of a row that begins at vector `to`.
#[cube]
fn store_four<O: Float, N: Size>(
    out: &mut Tensor<Vector<O, N>>,
    to: usize,
    element: usize,
    four: Four,
    #[comptime] tile: Blueprint,
) {
    if comptime!(tile.vector == 4) {
        if element < tile.value_dim {
            out[to + element / 4] = Vector::cast_from(round_store::<O, Const<4>>(four));
        }
    } else {
        #[unroll]
        for lane in 0..4usize {
            if element + lane < tile.value_dim {
                out[to + element + lane] = Vector::cast_from(round_scalar::<O>(four[lane]));
            }
        }
    }
}
