//! Keys of a run as the first product reads them.

use super::super::packing::TileRows;
use super::{KEYS, STEP};
use crate::simd::{Avx512Bf16, Isa, TILE_BYTES};
use half::bf16;

/// Rows this far apart, in bytes, or a multiple, share 4 sets of L1 at most, which the 32 rows of two tiles fill by a
/// third or push each other out of. (Not measured against 2048.)
const CONFLICT: usize = 1024;

/// Where tiles of keys are.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyTile {
    pub(super) data: *const u8,
    /// Bytes from one key to the next.
    pub(super) stride: usize,
    /// Bytes from one step of the depth to the next.
    pub(super) step: usize,
    /// Bytes from the first 16 keys to the others.
    pub(super) half: usize,
}

/// The keys of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyTiles {
    /// The first one, a multiple of 32.
    pub(super) first: usize,
    /// Steps of the depth.
    pub(super) steps: usize,
    /// Keys that are read in place.
    in_place: usize,
    rows: TileRows<bf16>,
    copied: *const u8,
}

impl KeyTiles {
    /// Copies what is not read in place: everything where steps are not whole or rows conflict, else the last keys
    /// where they are not a whole tile. Copies are `[keys / 16][d / 32]` tiles `[16][32]`, zeros behind d and the last
    /// key.
    ///
    /// # Safety
    /// `rows` are readable, from key `first` on, and stay so; `out` is writable for them in whole tiles.
    #[inline(always)]
    pub(super) unsafe fn prepare(isa: Avx512Bf16, rows: TileRows<bf16>, first: usize, out: *mut f32) -> Self {
        let TileRows { data, stride, n, d } = rows;
        let steps = d.div_ceil(STEP);
        let fits = d.is_multiple_of(STEP) && !(stride * size_of::<bf16>()).is_multiple_of(CONFLICT);
        let in_place = if fits { n / KEYS * KEYS } else { 0 };
        let out: *mut u8 = out.cast();
        for key in in_place..n.next_multiple_of(KEYS) {
            for step in 0..steps {
                let words = if key < n { STEP.min(d - step * STEP) } else { 0 };
                isa.base().prefetch(data.wrapping_add((key + KEYS) * stride + step * STEP).cast());
                let to = out.wrapping_add(((key / 16) * steps + step) * TILE_BYTES + key % 16 * 64);
                // SAFETY: key and words of `rows`, or none; the key's row of a tile of `out` (`# Safety` of
                // `KeyTiles::prepare`).
                unsafe {
                    let row = isa.load_words(data.wrapping_add(key * stride + step * STEP).cast(), words);
                    isa.base().store(to.cast(), row);
                }
            }
        }
        Self { first, steps, in_place, rows, copied: out }
    }

    /// The 32 keys from `key` on, a multiple of 32.
    #[inline(always)]
    pub(super) fn tile(&self, key: usize) -> KeyTile {
        let at = key - self.first;
        if at < self.in_place {
            let stride = self.rows.stride * size_of::<bf16>();
            let data = self.rows.data.wrapping_add(at * self.rows.stride).cast();
            return KeyTile { data, stride, step: 2 * STEP, half: 16 * stride };
        }
        let half = self.steps * TILE_BYTES;
        KeyTile { data: self.copied.wrapping_add(at / 16 * half), stride: 64, step: TILE_BYTES, half }
    }
}
