//! Tiles of K and V as panels of f32.

use super::product::{pad_columns, panel};
use crate::kernels::Storage;
use crate::kernels::rows::load;
use crate::simd::Isa;

/// `n` rows of `d` elements, `stride` apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct TileRows<S> {
    pub(super) data: *const S,
    pub(super) stride: usize,
    pub(super) n: usize,
    pub(super) d: usize,
}

/// Packs keys transposed: panels `[d][keys]`, the keys padded with zeros to a multiple of [`crate::simd::PANEL`].
///
/// Squares of `LANES` keys by `LANES` elements are transposed in registers.
///
/// # Safety
/// `keys` is readable, `out` is writable for `d` times the padded number of keys.
#[inline(always)]
pub(super) unsafe fn pack_keys<I: Isa, S: Storage>(isa: I, keys: TileRows<S>, out: *mut f32) {
    let TileRows { data, stride, n, d } = keys;
    let columns = pad_columns(n);
    for first in (0..columns).step_by(I::LANES) {
        let base = first / panel::<I>() * panel::<I>();
        let width = panel::<I>().min(columns - base);
        let live = I::LANES.min(n.saturating_sub(first));
        for at in (0..d).step_by(I::LANES) {
            let lanes = I::LANES.min(d - at);
            let mut square = [isa.splat(0.0); 16];
            // SAFETY: the caller's promise: key `first + i` is one of n, and at + lanes ≤ d; row `at + i` of the panel that
            // begins at column `base` has `width` columns.
            unsafe {
                for (i, row) in square[..live].iter_mut().enumerate() {
                    *row = load(isa, data.add((first + i) * stride + at), lanes);
                }
                isa.transpose(&mut square);
                for (i, &row) in square[..lanes].iter().enumerate() {
                    isa.store(out.add(base * d + (at + i) * width + first - base), row);
                }
            }
        }
    }
}

/// Packs values as they are: panels `[n][columns]`, the columns padded with zeros to a multiple of [`crate::simd::PANEL`].
///
/// # Safety
/// `values` is readable, `out` is writable for `n` times the padded number of columns.
#[inline(always)]
pub(super) unsafe fn pack_values<I: Isa, S: Storage>(isa: I, values: TileRows<S>, out: *mut f32) {
    let TileRows { data, stride, n, d } = values;
    let columns = pad_columns(d);
    for key in 0..n {
        for at in (0..columns).step_by(I::LANES) {
            let base = at / panel::<I>() * panel::<I>();
            let width = panel::<I>().min(columns - base);
            // SAFETY: the caller's promise; lanes beyond d are zero.
            unsafe {
                let row =
                    if at < d { load(isa, data.add(key * stride + at), I::LANES.min(d - at)) } else { isa.splat(0.0) };
                isa.store(out.add(base * n + key * width + at - base), row);
            }
        }
    }
}
