//! Sizes of the blocks that the loops of a product work through, derived from the caches.

use crate::Caches;
use crate::Launch;
use crate::config::TilingConfig;
use crate::simd::{Isa, Kernel, PANEL, Tier};
use serde::{Deserialize, Serialize};

/// The register tile of an instruction set: `mr` x `nr` accumulators of f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tile {
    /// Rows.
    pub mr: usize,
    /// Columns, a multiple of [`PANEL`].
    pub nr: usize,
}

impl Tile {
    /// The tile that `tier` runs on this CPU.
    pub fn of(tier: Tier) -> Self {
        struct Ask;
        impl Kernel for Ask {
            type Out = Tile;
            #[inline(always)]
            fn call<I: Isa>(self, _isa: I) -> Tile {
                Tile { mr: I::MR, nr: I::PANELS * PANEL }
            }
        }
        tier.run(Ask)
    }
}

/// Block sizes of a product `[m, k] · [k, n]`, elements. Any size from 1 on gives the same result to rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Blocking {
    /// Rows of a packed block of A.
    pub mc: usize,
    /// Depth of the packed blocks of A and B.
    pub kc: usize,
    /// Columns of a packed block of B.
    pub nc: usize,
}

impl Blocking {
    /// Block sizes for the caches, after Low, Igual, Smith and Quintana-Ortí, "Analytical modeling is enough for
    /// high-performance BLIS" (2016), with room for what streams past:
    ///
    /// ```text
    /// kc · (mr + nr) · 4 ≤ 3/4 · L1              a micropanel of B stays, those of A pass by
    /// kc · mc        · 4 ≤ 1/2 · L2              the block of A stays, micropanels of B and tiles of C pass by
    /// kc · nc        · 4 ≤ 1/2 · L3 / threads    the block of B stays, blocks of A pass by
    /// ```
    ///
    /// Where the first of these leaves `kc < 12 · nr`, as with wide registers, micropanels stream from L2 in any case,
    /// and then `kc` is `22 · nr`: each block of the depth reads and writes C once more, which the arithmetic of a
    /// block has to hide, and wide registers do that arithmetic in less time. (On 48 KB of L1 and 1 MB of L2, tile 14 x
    /// 32, 512 x 2048 x 2048 with a packed weight: 85 % of the FMA peak with `kc = 384`, 88 % with 512, 91 % with 704,
    /// no more with 1024.)
    ///
    /// The i5-10210U (32 KB, 256 KB, 6 MB; tile 6 x 16) gets `kc = 256`, `mc = 126` and, with 4 threads, `nc = 768`.
    pub fn derive(caches: Caches, tile: Tile, threads: usize) -> Self {
        const FLOAT: usize = size_of::<f32>();
        let fits_l1 = caches.l1d * 3 / 4 / (FLOAT * (tile.mr + tile.nr)) / 32 * 32;
        let kc = if fits_l1 < 12 * tile.nr { 22 * tile.nr } else { fits_l1.min(512) };
        let mc = (caches.l2 / 2 / (FLOAT * kc) / tile.mr).max(1) * tile.mr;
        // Without an L3 the block of B streams from memory whatever its size: only the packing buffer is bounded.
        let l3 = if caches.l3 == 0 { 4 << 20 } else { caches.l3 / threads.max(1) };
        let nc = (l3 / 2 / (FLOAT * kc) / tile.nr).clamp(4, 4096 / tile.nr) * tile.nr;
        Self { mc, kc, nc }
    }

    /// Blocks of the depth `kc`: a block of A fills half of L2, and one of B has as many bytes as before.
    #[must_use]
    pub fn with_depth(self, kc: usize, tile: Tile, caches: Caches) -> Self {
        let kc = kc.max(1);
        let mc = (caches.l2 / 2 / (size_of::<f32>() * kc) / tile.mr).max(1) * tile.mr;
        let nc = (self.nc.saturating_mul(self.kc) / kc / tile.nr).max(4) * tile.nr;
        Self { mc, kc, nc }
    }

    /// Block sizes for `launch` on this machine.
    pub fn detect(launch: Launch) -> Self {
        Self::derive(Caches::detect(), Tile::of(launch.tier), launch.threads)
    }

    /// The same with the sizes that a configuration fixes.
    #[must_use]
    pub fn with(self, config: &TilingConfig) -> Self {
        Self {
            mc: config.mc.unwrap_or(self.mc).max(1),
            kc: config.kc.unwrap_or(self.kc).max(1),
            nc: config.nc.unwrap_or(self.nc).max(1),
        }
    }

    /// The block sizes that a part of `m` x `n` with depth `k` runs with: equal blocks instead of full ones and a small
    /// rest, and whole register tiles.
    pub(in crate::gemm) fn fit(self, tile: Tile, m: usize, n: usize, k: usize) -> Self {
        Self {
            mc: split_evenly(m, self.mc, tile.mr),
            kc: split_evenly(k, self.kc, 4),
            nc: split_evenly(n, self.nc, tile.nr),
        }
    }
}

/// The size of equal blocks of `len`, none much larger than `block`, a multiple of `unit`.
pub(in crate::gemm) fn split_evenly(len: usize, block: usize, unit: usize) -> usize {
    let blocks = len.div_ceil(block.max(1)).max(1);
    len.div_ceil(blocks).div_ceil(unit).max(1) * unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_i5_10210u() {
        let caches = Caches { l1d: 32 << 10, l2: 256 << 10, l3: 6 << 20 };
        let blocking = Blocking::derive(caches, Tile { mr: 6, nr: 16 }, 4);
        assert_eq!(blocking, Blocking { mc: 126, kc: 256, nc: 768 });
    }

    #[test]
    fn odd_caches_give_usable_blocks() {
        for l1d in [0, 1 << 10, 48 << 10, 1 << 20] {
            for l2 in [0, 256 << 10, 4 << 20] {
                for l3 in [0, 1 << 20, 512 << 20] {
                    let tile = Tile { mr: 14, nr: 32 };
                    let blocking = Blocking::derive(Caches { l1d, l2, l3 }, tile, 64);
                    assert!(
                        blocking.kc >= 12 * tile.nr && blocking.mc >= tile.mr && blocking.nc >= tile.nr,
                        "{blocking:?}"
                    );
                    assert_eq!((blocking.mc % tile.mr, blocking.nc % tile.nr), (0, 0));
                }
            }
        }
    }

    #[test]
    fn blocks_are_even() {
        assert_eq!(split_evenly(130, 126, 6), 66);
        assert_eq!(split_evenly(300, 256, 4), 152);
        assert_eq!(split_evenly(0, 256, 4), 4);
        assert_eq!(split_evenly(5, 0, 2), 2);
        assert_eq!(split_evenly(14, 1000, 14), 14);
    }
}
