//! The kernel.

use crate::NormKind;
use crate::cube::rows::{Blueprint, find_row, find_unit, sum_lanes, sum_row};
use crate::cube::store::round_store;
use cubecl::prelude::*;

/// One row a cube or a plane; see the module above for the algorithm. Rows are `vectors` (`d / N`) vectors of `N`, and
/// start `x_distance` vectors apart in `x`, `residual_distance` in the residual; `recip_d` is `1 / d`. `sum` is there
/// with the residual.
///
/// Launched with bounds checks: they cost a comparison a load in a kernel that waits for memory, and keep it safe code.
#[cube(launch, address_type = "dynamic")]
#[allow(clippy::collapsible_if)] // `#[cube]` resolves the outer one at compile time, the inner one on the device
pub(super) fn norm_rows<X: Float, G: Float, N: Size>(
    x: &Tensor<Vector<X, N>>,
    residual: &ComptimeOption<Tensor<Vector<X, N>>>,
    gamma: &Array<Vector<G, N>>,
    beta: &ComptimeOption<Array<Vector<G, N>>>,
    y: &mut Array<Vector<X, N>>,
    sum: &mut ComptimeOption<Array<Vector<X, N>>>,
    rstd: &mut ComptimeOption<Array<f32>>,
    rows: usize,
    vectors: usize,
    x_distance: usize,
    residual_distance: usize,
    recip_d: f32,
    epsilon: f32,
    #[comptime] kind: NormKind,
    #[comptime] blueprint: Blueprint,
    #[define(X)] _x_dtype: StorageType,
    #[define(G)] _gamma_dtype: StorageType,
) {
    let row = find_row(blueprint);
    // A whole row's units leave here or none of them, so what they do together below stays converged.
    if row >= rows {
        terminate!();
    }
    let unit = find_unit(blueprint);
    let units = comptime!(blueprint.units as usize);
    let x_start = row * x_distance;
    let y_start = row * vectors;

    // Σ v² of an RMS norm, Σ v of a layer norm.
    let mut first = Vector::<f32, N>::new(0.0f32);
    for i in range_stepped(unit, vectors, units) {
        let mut v = Vector::<f32, N>::cast_from(x[x_start + i]);
        #[comptime]
        if let ComptimeOption::Some(residual) = residual {
            v += Vector::cast_from(residual[row * residual_distance + i]);
        }
        #[comptime]
        if let ComptimeOption::Some(sum) = sum {
            let stored = round_store::<X, N>(v);
            sum[y_start + i] = stored;
            v = Vector::cast_from(stored);
        }
        first += match kind {
            NormKind::Rms => v * v,
            NormKind::Layer => v,
        };
    }
    let first = sum_row::<f32>(sum_lanes(first), blueprint) * recip_d;

    let (mean, variance) = match kind {
        NormKind::Rms => (0.0f32, first),
        NormKind::Layer => {
            let mut squares = Vector::<f32, N>::new(0.0f32);
            for i in range_stepped(unit, vectors, units) {
                let v = Vector::<f32, N>::cast_from(x[x_start + i]) - Vector::new(first);
                squares += v * v;
            }
            (first, sum_row::<f32>(sum_lanes(squares), blueprint) * recip_d)
        }
    };
    let scale = f32::inverse_sqrt(variance + epsilon);

    let scales = Vector::<f32, N>::new(scale);
    for i in range_stepped(unit, vectors, units) {
        #[comptime]
        let v = match sum {
            ComptimeOption::Some(sum) => Vector::<f32, N>::cast_from(sum[y_start + i]),
            ComptimeOption::None => Vector::<f32, N>::cast_from(x[x_start + i]),
        };
        let centred = match kind {
            NormKind::Rms => v,
            NormKind::Layer => v - Vector::new(mean),
        };
        let mut normed = centred * scales * Vector::<f32, N>::cast_from(gamma[i]);
        #[comptime]
        if let ComptimeOption::Some(beta) = beta {
            normed += Vector::cast_from(beta[i]);
        }
        y[y_start + i] = round_store::<X, N>(normed);
    }
    #[comptime]
    if let ComptimeOption::Some(rstd) = rstd {
        if unit == 0 {
            rstd[row] = scale;
        }
    }
}
