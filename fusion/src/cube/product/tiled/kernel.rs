//! The kernel; see the module above for the algorithm.

use super::{
    Blueprint,
    blueprint::WIDTH,
    load::{Four, Side, fetch, fetch_rows, put},
};
use crate::cube::{
    product::epilogue::{activate, gate, read_optional},
    store::round_scalar,
};
use cubecl::prelude::*;

/// One tile a cube, tiles of rows first, then columns, then matrices of the batch. `recip_depth` is `1 / depth`.
#[cube(launch, address_type = "dynamic")]
pub(super) fn multiply_tiles<X: Float, W: Float, P: Float, G: Float, NX: Size, NW: Size>(
    x: &Tensor<Vector<X, NX>>,
    gamma: &ComptimeOption<Array<Vector<G, NX>>>,
    weights: &Sequence<Tensor<Vector<W, NW>>>,
    bias: &ComptimeOption<Array<P>>,
    residual: &ComptimeOption<Array<X>>,
    output: &mut Array<X>,
    x_side: Side,
    weight_side: Side,
    depth: usize,
    batches: usize,
    recip_depth: f32,
    epsilon: f32,
    #[comptime] blueprint: Blueprint,
    #[define(X)] _x_dtype: StorageType,
    #[define(W)] _weight_dtype: StorageType,
    #[define(P)] _bias_dtype: StorageType,
    #[define(G)] _gamma_dtype: StorageType,
) {
    let tile = comptime!(blueprint.tile);
    let columns = comptime!(tile.output_columns(blueprint.gated));
    let row_tiles = (x_side.count + comptime!(tile.rows - 1)) / comptime!(tile.rows);
    let column_tiles = (weight_side.count + comptime!(columns - 1)) / columns;
    let matrix = CUBE_POS / (row_tiles * column_tiles);
    // The grid may have cubes to spare. A whole cube leaves here or none of it, so the barriers below stay converged.
    if matrix >= batches {
        terminate!();
    }
    let place = CUBE_POS % (row_tiles * column_tiles);
    let first_row = place % row_tiles * comptime!(tile.rows);
    let first_column = place / row_tiles * columns;

    let mut x_tile = SharedMemory::<Vector<f32, Four>>::new(comptime!(2 * tile.rows * tile.pitch()));
    let mut weight_tile = SharedMemory::<Vector<f32, Four>>::new(comptime!(2 * tile.columns * tile.pitch()));
    let x_loads = comptime!(tile.vectors(tile.rows) / tile.units());
    let mut x_held = Array::<Vector<f32, Four>>::new(x_loads);
    let mut weight_held = Array::<Vector<f32, Four>>::new(comptime!(tile.vectors(tile.columns) / tile.units()));
    let mut squares = Array::<f32>::new(x_loads);
    #[unroll]
    for i in 0..x_loads {
        squares[i] = 0.0f32;
    }
    let mut sums = Array::<f32>::new(comptime!(tile.unit_rows * tile.unit_columns));
    #[unroll]
    for i in 0..comptime!(tile.unit_rows * tile.unit_columns) {
        sums[i] = 0.0f32;
    }

    // Step `s` loads step `s` of the depth and multiplies the one before: the first only loads, the last loads zeros.
    // What is stored is read after the barrier, while the other half is stored.
    let steps = (depth + comptime!(tile.depth - 1)) / comptime!(tile.depth);
    for step in 0..steps + 1 {
        let begin = step * comptime!(tile.depth);
        fetch_rows::<X, G, NX>(
            x,
            gamma,
            &mut x_held,
            &mut squares,
            &x_side,
            matrix,
            first_row,
            begin,
            depth,
            blueprint,
        );
        #[unroll]
        for weight in 0..comptime!(if blueprint.gated { 2usize } else { 1 }) {
            let part = comptime!((weight * columns, columns));
            let source = &weights[weight];
            fetch::<W, NW>(source, &mut weight_held, &weight_side, matrix, first_column, begin, depth, part, blueprint);
        }
        if step > 0 {
            multiply_stage(&x_tile, &weight_tile, &mut sums, (step + 1) % 2, blueprint);
        }
        put(&x_held, &mut x_tile, step % 2, tile, comptime!(tile.rows), blueprint.x);
        put(&weight_held, &mut weight_tile, step % 2, tile, comptime!(tile.columns), blueprint.weight);
        sync_cube();
    }

    let scales = compute_scales(&squares, recip_depth, epsilon, blueprint);
    let start = matrix * x_side.count * weight_side.count;
    store::<X, P>(
        &sums,
        &scales,
        bias,
        residual,
        output,
        start,
        (first_row, x_side.count),
        (first_column, weight_side.count),
        blueprint,
    );
}

/// The unit's place in the tile: it has rows `.0`, `.0 + units along the rows`, .. and columns likewise. So the columns
/// of neighbouring units are neighbours: they lie in different banks of shared memory, and their stores coalesce.
#[cube]
fn locate(#[comptime] blueprint: Blueprint) -> (usize, usize) {
    let across = comptime!(blueprint.tile.columns / blueprint.tile.unit_columns);
    (UNIT_POS as usize / across, UNIT_POS as usize % across)
}

/// Adds the products of one half of shared memory.
#[cube]
fn multiply_stage(
    x_tile: &SharedMemory<Vector<f32, Four>>,
    weight_tile: &SharedMemory<Vector<f32, Four>>,
    sums: &mut Array<f32>,
    stage: usize,
    #[comptime] blueprint: Blueprint,
) {
    let tile = comptime!(blueprint.tile);
    let pitch = comptime!(tile.pitch());
    let (row, column) = locate(blueprint);
    let x_start = (stage * comptime!(tile.rows) + row) * pitch;
    let weight_start = (stage * comptime!(tile.columns) + column) * pitch;
    let x_step = comptime!(tile.rows / tile.unit_rows * tile.pitch());
    let weight_step = comptime!(tile.columns / tile.unit_columns * tile.pitch());
    for vector in 0..comptime!(tile.depth / WIDTH) {
        let mut left = Array::<Vector<f32, Four>>::new(comptime!(tile.unit_rows));
        #[unroll]
        for i in 0..comptime!(tile.unit_rows) {
            left[i] = x_tile[x_start + i * x_step + vector];
        }
        #[unroll]
        for j in 0..comptime!(tile.unit_columns) {
            let right = weight_tile[weight_start + j * weight_step + vector];
            #[unroll]
            for lane in 0..WIDTH {
                #[unroll]
                for i in 0..comptime!(tile.unit_rows) {
                    let l = left[i];
                    sums[comptime!(i * tile.unit_columns + j)] += l[lane] * right[lane];
                }
            }
        }
    }
}

/// What the sums of each of the unit's rows are multiplied with: 1 / √(mean square + epsilon) of the row, or 1 without
/// a norm.
#[cube]
fn compute_scales(
    squares: &Array<f32>,
    recip_depth: f32,
    epsilon: f32,
    #[comptime] blueprint: Blueprint,
) -> Array<f32> {
    let tile = comptime!(blueprint.tile);
    let mut scales = Array::<f32>::new(comptime!(tile.unit_rows));
    if comptime!(blueprint.norm) {
        let vectors = comptime!(tile.depth / WIDTH);
        let mut shared = SharedMemory::<f32>::new(comptime!(tile.vectors(tile.rows)));
        #[unroll]
        for i in 0..comptime!(tile.vectors(tile.rows) / tile.units()) {
            // Loads of rows lie in this order: vector after vector, row after row.
            shared[UNIT_POS as usize + comptime!(i * tile.units())] = squares[i];
        }
        sync_cube();
        let (row, _) = locate(blueprint);
        #[unroll]
        for i in 0..comptime!(tile.unit_rows) {
            let start = (row + comptime!(i * (tile.rows / tile.unit_rows))) * vectors;
            let mut total = 0.0f32;
            #[unroll]
            for vector in 0..vectors {
                total += shared[start + vector];
            }
            scales[i] = f32::inverse_sqrt(total * recip_depth + epsilon);
        }
    } else {
        #[unroll]
        for i in 0..comptime!(tile.unit_rows) {
            scales[i] = 1.0f32;
        }
    }
    scales
}

/// The epilogue. `rows` and `columns` are the first one of the tile and the number of them in a matrix of the output,
/// which starts at `start`.
#[cube]
fn store<X: Float, P: Float>(
    sums: &Array<f32>,
    scales: &Array<f32>,
    bias: &ComptimeOption<Array<P>>,
    residual: &ComptimeOption<Array<X>>,
    output: &mut Array<X>,
    start: usize,
    rows: (usize, usize),
    columns: (usize, usize),
    #[comptime] blueprint: Blueprint,
) {
    let tile = comptime!(blueprint.tile);
    let (row, column) = locate(blueprint);
    let across = comptime!(tile.columns / tile.unit_columns);
    let down = comptime!(tile.rows / tile.unit_rows);
    let stored = comptime!(tile.output_columns(blueprint.gated) / across);
    #[unroll]
    for j in 0..stored {
        let column = columns.0 + column + comptime!(j * across);
        if column < columns.1 {
            let shift = read_optional::<P>(bias, column);
            #[unroll]
            for i in 0..comptime!(tile.unit_rows) {
                let row = rows.0 + row + comptime!(i * down);
                if row < rows.1 {
                    let place = start + row * columns.1 + column;
                    let value = sums[comptime!(i * tile.unit_columns + j)] * scales[i];
                    let finished = if comptime!(blueprint.gated) {
                        let up = sums[comptime!(i * tile.unit_columns + j + stored)] * scales[i];
                        gate(value, up)
                    } else {
                        activate(value + shift, blueprint.activation)
                    };
                    output[place] = round_scalar::<X>(finished + read_optional::<X>(residual, place));
                }
            }
        }
    }
}
