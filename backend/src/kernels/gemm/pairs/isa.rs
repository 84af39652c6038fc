//! The block product on either instruction set.

use super::super::epilogue::{Region, Sink, Turn};
use super::dots::{self, DOT_ROWS};
use super::pack::{HalfMatrix, Layout, pack};
use super::panels::PairPanels;
use super::tiles::{self, TILE_PAIRS, TILE_ROWS};
use crate::simd::{Amx, Avx512, Avx512Bf16, PANEL, Tier};

/// An instruction set that multiplies pairs of bf16.
#[derive(Debug, Clone, Copy)]
pub(in crate::kernels) enum PairIsa {
    /// `vdpbf16ps`.
    Dots(Avx512Bf16),
    /// `tdpbf16ps`.
    Tiles(Amx),
}

/// `C = A·B` or `C += A·B` over packed operands.
#[derive(Debug, Clone, Copy)]
pub(in crate::kernels) struct BlockProduct {
    /// What [`PairIsa::pack_left`] wrote.
    pub(in crate::kernels) a: *const f32,
    /// What [`PairIsa::pack_right`] wrote, or panels of a packed bf16 weight.
    pub(in crate::kernels) b: *const f32,
    /// `[m, n, k]`; `k` is the depth that both were packed with.
    pub(in crate::kernels) shape: [usize; 3],
    /// Element (0, 0) of C.
    pub(in crate::kernels) c: *mut f32,
    /// Floats between rows of C.
    pub(in crate::kernels) c_stride: usize,
    /// Adds to what C holds; otherwise that is not read.
    pub(in crate::kernels) add: bool,
}

/// A block of a product whose operands are packed: what both instruction sets run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block<'a> {
    /// Panels of A, one after the other.
    pub(super) a: *const u32,
    pub(super) b: PairPanels,
    /// Steps of the depth.
    pub(super) depth: usize,
    pub(super) region: Region,
    pub(super) turn: Turn,
    pub(super) sink: &'a Sink,
    /// How far ahead lines of B are asked for where they are read for the first time, bytes; 0 asks for none.
    pub(super) ahead: usize,
}

impl PairIsa {
    /// What multiplies pairs on `tier`; `None` on tiers that don't, and where the CPU lacks it.
    pub(in crate::kernels) fn of(tier: Tier) -> Option<Self> {
        match tier {
            Tier::Amx => Amx::detect().map(Self::Tiles),
            Tier::Avx512Bf16 => Avx512Bf16::detect().map(Self::Dots),
            _ => None,
        }
    }

    /// The instruction set of everything else.
    #[inline(always)]
    pub(super) fn base(self) -> Avx512 {
        match self {
            Self::Dots(isa) => isa.base(),
            Self::Tiles(isa) => isa.base().base(),
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
    pub(in crate::kernels) fn rows(self) -> usize {
        match self {
            Self::Dots(_) => DOT_ROWS,
            Self::Tiles(_) => TILE_ROWS,
        }
    }

    /// Floats of one packed panel of A of depth `k`.
    #[inline(always)]
    pub(in crate::kernels) fn left_panel_len(self, k: usize) -> usize {
        match self {
            Self::Dots(_) => k.div_ceil(2) * DOT_ROWS,
            Self::Tiles(_) => k.div_ceil(2).next_multiple_of(TILE_PAIRS) * TILE_ROWS,
        }
    }

    /// Floats that [`PairIsa::pack_left`] may write for `m` rows of depth `k`.
    pub(in crate::kernels) fn left_len(self, m: usize, k: usize) -> usize {
        m.div_ceil(self.rows()) * self.left_panel_len(k) + PANEL
    }

    /// Floats that [`PairIsa::pack_right`] may write for `n` columns of depth `k`.
    pub(in crate::kernels) fn right_len(self, n: usize, k: usize) -> usize {
        n.div_ceil(PANEL) * PANEL * k.div_ceil(2)
    }

    /// Packs the first `m` rows and `k` columns of A.
    ///
    /// # Safety
    /// `a` is readable for them; `out` is writable for [`PairIsa::left_len`] floats.
    pub(in crate::kernels) unsafe fn pack_left(self, a: HalfMatrix, [m, k]: [usize; 2], out: *mut f32) {
        let layout = match self {
            Self::Dots(_) => Layout::Lines(DOT_ROWS),
            Self::Tiles(_) => Layout::Tiles,
        };
        // SAFETY: the caller's promise.
        unsafe { pack(self.base(), a, [m, k], layout, out.cast()) };
    }

    /// Packs the first `k` rows and `n` columns of B.
    ///
    /// # Safety
    /// `b` is readable for them; `out` is writable for [`PairIsa::right_len`] floats.
    pub(in crate::kernels) unsafe fn pack_right(self, b: HalfMatrix, [k, n]: [usize; 2], out: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { pack(self.base(), b.transposed(), [n, k], Layout::Lines(PANEL), out.cast()) };
    }

    /// The block product (see the module).
    ///
    /// # Safety
    /// `a` and `b` were packed for at least `m` rows, `n` columns and a depth of exactly `k`, on this instruction set; `c` is readable
    /// and writable for `m` rows, `c_stride` floats apart, of `n` floats, which no other thread touches.
    pub(in crate::kernels) unsafe fn multiply(self, product: &BlockProduct) {
        let BlockProduct { a, b, shape: [rows, cols, k], c, c_stride, add } = *product;
        let sink = Sink::sums(c, c_stride);
        let block = Block {
            a: a.cast(),
            b: PairPanels::new(b.cast(), k),
            depth: k,
            region: Region { row: 0, col: 0, rows, cols },
            turn: Turn { first: !add, last: false },
            sink: &sink,
            ahead: 0,
        };
        // SAFETY: the caller's promise.
        unsafe { self.multiply_block(&block) };
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
