//! A block of a product whose operands are packed: what either instruction set multiplies.

use crate::gemm::macro_kernel::store::Store;
use crate::gemm::region::{DepthBlock, Region};
use crate::gemm::vnni_panels::VnniPanels;
use crate::simd::PANEL;
use core::ops::Range;

/// A block of a product whose operands are packed: what both instruction sets run.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct Bf16Block<'a> {
    /// Panels of A.
    pub(in crate::gemm) a: *const u32,
    /// Pairs from one panel of A to the next.
    pub(in crate::gemm) a_stride: usize,
    pub(in crate::gemm) b: VnniPanels,
    /// What the gate `b` opens, where the product is gated: a tile has a panel of each.
    pub(in crate::gemm) up: Option<VnniPanels>,
    /// Steps of the depth.
    pub(in crate::gemm) depth: usize,
    pub(in crate::gemm) region: Region,
    pub(in crate::gemm) depth_block: DepthBlock,
    pub(in crate::gemm) store: &'a Store,
    /// Where tiles of AMX wait for the rest of the depth.
    pub(in crate::gemm) sums: *mut f32,
    /// Whether tiles prefetch the columns after theirs, and the output before they store.
    pub(in crate::gemm) prefetch: bool,
    /// Whether more columns of B lie behind those of the region, which this thread likely multiplies next.
    pub(in crate::gemm) follows: bool,
}

/// Lines of B that a tile prefetches while it multiplies. The tiles of some columns share the bytes of the next ones,
/// which are in memory or in the L3 cache until then.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct Bf16PrefetchHint {
    /// First byte in each of two panels.
    pub(in crate::gemm) at: [*const u8; 2],
    /// Bytes of each panel.
    pub(in crate::gemm) bytes: usize,
}

impl Bf16Block<'_> {
    /// Columns of the output in a tile.
    #[inline(always)]
    pub(in crate::gemm) fn width(&self) -> usize {
        if self.up.is_some() { PANEL } else { 2 * PANEL }
    }

    /// The two panels of the tile whose first column is `col`; the second one exists where the tile is wide enough.
    #[inline(always)]
    pub(in crate::gemm) fn panels(&self, col: usize) -> [*const u32; 2] {
        let first = self.b.from(col, 0).data;
        [first, self.up.map_or_else(|| first.wrapping_add(self.b.stride), |up| up.from(col, 0).data)]
    }

    /// What the tile of the rows `rows` of the block prefetches while it multiplies the columns from `col` on. Where
    /// that is nothing, the addresses are those of lines that were just read.
    #[inline(always)]
    pub(in crate::gemm) fn prefetch_hint(&self, col: usize, rows: Range<usize>) -> Bf16PrefetchHint {
        let next = col + self.width();
        if !self.prefetch || (next >= self.region.cols && !self.follows) {
            return Bf16PrefetchHint { at: self.panels(0).map(<*const u32>::cast), bytes: 0 };
        }
        let panel = self.depth.div_ceil(2) * PANEL * size_of::<u32>();
        let [begin, end] = [rows.start, rows.end].map(|row| panel * row / self.region.rows);
        let at = self.panels(next).map(|panel| panel.cast::<u8>().wrapping_add(begin));
        let second = self.up.is_some() || self.follows || next + PANEL < self.region.cols;
        Bf16PrefetchHint { at: if second { at } else { [at[0]; 2] }, bytes: end - begin }
    }
}
