//! From global memory over registers to shared memory.

use super::{Blueprint, Gather, Tile, blueprint::WIDTH};
use cubecl::prelude::*;

/// Lanes of a vector in shared memory: four steps of the depth.
pub(super) type Four = Const<4>;

/// A side of the product as the kernel reads it: distances in loads.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub(super) struct Side {
    /// Indices of the side.
    pub count: usize,
    /// From one index to the next.
    pub stride: usize,
    /// From one element of the depth to the next; only read where single elements are loaded.
    pub depth_stride: usize,
    /// From one matrix to the next.
    pub batch_stride: usize,
}

/// Which index of the side and which vector of the depth a unit's `load`-th one is, of `side` indices a tile.
#[cube]
fn locate(
    #[comptime] load: usize,
    #[comptime] tile: Tile,
    #[comptime] side: usize,
    #[comptime] gather: Gather,
) -> (usize, usize) {
    let at = UNIT_POS as usize + comptime!(load * tile.units());
    let vectors = comptime!(tile.depth / WIDTH);
    if comptime!(gather == Gather::Columns) { (at % side, at / side) } else { (at / vectors, at % vectors) }
}

/// Elements `depth..depth + 4` at `index` of a side, zeros where it ends.
#[cube]
fn load<T: Float, N: Size>(
    source: &Tensor<Vector<T, N>>,
    side: &Side,
    matrix: usize,
    index: usize,
    depth: usize,
    end: usize,
    #[comptime] gather: Gather,
) -> Vector<f32, Four> {
    let mut loaded = Vector::<f32, Four>::new(0.0f32);
    if index < side.count {
        let start = matrix * side.batch_stride + index * side.stride;
        if comptime!(gather == Gather::Vectors) {
            if depth < end {
                loaded = Vector::cast_from(source[start + depth / WIDTH]);
            }
        } else {
            #[unroll]
            for lane in 0..WIDTH {
                if depth + lane < end {
                    loaded[lane] = f32::cast_from(source[start + (depth + lane) * side.depth_stride][0]);
                }
            }
        }
    }
    loaded
}

/// The unit's part of a tile of the right side into registers: of the `part.1` indices of the tile from `part.0` on,
/// the first of which is index `first` of the side. The rest of `held` stays as it is.
#[cube]
pub(super) fn fetch<T: Float, N: Size>(
    source: &Tensor<Vector<T, N>>,
    held: &mut Array<Vector<f32, Four>>,
    side: &Side,
    matrix: usize,
    first: usize,
    begin: usize,
    end: usize,
    #[comptime] part: (usize, usize),
    #[comptime] blueprint: Blueprint,
) {
    let tile = comptime!(blueprint.tile);
    #[unroll]
    for i in 0..comptime!(tile.vectors(tile.columns) / tile.units()) {
        let (index, vector) = locate(i, tile, comptime!(tile.columns), blueprint.weight);
        let depth = begin + vector * WIDTH;
        if comptime!(part.1 == tile.columns) {
            held[i] = load::<T, N>(source, side, matrix, first + index, depth, end, blueprint.weight);
        } else if index >= comptime!(part.0) && index < comptime!(part.0 + part.1) {
            let index = first + index - comptime!(part.0);
            held[i] = load::<T, N>(source, side, matrix, index, depth, end, blueprint.weight);
        }
    }
}

/// The unit's part of a tile of `x` into registers, times gamma, and its squares into `squares`.
#[cube]
pub(super) fn fetch_rows<T: Float, G: Float, N: Size>(
    source: &Tensor<Vector<T, N>>,
    gamma: &ComptimeOption<Array<Vector<G, N>>>,
    held: &mut Array<Vector<f32, Four>>,
    squares: &mut Array<f32>,
    side: &Side,
    matrix: usize,
    first: usize,
    begin: usize,
    end: usize,
    #[comptime] blueprint: Blueprint,
) {
    let tile = comptime!(blueprint.tile);
    #[unroll]
    for i in 0..comptime!(tile.vectors(tile.rows) / tile.units()) {
        let (index, vector) = locate(i, tile, comptime!(tile.rows), blueprint.x);
        let depth = begin + vector * WIDTH;
        let loaded = load::<T, N>(source, side, matrix, first + index, depth, end, blueprint.x);
        #[comptime]
        match gamma {
            ComptimeOption::Some(gamma) => {
                #[unroll]
                for lane in 0..WIDTH {
                    squares[i] += loaded[lane] * loaded[lane];
                }
                held[i] = loaded * load_gamma::<G, N>(gamma, depth, end, blueprint.x);
            }
            ComptimeOption::None => {
                held[i] = loaded;
            }
        }
    }
}

/// Elements `depth..depth + 4` of gamma, zeros where it ends.
#[cube]
fn load_gamma<G: Float, N: Size>(
    gamma: &Array<Vector<G, N>>,
    depth: usize,
    end: usize,
    #[comptime] gather: Gather,
) -> Vector<f32, Four> {
    let mut loaded = Vector::<f32, Four>::new(0.0f32);
    if comptime!(gather == Gather::Vectors) {
        if depth < end {
            loaded = Vector::cast_from(gamma[depth / WIDTH]);
        }
    } else {
        #[unroll]
        for lane in 0..WIDTH {
            if depth + lane < end {
                loaded[lane] = f32::cast_from(gamma[depth + lane][0]);
            }
        }
    }
    loaded
}

/// What a unit holds of a tile of `side` indices into half `stage` of its shared memory.
#[cube]
pub(super) fn put(
    held: &Array<Vector<f32, Four>>,
    shared: &mut SharedMemory<Vector<f32, Four>>,
    stage: usize,
    #[comptime] tile: Tile,
    #[comptime] side: usize,
    #[comptime] gather: Gather,
) {
    #[unroll]
    for i in 0..comptime!(tile.vectors(side) / tile.units()) {
        let (index, vector) = locate(i, tile, side, gather);
        shared[(stage * side + index) * comptime!(tile.pitch()) + vector] = held[i];
    }
}
