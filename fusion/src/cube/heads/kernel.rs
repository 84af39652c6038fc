//! The kernel.

use crate::cube::rows::{Blueprint, find_row, find_unit, sum_lanes, sum_row};
use crate::cube::store::round_store;
use cubecl::prelude::*;

/// Distances in a tensor `[batch, heads, positions, d]`, in vectors.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub(in crate::cube) struct HeadStrides {
    /// Between batches.
    pub batch: usize,
    /// Between heads.
    pub head: usize,
    /// Between positions.
    pub position: usize,
}

/// Where in its tensor a head begins, in vectors.
#[cube]
fn locate(strides: &HeadStrides, batch: usize, head: usize, position: usize) -> usize {
    batch * strides.batch + head * strides.head + position * strides.position
}

/// One head of one position a row; see the module above. `heads` are those of queries, keys and values; rows are
/// `[batch, length, heads]`. A head is two halves of `half` vectors of `N`; `slots` of each fall to a unit. `first` is
/// the first position that is read, `start` where it goes in keys and values, `angle_batch` the distance in vectors
/// between the angles of batches.
///
/// Launched with bounds checks: they cost a comparison a load in a kernel that waits for memory, and keep it safe code.
#[cube(launch, address_type = "dynamic")]
pub(super) fn place_rows<X: Float, G: Float, Q: Float, C: Float, N: Size>(
    q: &Tensor<Vector<X, N>>,
    k: &ComptimeOption<Tensor<Vector<X, N>>>,
    v: &ComptimeOption<Tensor<Vector<X, N>>>,
    q_gamma: &ComptimeOption<Array<Vector<G, N>>>,
    k_gamma: &ComptimeOption<Array<Vector<G, N>>>,
    cos: &Array<Vector<f32, N>>,
    sin: &Array<Vector<f32, N>>,
    q_out: &mut Tensor<Vector<Q, N>>,
    k_out: &mut ComptimeOption<Tensor<Vector<C, N>>>,
    v_out: &mut ComptimeOption<Tensor<Vector<C, N>>>,
    q_strides: HeadStrides,
    k_strides: HeadStrides,
    v_strides: HeadStrides,
    q_out_strides: HeadStrides,
    k_out_strides: HeadStrides,
    v_out_strides: HeadStrides,
    q_heads: usize,
    k_heads: usize,
    heads: usize,
    length: usize,
    rows: usize,
    first: usize,
    start: usize,
    angle_batch: usize,
    recip_d: f32,
    epsilon: f32,
    #[comptime] half: usize,
    #[comptime] blueprint: Blueprint,
    #[define(X)] _x_dtype: StorageType,
    #[define(G)] _gamma_dtype: StorageType,
    #[define(Q)] _q_dtype: StorageType,
    #[define(C)] _cache_dtype: StorageType,
) {
    let row = find_row(blueprint);
    // A whole row's units leave here or none of them, so what they do together below stays converged.
    if row >= rows {
        terminate!();
    }
    let unit = find_unit(blueprint);
    let slots = comptime!(half.div_ceil(blueprint.units as usize));
    let head = row % heads;
    let position = row / heads % length;
    let batch = row / heads / length;
    let k_end = q_heads + k_heads;

    let mut a = Array::<Vector<f32, N>>::new(slots);
    let mut b = Array::<Vector<f32, N>>::new(slots);
    if head < q_heads {
        let from = locate(&q_strides, batch, head, position + first);
        load_head(q, from, unit, &mut a, &mut b, half, blueprint);
    } else if head < k_end {
        #[comptime]
        if let ComptimeOption::Some(k) = k {
            let from = locate(&k_strides, batch, head - q_heads, position + first);
            load_head(k, from, unit, &mut a, &mut b, half, blueprint);
        }
    } else {
        #[comptime]
        if let ComptimeOption::Some(v) = v {
            let from = locate(&v_strides, batch, head - k_end, position + first);
            load_head(v, from, unit, &mut a, &mut b, half, blueprint);
        }
    }

    let mut scale = 1.0f32;
    if comptime!(q_gamma.is_some() || k_gamma.is_some()) {
        let mut squares = Vector::<f32, N>::new(0.0f32);
        #[unroll]
        for slot in 0..slots {
            squares += a[slot] * a[slot] + b[slot] * b[slot];
        }
        // Of values too, whose sum is of no use: outside of any branch.
        let sum = sum_row::<f32>(sum_lanes(squares), blueprint);
        scale = f32::inverse_sqrt(sum * recip_d + epsilon);
    }

    let angle = batch * angle_batch + (position + first) * half;
    if head < q_heads {
        norm_head(q_gamma, scale, unit, &mut a, &mut b, half, blueprint);
        rotate_head(cos, sin, angle, unit, &mut a, &mut b, half, blueprint);
        let to = locate(&q_out_strides, batch, head, position);
        store_head(q_out, to, unit, &a, &b, half, blueprint);
    } else if head < k_end {
        #[comptime]
        if let ComptimeOption::Some(k_out) = k_out {
            norm_head(k_gamma, scale, unit, &mut a, &mut b, half, blueprint);
            rotate_head(cos, sin, angle, unit, &mut a, &mut b, half, blueprint);
            let to = locate(&k_out_strides, batch, head - q_heads, position + start);
            store_head(k_out, to, unit, &a, &b, half, blueprint);
        }
    } else {
        #[comptime]
        if let ComptimeOption::Some(v_out) = v_out {
            let to = locate(&v_out_strides, batch, head - k_end, position + start);
            store_head(v_out, to, unit, &a, &b, half, blueprint);
        }
    }
}

/// The unit's vectors of both halves; zeros past their end.
#[cube]
fn load_head<X: Float, N: Size>(
    x: &Tensor<Vector<X, N>>,
    from: usize,
    unit: usize,
    a: &mut Array<Vector<f32, N>>,
    b: &mut Array<Vector<f32, N>>,
    #[comptime] half: usize,
    #[comptime] blueprint: Blueprint,
) {
    let slots = comptime!(half.div_ceil(blueprint.units as usize));
    #[unroll]
    for slot in 0..slots {
        let i = unit + comptime!(slot * blueprint.units as usize);
        a[slot] = Vector::new(0.0f32);
        b[slot] = Vector::new(0.0f32);
        if i < half {
            a[slot] = Vector::cast_from(x[from + i]);
            b[slot] = Vector::cast_from(x[from + half + i]);
        }
    }
}

/// `· scale · gamma`, where there is a gamma.
#[cube]
fn norm_head<G: Float, N: Size>(
    gamma: &ComptimeOption<Array<Vector<G, N>>>,
    scale: f32,
    unit: usize,
    a: &mut Array<Vector<f32, N>>,
    b: &mut Array<Vector<f32, N>>,
    #[comptime] half: usize,
    #[comptime] blueprint: Blueprint,
) {
    let slots = comptime!(half.div_ceil(blueprint.units as usize));
    #[comptime]
    if let ComptimeOption::Some(gamma) = gamma {
        let scales = Vector::<f32, N>::new(scale);
        #[unroll]
        for slot in 0..slots {
            let i = unit + comptime!(slot * blueprint.units as usize);
            if i < half {
                a[slot] = a[slot] * scales * Vector::cast_from(gamma[i]);
                b[slot] = b[slot] * scales * Vector::cast_from(gamma[half + i]);
            }
        }
    }
}

/// `(a, b)` turned by the angles of the position, which begin at `angle`.
#[cube]
fn rotate_head<N: Size>(
    cos: &Array<Vector<f32, N>>,
    sin: &Array<Vector<f32, N>>,
    angle: usize,
    unit: usize,
    a: &mut Array<Vector<f32, N>>,
    b: &mut Array<Vector<f32, N>>,
    #[comptime] half: usize,
    #[comptime] blueprint: Blueprint,
) {
    let slots = comptime!(half.div_ceil(blueprint.units as usize));
    #[unroll]
    for slot in 0..slots {
        let i = unit + comptime!(slot * blueprint.units as usize);
        if i < half {
            let c = cos[angle + i];
            let s = sin[angle + i];
            let first = a[slot] * c - b[slot] * s;
            b[slot] = b[slot] * c + a[slot] * s;
            a[slot] = first;
        }
    }
}

/// Writes both halves, converted.
#[cube]
fn store_head<T: Float, N: Size>(
    x: &mut Tensor<Vector<T, N>>,
    to: usize,
    unit: usize,
    a: &Array<Vector<f32, N>>,
    b: &Array<Vector<f32, N>>,
    #[comptime] half: usize,
    #[comptime] blueprint: Blueprint,
) {
    let slots = comptime!(half.div_ceil(blueprint.units as usize));
    #[unroll]
    for slot in 0..slots {
        let i = unit + comptime!(slot * blueprint.units as usize);
        if i < half {
            x[to + i] = round_store::<T, N>(a[slot]);
            x[to + half + i] = round_store::<T, N>(b[slot]);
        }
    }
}
