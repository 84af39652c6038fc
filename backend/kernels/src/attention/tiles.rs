//! Tile sizes from the caches.

use super::panel::MAX_PANEL_ROWS;
use crate::Caches;
use crate::config::TilingConfig;
use crate::simd::Tier;

/// Most rows of a unit: their bounds are kept in arrays of this length.
pub(super) const MAX_ROWS: usize = 384;

/// Most keys of a tile.
const MAX_KEYS: usize = 4096;

/// At most this many rows are worth no panel: lanes would be empty, and each key is read once anyway.
pub(super) const DECODE_ROWS: usize = 8;

/// Rows of a panel of tiles of AMX: two of them.
pub(super) const AMX_PANEL_ROWS: usize = 32;

/// Most rows of a unit on AMX: values are transposed once a unit, which takes 12 % of the time with 1024 rows and 18 %
/// with 512 (2048 causal queries of 128, a prototype of this structure).
pub(super) const AMX_MAX_ROWS: usize = 1024;

/// Fewest rows of a key head that are worth tiles. 16 rows against 512 keys, 8 heads of 128: 163 GFLOP/s by tiles, 87
/// by `vdpbf16ps` (Granite Rapids, one thread); fewer were not measured.
const AMX_LEAST_ROWS: usize = 16;

/// Tile sizes of attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiles {
    /// Rows of a unit: queries of all heads that share a key head. 1 to 384.
    pub rows: usize,
    /// Keys of a tile, a multiple of 32.
    pub keys: usize,
}

/// Whether so many rows, queries of the heads that share a key head, run by tiles of AMX where all is bf16.
pub(super) fn runs_on_amx(tier: Tier, d: usize, rows: usize) -> bool {
    tier == Tier::Amx && d.is_multiple_of(2) && rows >= AMX_LEAST_ROWS && tier.is_available()
}

impl Tiles {
    /// Tiles for head sizes `d` and `dv`.
    ///
    /// ```text
    /// (keys + max(d, dv)) · 48 · 4         ≤ L1d          a panel of Q or of O beside its scores; 24 rows on AVX2
    /// keys · (d + dv)     · 4              ≤ 1/4 · L2     a tile of K and V
    /// rows · (d + dv)     · 4              ≤ 1/2 · L2     Q and O
    /// ```
    ///
    /// Rows are whole panels of every tier. Packing moves `dv` floats a key (`d + dv` where K is widened) for
    /// `rows · (d + dv)` multiply-adds: with 96 rows 2 to 4% of the time.
    pub fn derive(caches: Caches, d: usize, dv: usize) -> Self {
        const FLOAT: usize = size_of::<f32>();
        let both = (d + dv).max(1);
        let panel = (caches.l1d / (FLOAT * MAX_PANEL_ROWS)).saturating_sub(d.max(dv));
        let tile = caches.l2 / 4 / (FLOAT * both);
        let keys = (panel.min(tile) / 32 * 32).clamp(64, 256);
        let rows = (caches.l2 / 2 / (FLOAT * both) / MAX_PANEL_ROWS * MAX_PANEL_ROWS).clamp(MAX_PANEL_ROWS, MAX_ROWS);
        Self { rows, keys }
    }

    /// Tiles for this machine.
    pub fn detect(d: usize, dv: usize) -> Self {
        Self::derive(Caches::detect(), d, dv)
    }

    /// Tiles for AMX: the sizes of `self` that are not those of [`Tiles::detect`] are somebody's choice, and kept.
    pub(super) fn for_amx(self, d: usize, dv: usize) -> Self {
        let (usual, amx) = (Self::detect(d, dv), Self::derive_amx(Caches::detect(), d, dv));
        Self {
            rows: if self.rows == usual.rows { amx.rows } else { self.rows },
            keys: if self.keys == usual.keys { amx.keys } else { self.keys.next_multiple_of(32) },
        }
    }

    /// Tiles for AMX, bf16 queries, keys and values of `d` and `dv` in whole steps:
    ///
    /// ```text
    /// keys · (d + dv) · 2            ≤ 1/4 · L2     a run of K and V
    /// rows · (2 · d + 4 · dv)        ≤ 3/8 · L2     Q and O
    /// ```
    fn derive_amx(caches: Caches, d: usize, dv: usize) -> Self {
        let (d, dv) = (d.max(1).next_multiple_of(32), dv.next_multiple_of(16));
        let keys = caches.l2 / 4 / (2 * (d + dv)) / 256 * 256;
        let rows = caches.l2 * 3 / 8 / (2 * d + 4 * dv) / AMX_PANEL_ROWS * AMX_PANEL_ROWS;
        Self { rows: rows.clamp(AMX_PANEL_ROWS, AMX_MAX_ROWS), keys: keys.clamp(256, 1024) }
    }

    /// Tiles of the backward pass for head sizes `d` and `dv`.
    ///
    /// ```text
    /// keys · 48 · 4              ≤ 1/2 · L1d         gradients of scores of a panel
    /// keys · 2 (d + dv) · 4      ≤ 1/4 · L2          a tile of K and V, and of their gradients
    /// rows · (3 d + 2 dv) · 4    ≤ 3/8 · L2          Q and the result's gradient in both forms, and dQ
    /// ```
    ///
    /// Sums of keys' gradients are read and written once for the rows of a tile, those of queries once for its keys: 4
    /// % of the time with 48 of them, 1 % with 144.
    pub fn derive_backward(caches: Caches, d: usize, dv: usize) -> Self {
        const FLOAT: usize = size_of::<f32>();
        let panel = caches.l1d / 2 / (FLOAT * MAX_PANEL_ROWS);
        let tile = caches.l2 / 4 / (FLOAT * 2 * (d + dv).max(1));
        let rows = caches.l2 * 3 / 8 / (FLOAT * (3 * d + 2 * dv).max(1)) / MAX_PANEL_ROWS * MAX_PANEL_ROWS;
        Self { rows: rows.clamp(MAX_PANEL_ROWS, MAX_ROWS / 2), keys: (panel.min(tile) / 32 * 32).clamp(32, 128) }
    }

    /// Tiles of the backward pass for this machine.
    pub fn detect_backward(d: usize, dv: usize) -> Self {
        Self::derive_backward(Caches::detect(), d, dv)
    }

    /// Sizes that are possible: at least a row, and keys in whole register tiles.
    pub(super) fn checked(self) -> Self {
        Self { rows: self.rows.max(1), keys: self.keys.clamp(1, MAX_KEYS).next_multiple_of(32) }
    }

    /// The same with the sizes that a configuration fixes, rounded to what is possible.
    #[must_use]
    pub fn with(self, config: &TilingConfig) -> Self {
        Self {
            rows: config.attention_q.map_or(self.rows, |rows| rows.clamp(1, MAX_ROWS)),
            keys: config.attention_k.map_or(self.keys, |keys| keys.clamp(1, MAX_KEYS).next_multiple_of(32)),
        }
    }
}
