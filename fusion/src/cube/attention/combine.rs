//! The output of attention from the outputs of parts of its keys.
//!
//! ```text
//! w_s = e^{lse_s - max lse}        out = Σ w_s · out_s / Σ w_s        lse = max lse + ln Σ w_s
//! ```

use crate::cube::heads::HeadStrides;
use crate::cube::rows::{Blueprint, find_row, find_unit};
use crate::cube::store::round_store;
use cubecl::prelude::*;

/// One query of one head a row; rows are `[batch, heads, queries]`. `parts` is `[splits, rows, vectors]`, `part_lse`
/// `[splits, rows]`.
#[cube(launch, address_type = "dynamic")]
#[allow(clippy::collapsible_if)] // `#[cube]` resolves the outer one at compile time, the inner one on the device
pub(super) fn combine_rows<O: Float, N: Size>(
    parts: &Array<Vector<f32, N>>,
    part_lse: &Array<f32>,
    out: &mut Tensor<Vector<O, N>>,
    lse: &mut ComptimeOption<Array<f32>>,
    out_strides: HeadStrides,
    out_start: usize,
    heads: usize,
    queries: usize,
    rows: usize,
    splits: usize,
    vectors: usize,
    #[comptime] blueprint: Blueprint,
    #[define(O)] _o_dtype: StorageType,
) {
    let row = find_row(blueprint);
    if row >= rows {
        terminate!();
    }
    let unit = find_unit(blueprint);
    // Where no part sees a key all are -∞, whose difference would be NaN.
    let mut peak = f32::new(f32::MIN);
    for part in 0..splits {
        peak = max(peak, part_lse[part * rows + row]);
    }
    let mut total = 0.0f32;
    for part in 0..splits {
        total += f32::exp(part_lse[part * rows + row] - peak);
    }
    let recip = Vector::<f32, N>::new(select(total == 0.0f32, 0.0f32, 1.0f32 / total));

    let query = row % queries;
    let head = row / queries % heads;
    let batch = row / queries / heads;
    let to = out_start + batch * out_strides.batch + head * out_strides.head + query * out_strides.position;
    for i in range_stepped(unit, vectors, comptime!(blueprint.units as usize)) {
        let mut sum = Vector::<f32, N>::new(0.0f32);
        for part in 0..splits {
            let weight = f32::exp(part_lse[part * rows + row] - peak);
            sum += parts[(part * rows + row) * vectors + i] * Vector::new(weight);
        }
        out[to + i] = round_store::<O, N>(sum * recip);
    }
    #[comptime]
    if let ComptimeOption::Some(lse) = lse {
        if unit == 0 {
            lse[row] = peak + f32::ln(total);
        }
    }
}
