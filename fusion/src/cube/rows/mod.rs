//! What kernels have in common that read a row, reduce it to a number or two and read it again: norms, softmax, rotated
//! heads.
//!
//! ```text
//! short rows    a plane a row, several rows a cube: the row is reduced in registers, without a barrier
//! longer rows   a cube a row: planes reduce in registers, then each other's results through shared memory
//! ```
//!
//! Neighbouring units read neighbouring vectors, so loads coalesce. The second read of a row comes from the cache that
//! the first one filled: a row of the models at hand is 4 to 20 KiB.

mod blueprint;

pub use blueprint::{Blueprint, Strategy};

use super::reduce::{max_cube, sum_cube};
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use cubecl::prelude::*;

/// The row of this unit. It may lie past the last one: the grid may have cubes to spare, and the last cube rows.
#[cube]
pub(super) fn find_row(#[comptime] blueprint: Blueprint) -> usize {
    if comptime!(blueprint.rows == 1) {
        CUBE_POS
    } else {
        CUBE_POS * comptime!(blueprint.rows as usize) + PLANE_POS as usize
    }
}

/// The place of this unit among those of its row.
#[cube]
pub(super) fn find_unit(#[comptime] blueprint: Blueprint) -> usize {
    if comptime!(blueprint.rows == 1) { UNIT_POS as usize } else { UNIT_POS_PLANE as usize }
}

/// The sum of `value` over the units of a row, in each of them; all must call it.
#[cube]
pub(super) fn sum_row<T: Numeric>(value: T, #[comptime] blueprint: Blueprint) -> T {
    sum_cube::<T>(value, blueprint.units, blueprint.reduction)
}

/// The largest `value` of the units of a row, in each of them; all must call it.
#[cube]
pub(super) fn max_row(value: f32, #[comptime] blueprint: Blueprint) -> f32 {
    max_cube(value, blueprint.units, blueprint.reduction)
}

/// The sum of a vector's elements.
#[cube]
pub(super) fn sum_lanes<N: Size>(vector: Vector<f32, N>) -> f32 {
    let mut sum = 0.0f32;
    #[unroll]
    for lane in 0..N::value() {
        sum += vector[lane];
    }
    sum
}

/// The distance between neighbouring rows when it is the same for all of them and the elements of a row are neighbours.
pub(super) fn find_row_stride<R: CubeRuntime>(x: &CubeTensor<R>) -> Option<usize> {
    let shape = x.meta.shape().to_vec();
    let (&d, leading) = shape.split_last()?;
    let strides = x.meta.strides();
    if d > 1 && strides[leading.len()] != 1 {
        return None;
    }
    // From the right, each dimension longer than 1 must start where the ones after it end.
    let mut found = None;
    let mut expected = 0;
    for (&length, &stride) in leading.iter().zip(strides.iter()).rev().filter(|(length, _)| **length != 1) {
        match found {
            None => found = Some(stride),
            Some(_) if stride != expected => return None,
            Some(_) => {}
        }
        expected = stride * length;
    }
    found.or(Some(d)).filter(|&stride| stride >= d)
}
