//! The kernels.

use super::{
    blueprint::Blueprint,
    dot::{dot_four, place_byte},
};
use crate::cube::rows::{self, find_row, find_unit, max_row, sum_row};
use cubecl::prelude::*;

/// The largest magnitude.
const LARGEST: f32 = 127.0;

/// One row a cube or a plane. Rows are `d` elements, `distance` apart in `x`, and `words` words in `values`.
#[cube(launch, address_type = "dynamic")]
pub(super) fn quantize_rows<X: Float>(
    x: &Tensor<X>,
    values: &mut Array<i32>,
    scales: &mut Array<f32>,
    count: usize,
    d: usize,
    distance: usize,
    words: usize,
    #[comptime] blueprint: rows::Blueprint,
    #[define(X)] _x_dtype: StorageType,
) {
    let row = find_row(blueprint);
    // A whole row's units leave here or none of them, so what they do together below stays converged.
    if row >= count {
        terminate!();
    }
    let unit = find_unit(blueprint);
    let units = comptime!(blueprint.units as usize);
    let mut largest = 0.0f32;
    for i in range_stepped(unit, d, units) {
        largest = max(largest, f32::abs(f32::cast_from(x[row * distance + i])));
    }
    let scale = max_row(largest, blueprint) / f32::new(LARGEST);
    // A row of zeros is 0 · 0.
    let inverse = select(scale == 0.0f32, 0.0f32, 1.0f32 / scale);
    for word in range_stepped(unit, words, units) {
        let mut packed = 0i32;
        #[unroll]
        for i in 0..4u32 {
            let at = word * 4 + comptime!(i as usize);
            if at < d {
                let value = f32::floor(f32::cast_from(x[row * distance + at]) * inverse + 0.5f32);
                let value = clamp(value, f32::new(-LARGEST), f32::new(LARGEST));
                packed |= place_byte(i32::cast_from(value), i);
            }
        }
        values[row * words + word] = packed;
    }
    if unit == 0 {
        scales[row] = scale;
    }
}

/// An output of `blueprint.rows` rows of `x` a cube or a plane. Rows are `vectors` vectors of `N` words.
#[cube(launch, address_type = "dynamic")]
pub(super) fn multiply_words<N: Size>(
    x: &Array<Vector<i32, N>>,
    weight: &Array<Vector<i32, N>>,
    x_scales: &Array<f32>,
    weight_scales: &Array<f32>,
    y: &mut Array<f32>,
    rows: usize,
    outputs: usize,
    items: usize,
    vectors: usize,
    #[comptime] blueprint: Blueprint,
) {
    let item = find_row(blueprint.sum);
    if item >= items {
        terminate!();
    }
    let unit = find_unit(blueprint.sum);
    let (first, output) = (item / outputs * comptime!(blueprint.rows), item % outputs);
    let mut sums = Array::<i32>::new(comptime!(blueprint.rows));
    #[unroll]
    for i in 0..comptime!(blueprint.rows) {
        sums[i] = 0i32;
    }
    for at in range_stepped(unit, vectors, comptime!(blueprint.sum.units as usize)) {
        let right = weight[output * vectors + at];
        #[unroll]
        for i in 0..comptime!(blueprint.rows) {
            // Rows that are not there repeat the last one; they are not stored.
            let left = x[min(first + i, rows - 1) * vectors + at];
            #[unroll]
            for lane in 0..N::value() {
                sums[i] = dot_four(left[lane], right[lane], sums[i]);
            }
        }
    }
    #[unroll]
    for i in 0..comptime!(blueprint.rows) {
        let total = sum_row::<i32>(sums[i], blueprint.sum);
        if unit == 0 && first + i < rows {
            y[(first + i) * outputs + output] = f32::cast_from(total) * (x_scales[first + i] * weight_scales[output]);
        }
    }
}
