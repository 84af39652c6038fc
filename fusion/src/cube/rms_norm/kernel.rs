//! The kernel.

use super::Blueprint;
use crate::cube::reduce::sum_cube;
use cubecl::prelude::*;

/// One row a cube; see the module above for the algorithm. Rows are `vectors` (`d / N`) vectors of `N`, and start `x_stride`
/// vectors apart in `x`; `recip_d` is `1 / d`.
///
/// Launched with bounds checks: they cost a comparison a load in a kernel that waits for memory, and keep it safe code.
#[cube(launch, address_type = "dynamic")]
pub(super) fn rms_norm_rows<X: Float, G: Float, N: Size>(
    x: &Tensor<Vector<X, N>>,
    gamma: &Array<Vector<G, N>>,
    y: &mut Array<Vector<X, N>>,
    rstd: &mut ComptimeOption<Array<f32>>,
    rows: usize,
    vectors: usize,
    x_stride: usize,
    recip_d: f32,
    epsilon: f32,
    #[comptime] blueprint: Blueprint,
    #[define(X)] _x: StorageType,
    #[define(G)] _gamma: StorageType,
) {
    let row = CUBE_POS;
    // The grid may have cubes to spare. A whole cube leaves here or none of it, so the barriers below stay converged.
    if row >= rows {
        terminate!();
    }
    let unit = UNIT_POS as usize;
    let units = comptime!(blueprint.units as usize);
    let x_start = row * x_stride;
    let y_start = row * vectors;

    let mut squares = Vector::<f32, N>::new(0.0f32);
    for i in range_stepped(unit, vectors, units) {
        let v = Vector::<f32, N>::cast_from(x[x_start + i]);
        squares += v * v;
    }
    let mut sum = 0.0f32;
    #[unroll]
    for lane in 0..N::value() {
        sum += squares[lane];
    }
    let total = sum_cube(sum, blueprint.units, blueprint.reduction);
    let scale = f32::inverse_sqrt(total * recip_d + epsilon);

    let scales = Vector::<f32, N>::new(scale);
    for i in range_stepped(unit, vectors, units) {
        let v = Vector::<f32, N>::cast_from(x[x_start + i]);
        y[y_start + i] = Vector::cast_from(v * scales * Vector::<f32, N>::cast_from(gamma[i]));
    }
    #[comptime]
    if let ComptimeOption::Some(rstd) = rstd {
        if unit == 0 {
            rstd[row] = scale;
        }
    }
}
