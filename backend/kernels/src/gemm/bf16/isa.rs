//! The instruction sets that multiply pairs of bf16: when they run, their tiles and blocks, and how they pack.

use super::Bf16Request;
use crate::gemm::bf16::dots::DOT_ROWS;
use crate::gemm::bf16::pack::{Bf16Layout, Bf16Source, pack};
use crate::gemm::bf16::tiles::{TILE_PAIRS, TILE_ROWS};
use crate::gemm::left::LeftOperand;
use crate::gemm::macro_kernel::blocking::{Blocking, Tile, split_evenly};
use crate::gemm::raw::{RawFloats, RawMatrix};
use crate::gemm::right::RightOperand;
use crate::gemm::variant::Variant;
use crate::impossible::impossible;
use crate::probe::{Probe, report};
use crate::simd::{Amx, Avx512Bf16, PANEL, Tier};

/// An instruction set that multiplies pairs of bf16.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) enum Bf16Isa {
    /// `vdpbf16ps`.
    Dots(Avx512Bf16),
    /// `tdpbf16ps`.
    Tiles(Amx),
}

/// From this many rows on, f32 rows against panels of bf16 are rounded where they may be: arithmetic in f32, two
/// multiply-adds a line and row, would not keep pace with memory.
const ROUNDED_FROM: usize = 5;

impl Bf16Isa {
    /// What multiplies pairs on `tier`; `None` on tiers that don't, and where the CPU lacks it.
    pub(in crate::gemm) fn of(tier: Tier) -> Option<Self> {
        match tier {
            Tier::Amx => Amx::detect().map(Self::Tiles),
            Tier::Avx512Bf16 => Avx512Bf16::detect().map(Self::Dots),
            _ => None,
        }
    }

    /// `vdpbf16ps`, which every CPU with tiles has too.
    #[inline(always)]
    pub(in crate::gemm) fn dots(self) -> Avx512Bf16 {
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
    pub(in crate::gemm) fn left_panel_len(self, k: usize) -> usize {
        match self {
            Self::Dots(_) => k.div_ceil(2) * DOT_ROWS,
            Self::Tiles(_) => k.div_ceil(2).next_multiple_of(TILE_PAIRS) * TILE_ROWS,
        }
    }

    /// Floats that [`Bf16Isa::pack_left`] may write for `m` rows of depth `k`.
    pub(in crate::gemm) fn left_len(self, m: usize, k: usize) -> usize {
        m.div_ceil(self.rows()) * self.left_panel_len(k) + PANEL
    }

    /// Floats that [`Bf16Isa::pack_right`] may write for `n` columns of depth `k`.
    pub(in crate::gemm) fn right_len(self, n: usize, k: usize) -> usize {
        n.div_ceil(PANEL) * PANEL * k.div_ceil(2)
    }

    /// Packs the first `m` rows and `k` columns of A, one panel after the other.
    ///
    /// # Safety
    /// `a` is one that [`Bf16Isa::choose`] takes, readable for them; `out` is writable for [`Bf16Isa::left_len`]
    /// floats.
    pub(in crate::gemm) unsafe fn pack_left(self, a: LeftOperand, [m, k]: [usize; 2], out: *mut f32) {
        let Some(from) = Bf16Source::of(a) else { impossible("a left operand that is no bf16 and not rounded") };
        let layout = match self {
            Self::Dots(_) => Bf16Layout::Lines(DOT_ROWS),
            Self::Tiles(_) => Bf16Layout::Tiles,
        };
        // SAFETY: the `# Safety` clause of `Bf16Isa::pack_left`.
        unsafe { pack(self.dots(), from, [m, k], layout, out.cast()) };
    }

    /// Packs the first `k` rows and `n` columns of B.
    ///
    /// # Safety
    /// `b` is one that [`Bf16Isa::choose`] takes, readable for them; `out` is writable for [`Bf16Isa::right_len`]
    /// floats.
    pub(in crate::gemm) unsafe fn pack_right(self, b: RawMatrix, [k, n]: [usize; 2], out: *mut f32) {
        let Some(from) = Bf16Source::of(LeftOperand::plain(b.transposed())) else {
            impossible("a right operand that is no bf16 and not rounded")
        };
        // SAFETY: the `# Safety` clause of `Bf16Isa::pack_right`.
        unsafe { pack(self.dots(), from, [n, k], Bf16Layout::Lines(PANEL), out.cast()) };
    }

    /// What multiplies `a` and `b` on `tier`, `None` where f32 arithmetic does: operands that are not both bf16, and
    /// rows of B that are added up one by one (gemv/axpy.rs). With `rounds`, an A of f32 counts as bf16 where it is
    /// packed or enough of its rows meet panels; with `rounds_both` a B of f32 that is packed does too, and an A that
    /// meets it.
    pub(in crate::gemm) fn choose(tier: Tier, a: &RawMatrix, b: &RightOperand, request: Bf16Request) -> Option<Self> {
        let Bf16Request { variant, rounds, rounds_both, rows } = request;
        let blocked = variant == Variant::Blocked;
        // Rows or columns are contiguous.
        let packs = |matrix: &RawMatrix| blocked && (matrix.col_stride == 1 || matrix.row_stride == 1);
        let (is_bf16, rounds) = match b {
            RightOperand::View(b) => match b.data {
                RawFloats::Bf16(_) => (true, rounds),
                RawFloats::F32(_) => (rounds_both && packs(b), rounds_both),
                RawFloats::F16(_) => (false, false),
            },
            RightOperand::Panels(b) | RightOperand::Gated([b, _]) => (matches!(b, RawFloats::Bf16(_)), rounds),
        };
        let gemv = variant == Variant::Dot && rows >= ROUNDED_FROM && !matches!(b, RightOperand::View(_));
        let streams_rows = variant == Variant::Axpy && matches!(b, RightOperand::View(_));
        let takes = match a.data {
            RawFloats::Bf16(_) => !streams_rows,
            RawFloats::F32(_) => rounds && (packs(a) || (gemv && a.col_stride == 1)),
            RawFloats::F16(_) => false,
        };
        if is_bf16 && takes { Self::of(tier) } else { None }
    }

    /// Notes that a product ran on this instruction set.
    pub(in crate::gemm) fn note_route(self) {
        report(match self {
            Self::Dots(_) => Probe::Bf16Dots,
            Self::Tiles(_) => Probe::Bf16Tiles,
        });
    }

    /// The register tile; tiles of AMX are 48 rows high where as many are left (tiles.rs).
    pub(in crate::gemm) fn tile(self) -> Tile {
        Tile { mr: if let Self::Tiles(_) = self { 32 } else { self.rows() }, nr: 2 * PANEL }
    }

    /// Block sizes of as many bytes as those of f32 that `blocking` is for.
    ///
    /// A block of the depth reads and writes C once more, and that costs `vdpbf16ps` more than micropanels of B which
    /// stream from L2: the block of A is only eight tiles high and as deep as its bytes allow (512 x 2048 x 2048: 95 %
    /// of the peak in one block, 87 % in two). Tiles of AMX wait for what L2 gives in any case (tiles.rs), and read
    /// all of B for each block of A: one block of the depth up to 2048 steps, while that leaves 160 rows, in 3/4 of the
    /// bytes, 3/8 of L2. (A prototype, 512 x 2048 x 2048, one thread, 2 MiB of L2: 128, 192 and 256 rows reach 47.5, 49
    /// and 46.5 % of the peak.)
    pub(in crate::gemm) fn fit(self, blocking: Blocking, [m, n, k]: [usize; 3]) -> Blocking {
        let Tile { mr, nr } = self.tile();
        let a_halves = blocking.mc.saturating_mul(blocking.kc).saturating_mul(2);
        let kc = match self {
            Self::Dots(_) => a_halves / (8 * mr),
            Self::Tiles(_) => (a_halves / 4 * 3 / TILES_ROWS_LEAST).min(TILES_DEPTH_MOST),
        };
        let kc = split_evenly(k, kc, DEPTH_UNIT);
        let mc = match self {
            Self::Dots(_) => a_halves / kc / mr * mr,
            Self::Tiles(_) => (a_halves / 4 * 3 / kc).next_multiple_of(mr),
        };
        let mc = split_evenly(m, mc, mr);
        let nc = blocking.nc.saturating_mul(blocking.kc).saturating_mul(2) / kc;
        Blocking { mc, kc, nc: split_evenly(n, nc, nr) }
    }
}

/// Rows of A that a block holds before its depth grows, and the deepest block, for tiles of AMX.
const TILES_ROWS_LEAST: usize = 160;
const TILES_DEPTH_MOST: usize = 2048;

/// Steps of the depth that blocks are whole multiples of: a tile.
const DEPTH_UNIT: usize = 32;
