//! The kernel; see the module above for the algorithm.

use super::Blueprint;
use crate::cube::{
    Reduction,
    product::epilogue::{activate, gate, read_optional},
    store::{round_scalar, round_store},
};
use cubecl::prelude::*;

/// Rows `[rows, vectors]` of `x` (vectors of `N`) times the weights of `blueprint.layers` layers, gate and up behind
/// each other where they share an output. With an addend, which lies as `x` does, the rows are those of `sum = x +
/// addend`. Rows start `x_stride` and `weight_stride` vectors apart; layer `i` has `lengths[i]` outputs. `recip_k` is
/// `1 / k`.
#[cube(launch, address_type = "dynamic")]
pub(super) fn multiply_few_rows<X: Float, W: Float, P: Float, G: Float, N: Size>(
    x: &Tensor<Vector<X, N>>,
    addend: &ComptimeOption<Tensor<Vector<X, N>>>,
    sum: &mut ComptimeOption<Array<Vector<X, N>>>,
    gamma: &ComptimeOption<Array<Vector<G, N>>>,
    weights: &Sequence<Tensor<Vector<W, N>>>,
    biases: &Sequence<ComptimeOption<Array<P>>>,
    residual: &ComptimeOption<Array<X>>,
    outputs: &mut Sequence<Array<X>>,
    lengths: &Sequence<usize>,
    rows: usize,
    vectors: usize,
    x_stride: usize,
    weight_stride: usize,
    recip_k: f32,
    epsilon: f32,
    #[comptime] blueprint: Blueprint,
    #[define(X)] _x_dtype: StorageType,
    #[define(W)] _weight_dtype: StorageType,
    #[define(P)] _bias_dtype: StorageType,
    #[define(G)] _gamma_dtype: StorageType,
) {
    let per_cube = comptime!(blueprint.outputs_per_cube());
    let chunk = comptime!(blueprint.chunk);
    let mut staged = SharedMemory::<Vector<f32, N>>::new(comptime!(blueprint.rows * blueprint.chunk));
    let mut totals = SharedMemory::<f32>::new(comptime!(blueprint.groups() * blueprint.sums()));

    // Layers take cubes one behind the other; `start` becomes the first output of this cube in its layer.
    let mut layer = 0usize.runtime();
    let mut start = CUBE_POS * per_cube;
    let mut outs = lengths[0];
    #[unroll]
    for before in 0..comptime!(blueprint.layers - 1) {
        let taken = (lengths[before] + comptime!(per_cube - 1)) / per_cube * per_cube;
        if layer == before && start >= taken {
            layer += 1;
            start -= taken;
            outs = lengths[comptime!(before + 1)];
        }
    }
    // The grid may have cubes to spare. A whole cube leaves here or none of it, so the barriers below stay converged.
    if start >= outs {
        terminate!();
    }

    let mut sums = Array::<f32>::new(comptime!(blueprint.sums()));
    #[unroll]
    for i in 0..comptime!(blueprint.sums()) {
        sums[i] = 0.0f32;
    }
    for begin in range_stepped(0, vectors, chunk) {
        let part = (begin, min(chunk, vectors - begin));
        let sizes = (rows, vectors, x_stride);
        stage_rows::<X, G, N>(x, addend, sum, gamma, &mut staged, &mut sums, part, sizes, blueprint);
        sync_cube();
        multiply_staged::<W, N>(weights, &staged, &mut sums, part, layer, (start, outs), weight_stride, blueprint);
        sync_cube();
    }
    add_lanes(&sums, &mut totals, blueprint);
    #[unroll]
    for i in 0..comptime!(blueprint.layers) {
        if layer == i {
            let (bias, output) = (&biases[i], outputs.index_mut(i));
            store::<X, P>(&totals, bias, residual, output, start, outs, rows, recip_k, epsilon, blueprint);
        }
    }
}

/// Unit of the cube to its group of lanes and its place among them.
#[cube]
fn locate(#[comptime] blueprint: Blueprint) -> (usize, usize) {
    match blueprint.reduction {
        Reduction::Planes { .. } => (PLANE_POS as usize, UNIT_POS_PLANE as usize),
        Reduction::SharedMemory => (UNIT_POS as usize / blueprint.lanes, UNIT_POS as usize % blueprint.lanes),
    }
}

/// `part.1` vectors of each row from `part.0` on into shared memory, times gamma, and their squares into the last sum.
/// A unit brings parts of one row only, and so do the groups before and behind it that have the same `group / groups
/// per row`. `sizes` are rows, vectors of a row, and vectors from one row to the next.
#[cube]
#[allow(clippy::collapsible_if)] // `#[cube]` resolves the outer one at compile time, the inner one on the device
fn stage_rows<X: Float, G: Float, N: Size>(
    x: &Tensor<Vector<X, N>>,
    addend: &ComptimeOption<Tensor<Vector<X, N>>>,
    sum: &mut ComptimeOption<Array<Vector<X, N>>>,
    gamma: &ComptimeOption<Array<Vector<G, N>>>,
    staged: &mut SharedMemory<Vector<f32, N>>,
    sums: &mut Array<f32>,
    part: (usize, usize),
    sizes: (usize, usize, usize),
    #[comptime] blueprint: Blueprint,
) {
    let units = comptime!(blueprint.units as usize / blueprint.rows);
    let (group, lane) = locate(blueprint);
    let unit = group * comptime!(blueprint.lanes) + lane;
    let row = unit / units;
    let begin = part.0;
    // Rows that are not there repeat the last one; they are not stored.
    let from = min(row, sizes.0 - 1) * sizes.2 + begin;
    for i in range_stepped(unit % units, part.1, units) {
        let mut v = Vector::<f32, N>::cast_from(x[from + i]);
        #[comptime]
        if let ComptimeOption::Some(addend) = addend {
            v += Vector::<f32, N>::cast_from(addend[from + i]);
        }
        // Every cube has all of it; the first one writes it.
        #[comptime]
        if let ComptimeOption::Some(sum) = sum {
            if CUBE_POS == 0 && row < sizes.0 {
                sum[row * sizes.1 + begin + i] = round_store::<X, N>(v);
            }
        }
        let at = row * comptime!(blueprint.chunk) + i;
        #[comptime]
        match gamma {
            ComptimeOption::Some(gamma) => {
                #[unroll]
                for lane in 0..N::value() {
                    sums[comptime!(blueprint.products())] += v[lane] * v[lane];
                }
                staged[at] = v * Vector::<f32, N>::cast_from(gamma[begin + i]);
            }
            ComptimeOption::None => {
                staged[at] = v;
            }
        }
    }
}

/// Adds the products of the staged `part` with those rows of the layer's weights that this group works on. `place` is
/// the first output of the cube and the number of them in the layer.
#[cube]
fn multiply_staged<W: Float, N: Size>(
    weights: &Sequence<Tensor<Vector<W, N>>>,
    staged: &SharedMemory<Vector<f32, N>>,
    sums: &mut Array<f32>,
    part: (usize, usize),
    layer: usize,
    place: (usize, usize),
    weight_stride: usize,
    #[comptime] blueprint: Blueprint,
) {
    let outputs = comptime!(blueprint.outputs);
    let (group, lane) = locate(blueprint);
    let first = place.0 + group * outputs;
    let mut from = Array::<usize>::new(outputs);
    #[unroll]
    for output in 0..outputs {
        from[output] = min(first + output, place.1 - 1) * weight_stride + part.0;
    }
    for i in range_stepped(lane, part.1, comptime!(blueprint.lanes)) {
        // All loads before the first product: they wait for memory together.
        let mut loaded = Array::<Vector<f32, N>>::new(comptime!(blueprint.weights * outputs));
        #[unroll]
        for l in 0..comptime!(blueprint.layers) {
            if layer == l {
                #[unroll]
                for at in 0..comptime!(blueprint.weights * outputs) {
                    let weight = &weights[comptime!(l + at / outputs)];
                    loaded[at] = Vector::cast_from(weight[from[comptime!(at % outputs)] + i]);
                }
            }
        }
        #[unroll]
        for row in 0..comptime!(blueprint.rows) {
            let v = staged[row * comptime!(blueprint.chunk) + i];
            #[unroll]
            for at in 0..comptime!(blueprint.weights * outputs) {
                let w = loaded[at];
                #[unroll]
                for lane in 0..N::value() {
                    sums[comptime!(at * blueprint.rows + row)] += v[lane] * w[lane];
                }
            }
        }
    }
}

/// Adds up the sums of each group's lanes: `totals[group · sums + i]`, for every unit to read.
#[cube]
fn add_lanes(sums: &Array<f32>, totals: &mut SharedMemory<f32>, #[comptime] blueprint: Blueprint) {
    let count = comptime!(blueprint.sums());
    match blueprint.reduction {
        Reduction::Planes { .. } => {
            let (group, lane) = locate(blueprint);
            #[unroll]
            for i in 0..count {
                let total = plane_sum(sums[i]);
                if lane == 0 {
                    totals[group * count + i] = total;
                }
            }
        }
        Reduction::SharedMemory => {
            let units = comptime!(blueprint.units as usize);
            let lanes = comptime!(blueprint.lanes);
            let mut partials = SharedMemory::<f32>::new(comptime!(blueprint.partials()));
            #[unroll]
            for i in 0..count {
                partials[i * units + UNIT_POS as usize] = sums[i];
            }
            sync_cube();
            for at in range_stepped(UNIT_POS as usize, comptime!(blueprint.groups() * blueprint.sums()), units) {
                let from = at % count * units + at / count * lanes;
                let mut total = 0.0f32;
                for lane in 0..lanes {
                    total += partials[from + lane];
                }
                totals[at] = total;
            }
        }
    }
    sync_cube();
}

/// The epilogue, one output a unit: neighbouring units store neighbouring outputs.
#[cube]
fn store<X: Float, P: Float>(
    totals: &SharedMemory<f32>,
    bias: &ComptimeOption<Array<P>>,
    residual: &ComptimeOption<Array<X>>,
    output: &mut Array<X>,
    start: usize,
    outs: usize,
    rows: usize,
    recip_k: f32,
    epsilon: f32,
    #[comptime] blueprint: Blueprint,
) {
    let per_cube = comptime!(blueprint.outputs_per_cube());
    let outputs = comptime!(blueprint.outputs);
    let sums = comptime!(blueprint.sums());
    let last = comptime!(blueprint.rows * blueprint.outputs_per_cube());
    for at in range_stepped(UNIT_POS as usize, last, comptime!(blueprint.units as usize)) {
        let row = at / per_cube;
        let column = start + at % per_cube;
        if row < rows && column < outs {
            let group = at % per_cube / outputs;
            let from = group * sums + at % outputs * comptime!(blueprint.rows) + row;
            let mut scale = 1.0f32;
            if comptime!(blueprint.norm) {
                let brought = comptime!(blueprint.groups() / blueprint.rows);
                let mut squares = 0.0f32;
                #[unroll]
                for other in 0..brought {
                    squares += totals[(row * brought + other) * sums + comptime!(blueprint.products())];
                }
                scale = f32::inverse_sqrt(squares * recip_k + epsilon);
            }
            let value = totals[from] * scale;
            let place = row * outs + column;
            let finished = if comptime!(blueprint.weights == 2) {
                let up = totals[from + comptime!(blueprint.outputs * blueprint.rows)] * scale;
                gate(value, up)
            } else {
                activate(value + read_optional::<P>(bias, column), blueprint.activation)
            };
            output[place] = round_scalar::<X>(finished + read_optional::<X>(residual, place));
        }
    }
}
