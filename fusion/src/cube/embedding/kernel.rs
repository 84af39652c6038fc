//! The kernel.

use super::Blueprint;
use cubecl::prelude::*;

/// A vector of `N` of the output a unit: `vectors` of them a row, rows of the table `stride` vectors apart.
#[cube(launch, address_type = "dynamic")]
pub(super) fn gather_rows<W: Float, I: Int, N: Size>(
    table: &Tensor<Vector<W, N>>,
    ids: &Array<I>,
    output: &mut Array<Vector<f32, N>>,
    count: usize,
    rows: usize,
    vectors: usize,
    stride: usize,
    #[comptime] blueprint: Blueprint,
    #[define(W)] _table_dtype: StorageType,
    #[define(I)] _id_dtype: StorageType,
) {
    let at = CUBE_POS * comptime!(blueprint.units as usize) + UNIT_POS as usize;
    if at < count * vectors {
        let id = ids[at / vectors];
        // A device cannot report a bad id: NaN is seen, the row of another id would not be.
        let mut value = Vector::<f32, N>::new(f32::NAN);
        if id >= I::from_int(0) && id < I::cast_from(rows) {
            value = Vector::cast_from(table[usize::cast_from(id) * stride + at % vectors]);
        }
        output[at] = value;
    }
}
