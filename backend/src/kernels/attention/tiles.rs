//! Tile sizes from the caches.

use crate::kernels::gemm::Caches;
use burn_kiln_fusion::config::TilingConfig;

/// Most rows of a tile: their bounds are kept in arrays of this length.
pub(super) const MAX_ROWS: usize = 128;

/// At most this many rows are worth no packing: each key is read once anyway, and a row of Q and of O still fits in
/// registers beside it.
pub(super) const FEW_ROWS: usize = 8;

/// Tile sizes of attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiles {
    /// Rows of a tile: queries of all heads that share a key head. 1 to 128.
    pub rows: usize,
    /// Keys of a tile, a multiple of 32.
    pub keys: usize,
}

impl Tiles {
    /// Tiles for head sizes `d` and `dv`.
    ///
    /// ```text
    /// keys · (d + dv)        · 4 ≤ 1/4 · L2        packed K and V; panels of 32 keys of them pass through L1
    /// rows · (d + dv + keys) · 4 ≤ 3/8 · L2        Q, O and S
    /// ```
    ///
    /// The rest of L2 is for what streams in. The i5-10210U (256 KB) gets 64 x 64 for d = 128 and 96 x 128 for d = 64. More
    /// rows mean that a packed tile of K and V serves more of them; more than 128 gain nothing measurable, as packing is then
    /// below 10 % of the work.
    pub fn derive(caches: Caches, d: usize, dv: usize) -> Self {
        const FLOAT: usize = size_of::<f32>();
        let keys = (caches.l2 / 4 / (FLOAT * (d + dv).max(1)) / 32 * 32).clamp(32, 128);
        let rows = (caches.l2 * 3 / 8 / (FLOAT * (d + dv + keys)) / 16 * 16).clamp(16, MAX_ROWS);
        Self { rows, keys }
    }

    /// Tiles for this machine.
    pub fn detect(d: usize, dv: usize) -> Self {
        Self::derive(Caches::detect(), d, dv)
    }

    /// The same with the sizes that a configuration fixes, rounded to what is possible.
    #[must_use]
    pub fn with(self, config: &TilingConfig) -> Self {
        Self {
            rows: config.attention_q.map_or(self.rows, |rows| rows.clamp(1, MAX_ROWS)),
            keys: config.attention_k.map_or(self.keys, |keys| keys.clamp(1, 4096).next_multiple_of(32)),
        }
    }
}
