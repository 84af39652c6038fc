//! The kernel.

use super::Blueprint;
use cubecl::prelude::*;

/// A vector of `N` of the output a unit: `vectors` of them a row, rows of the table `stride` vectors apart; those of
/// ids outside of it are `missing`.
#[cube(launch, address_type = "dynamic")]
pub(super) fn gather_rows<W: Float, I: Int, N: Size>(
    table: &Tensor<Vector<W, N>>,
    ids: &Array<I>,
    output: &mut Array<Vector<f32, N>>,
    count: usize,
    rows: usize,
    vectors: usize,
    stride: usize,
    missing: f32,
    #[comptime] blueprint: Blueprint,
    #[define(W)] _table_dtype: StorageType,
    #[define(I)] _id_dtype: StorageType,
) {
    let at = CUBE_POS * comptime!(blueprint.units as usize) + UNIT_POS as usize;
    if at < count * vectors {
        let id = ids[at / vectors];
        let mut value = Vector::<f32, N>::new(missing);
        if id >= I::from_int(0) && id < I::cast_from(rows) {
            value = Vector::cast_from(table[usize::cast_from(id) * stride + at % vectors]);
        }
        output[at] = value;
    }
}
