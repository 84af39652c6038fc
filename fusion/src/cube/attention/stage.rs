//! Tiles from device memory to shared memory, and what the kernel multiplies there.

use super::blueprint::{Blueprint, KEYS_A_UNIT, ROWS_A_UNIT};
use cubecl::prelude::*;

/// Four floats, the unit of shared memory.
pub(super) type Four = Vector<f32, Const<4>>;

/// Rows of a tensor: `row` lies `row · distance` vectors from `start`, or, where a position has a row for each member
/// of a group, `row / group · distance + row % group · member`. Rows from `rows` on, and elements from the length of a
/// row on, are zeros.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Source {
    pub start: usize,
    pub distance: usize,
    pub member: usize,
    pub rows: usize,
}

/// A part of shared memory and what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Chunk {
    /// Its first vector.
    to: usize,
    /// Rows.
    rows: usize,
    /// Vectors of a row, and from a row to the next.
    width: usize,
    stride: usize,
    /// Elements of a whole row of the tensor.
    length: usize,
    /// Members of a group that lie apart; 1 where rows are evenly spaced.
    group: usize,
    /// Where so many units score keys `u · 4 + j` each, row `u · 4 + j` goes where `j · units + u` would: units then
    /// read neighbouring rows for a `j`.
    scattered: Option<usize>,
}

impl Blueprint {
    /// A chunk of the depth of queries.
    pub(super) fn query_chunk(&self) -> Chunk {
        Chunk {
            to: 0,
            rows: self.rows(),
            width: self.depth,
            stride: self.depth_stride(),
            length: self.head_dim,
            group: self.group,
            scattered: None,
        }
    }

    /// The same chunk of the depth of keys.
    pub(super) fn key_chunk(&self) -> Chunk {
        Chunk {
            to: self.rows() * self.depth_stride(),
            rows: self.keys(),
            group: 1,
            scattered: Some(self.column_units),
            ..self.query_chunk()
        }
    }

    /// Whole values of some keys.
    pub(super) fn value_chunk(&self) -> Chunk {
        Chunk {
            to: 0,
            rows: self.value_keys,
            width: self.value_stride(),
            stride: self.value_stride(),
            length: self.value_dim,
            group: 1,
            scattered: None,
        }
    }
}

/// Copies rows `first ..` of `x`, from element `column` on, to `stage`.
#[cube]
pub(super) fn load_rows<X: Float, N: Size>(
    x: &Tensor<Vector<X, N>>,
    source: &Source,
    first: usize,
    column: usize,
    stage: &mut SharedMemory<Four>,
    #[comptime] chunk: Chunk,
    #[comptime] tile: Blueprint,
) {
    let units = comptime!(tile.units() as usize);
    let width = comptime!(chunk.width);
    let length = comptime!(chunk.length);
    let total = comptime!(chunk.rows * chunk.width);
    for i in range_stepped(UNIT_POS as usize, total, units) {
        let row = i / width;
        let element = column + i % width * 4;
        let from = first + row;
        let mut four = Four::new(0.0f32);
        if from < source.rows {
            let start = if comptime!(chunk.group > 1) {
                source.start
                    + from / comptime!(chunk.group) * source.distance
                    + from % comptime!(chunk.group) * source.member
            } else {
                source.start + from * source.distance
            };
            if comptime!(tile.vector == 4) {
                if element < length {
                    four = Four::cast_from(x[start + element / 4]);
                }
            } else {
                #[unroll]
                for lane in 0..4usize {
                    if element + lane < length {
                        four[lane] = Vector::<f32, N>::cast_from(x[start + element + lane])[0];
                    }
                }
            }
        }
        let slot = if comptime!(chunk.scattered.is_some()) {
            row % KEYS_A_UNIT * comptime!(chunk.scattered.unwrap_or(1)) + row / KEYS_A_UNIT
        } else {
            row
        };
        stage[comptime!(chunk.to) + slot * comptime!(chunk.stride) + i % width] = four;
    }
}

/// `scores[i · 4 + j] += q_i · k_j` over the chunk of so many `vectors` in `stage`, for the unit's rows `ty + i ·
/// row_units` and its keys.
#[cube]
pub(super) fn add_scores(
    stage: &SharedMemory<Four>,
    scores: &mut Array<f32>,
    vectors: usize,
    ty: usize,
    tx: usize,
    #[comptime] tile: Blueprint,
) {
    let stride = comptime!(tile.depth_stride());
    let keys_start = comptime!(tile.rows() * stride);
    let rows = comptime!(ROWS_A_UNIT);
    let mut q = Array::<Four>::new(rows);
    let mut k = Array::<Four>::new(KEYS_A_UNIT);
    for depth in 0..vectors {
        #[unroll]
        for i in 0..rows {
            q[i] = stage[(ty + comptime!(i * tile.row_units)) * stride + depth];
        }
        #[unroll]
        for j in 0..KEYS_A_UNIT {
            k[j] = stage[keys_start + (tx + comptime!(j * tile.column_units)) * stride + depth];
        }
        #[unroll]
        for i in 0..rows {
            #[unroll]
            for j in 0..KEYS_A_UNIT {
                let product = q[i] * k[j];
                scores[comptime!(i * KEYS_A_UNIT + j)] += product[0] + product[1] + product[2] + product[3];
            }
        }
    }
}

/// `out[i · values + c] += Σ P[row i, key] · V[key, column c]` over the chunk of four times `fours` keys in `stage`,
/// whose weights begin at vector `from` of a row of `weights`.
#[cube]
pub(super) fn add_values(
    stage: &SharedMemory<Four>,
    weights: &SharedMemory<Four>,
    out: &mut Array<Four>,
    from: usize,
    fours: usize,
    ty: usize,
    tx: usize,
    #[comptime] tile: Blueprint,
) {
    let rows = comptime!(ROWS_A_UNIT);
    let values = comptime!(tile.values_a_unit);
    let value_stride = comptime!(tile.value_stride());
    let weight_stride = comptime!(tile.weight_stride());
    let mut p = Array::<Four>::new(rows);
    for four in 0..fours {
        #[unroll]
        for i in 0..rows {
            p[i] = weights[(ty + comptime!(i * tile.row_units)) * weight_stride + from + four];
        }
        #[unroll]
        for lane in 0..4usize {
            #[unroll]
            for c in 0..values {
                let v = stage[(four * 4 + lane) * value_stride + tx + comptime!(c * tile.column_units)];
                #[unroll]
                for i in 0..rows {
                    out[comptime!(i * values + c)] += Four::new(p[i][lane]) * v;
                }
            }
        }
    }
}
