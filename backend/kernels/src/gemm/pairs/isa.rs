//! What a product needs of either instruction set: packed operands and the loops over a block.

use super::super::left::LeftOperand;
use super::super::sink::{Region, Sink, Turn};
use super::dots::{self, DOT_ROWS};
use super::pack::{HalfMatrix, Layout, PairSource, pack};
use super::panels::PairPanels;
use super::tiles::{self, TILE_PAIRS, TILE_ROWS};
use crate::simd::{Amx, Avx512Bf16, PANEL, Tier};

/// An instruction set that multiplies pairs of bf16.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) enum PairIsa {
    /// `vdpbf16ps`.
    Dots(Avx512Bf16),
    /// `tdpbf16ps`.
    Tiles(Amx),
}

/// A block of a product whose operands are packed: what both instruction sets run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block<'a> {
    /// Panels of A.
    pub(super) a: *const u32,
    /// Pairs from one panel of A to the next.
    pub(super) a_stride: usize,
    pub(super) b: PairPanels,
    /// What the gate `b` opens, where the product is gated: a tile has a panel of each.
    pub(super) up: Option<PairPanels>,
    /// Steps of the depth.
    pub(super) depth: usize,
    pub(super) region: Region,
    pub(super) turn: Turn,
    pub(super) sink: &'a Sink,
}

/// Lines of B that a tile asks for while it multiplies. The tiles of some columns share the bytes of the next ones, which lie in
/// memory or in the L3 cache until then.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ahead {
    /// First byte in each of two panels.
    pub(super) at: [*const u8; 2],
    /// Bytes of each panel.
    pub(super) bytes: usize,
}

impl Block<'_> {
    /// Columns of the output in a tile.
    #[inline(always)]
    pub(super) fn width(&self) -> usize {
        if self.up.is_some() { PANEL } else { 2 * PANEL }
    }

    /// The two panels of the tile whose first column is `col`; the second one exists where the tile is wide enough.
    #[inline(always)]
    pub(super) fn panels(&self, col: usize) -> [*const u32; 2] {
        let first = self.b.from(col, 0).data;
        [first, self.up.map_or_else(|| first.wrapping_add(self.b.stride), |up| up.from(col, 0).data)]
    }

    /// What tile `turn` of `turns` asks for while it multiplies the columns from `col` on.
    #[inline(always)]
    pub(super) fn ahead(&self, col: usize, turn: usize, turns: usize) -> Ahead {
        let bytes = self.depth.div_ceil(2) * PANEL * size_of::<u32>() / turns;
        let next = col + self.width();
        if next >= self.region.cols {
            return Ahead { at: self.panels(0).map(<*const u32>::cast), bytes: 0 };
        }
        let at = self.panels(next).map(|panel| panel.cast::<u8>().wrapping_add(turn * bytes));
        let second = self.up.is_some() || next + PANEL < self.region.cols;
        Ahead { at: if second { at } else { [at[0]; 2] }, bytes }
    }
}

impl PairIsa {
    /// What multiplies pairs on `tier`; `None` on tiers that don't, and where the CPU lacks it.
    pub(super) fn of(tier: Tier) -> Option<Self> {
        match tier {
            Tier::Amx => Amx::detect().map(Self::Tiles),
            Tier::Avx512Bf16 => Avx512Bf16::detect().map(Self::Dots),
            _ => None,
        }
    }

    /// `vdpbf16ps`, which every CPU with tiles has too.
    #[inline(always)]
    pub(super) fn dots(self) -> Avx512Bf16 {
        match self {
            Self::Dots(isa) => isa,
            Self::Tiles(isa) => isa.base(),
        }
    }

    /// Rows of a panel of A.
    #[inline(always)]
    pub(in crate::gemm) fn rows(self) -> usize {
        match self {
            Self::Dots(_) => DOT_ROWS,
            Self::Tiles(_) => TILE_ROWS,
        }
    }

    /// Floats of one packed panel of A of depth `k`.
    #[inline(always)]
    pub(super) fn left_panel_len(self, k: usize) -> usize {
        match self {
            Self::Dots(_) => k.div_ceil(2) * DOT_ROWS,
            Self::Tiles(_) => k.div_ceil(2).next_multiple_of(TILE_PAIRS) * TILE_ROWS,
        }
    }

    /// Floats that [`PairIsa::pack_left`] may write for `m` rows of depth `k`.
    pub(in crate::gemm) fn left_len(self, m: usize, k: usize) -> usize {
        m.div_ceil(self.rows()) * self.left_panel_len(k) + PANEL
    }

    /// Floats that [`PairIsa::pack_right`] may write for `n` columns of depth `k`.
    pub(super) fn right_len(self, n: usize, k: usize) -> usize {
        n.div_ceil(PANEL) * PANEL * k.div_ceil(2)
    }

    /// Packs the first `m` rows and `k` columns of A, one panel after the other.
    ///
    /// # Safety
    /// `a` is one that [`PairIsa::choose`] takes, readable for them; `out` is writable for [`PairIsa::left_len`] floats.
    pub(in crate::gemm) unsafe fn pack_left(self, a: LeftOperand, [m, k]: [usize; 2], out: *mut f32) {
        let Some(from) = PairSource::of(a) else { return };
        let layout = match self {
            Self::Dots(_) => Layout::Lines(DOT_ROWS),
            Self::Tiles(_) => Layout::Tiles,
        };
        // SAFETY: the caller's promise.
        unsafe { pack(self.dots(), from, [m, k], layout, out.cast()) };
    }

    /// Packs the first `k` rows and `n` columns of B.
    ///
    /// # Safety
    /// `b` is readable for them; `out` is writable for [`PairIsa::right_len`] floats.
    pub(super) unsafe fn pack_right(self, b: HalfMatrix, [k, n]: [usize; 2], out: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { pack(self.dots(), PairSource::Halves(b.transposed()), [n, k], Layout::Lines(PANEL), out.cast()) };
    }

    /// The two inner loops over a block.
    ///
    /// # Safety
    /// The panels of A hold the rows of the region and those of B its columns, over the depth; the region is as [`Sink::finish`] asks.
    #[inline(always)]
    pub(super) unsafe fn multiply_block(self, block: &Block<'_>) {
        // SAFETY: the caller's promise.
        unsafe {
            match self {
                Self::Dots(isa) => dots::multiply(isa, block),
                Self::Tiles(isa) => tiles::multiply(isa, block),
            }
        }
    }
}
