//! Values of a run, transposed into tiles.

use super::super::packing::TileRows;
use super::{KEYS, TILE};
use crate::simd::{Avx512Bf16, Isa};
use half::bf16;

/// Columns of V that are read at once: a register.
const COLUMNS: usize = 32;

/// Tiles `[dv / 16][tiles]`, of which those of the keys there are: 16 columns by 32 keys each, zeros where there is no
/// column or key.
///
/// Words of two keys are interleaved, then squares of 16 such words transposed.
///
/// # Safety
/// `values` are readable, at most `tiles` tiles of keys; `out` is writable for the tiles.
#[inline(always)]
pub(super) unsafe fn pack(isa: Avx512Bf16, values: TileRows<bf16>, out: *mut f32, tiles: usize) {
    let TileRows { data, stride, n, d } = values;
    let base = isa.base();
    let zero = base.splat(0.0);
    let column_tiles = d.div_ceil(16);
    for tile in 0..n.div_ceil(KEYS) {
        for column in (0..d).step_by(COLUMNS) {
            let words = COLUMNS.min(d - column);
            let (mut low, mut high) = ([zero; 16], [zero; 16]);
            for (pair, (low, high)) in low.iter_mut().zip(&mut high).enumerate() {
                let key = tile * KEYS + 2 * pair;
                let mut rows = [zero; 2];
                for (key, row) in (key..n).zip(&mut rows) {
                    base.prefetch(data.wrapping_add((key + KEYS) * stride + column).cast());
                    // SAFETY: words of a key of `values` (`# Safety` of `pack`).
                    *row = unsafe { isa.load_words(data.add(key * stride + column).cast(), words) };
                }
                [*low, *high] = isa.interleave_words(rows[0], rows[1]);
            }
            base.transpose(&mut low);
            base.transpose(&mut high);
            for half in 0..2 {
                let at = column / 16 + half;
                if at >= column_tiles {
                    break;
                }
                let to = out.wrapping_add((at * tiles + tile) * TILE);
                for row in 0..16 {
                    // Column `8 q + i` is lane `4 q + i` of the first halves of quarters, `8 q + 4 + i` of the second.
                    let column = half * 16 + row;
                    let lane = column / 8 * 4 + column % 4;
                    let words = if column % 8 < 4 { low[lane] } else { high[lane] };
                    // SAFETY: a row of a tile of `out` (`# Safety` of `pack`).
                    unsafe { base.store(to.add(row * 16), words) };
                }
            }
        }
    }
}
