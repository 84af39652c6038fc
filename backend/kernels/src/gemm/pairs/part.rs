//! One thread's share of a product of two bf16 matrices: the loops around the register tile.

use super::super::blocking::{Blocking, Tile, split_evenly};
use super::super::gemv::LANES_FROM;
use super::super::part::{Part, RightOperand};
use super::super::plan::Variant;
use super::super::raw::{RawFloats, RawMatrix};
use super::super::sink::{Region, Turn};
use super::isa::{Block, PairIsa};
use super::pack::{HalfMatrix, PairSource};
use super::panels::PairPanels;
use super::{few, lanes, rows};
use crate::Caches;
use crate::probe::{Probe, report};
use crate::scratch::{Scratch, round_to_line};
use crate::simd::{PANEL, Tier};

/// From this many rows on, tiles multiply panels; up to there `vdpbf16ps` keeps pace with memory: a line of B takes a cycle a row,
/// and the memory of the CPUs that have tiles gives a core a line in 5 to 10 cycles.
const TILES_FROM: usize = 5;

/// From this many rows on, f32 rows against panels of bf16 are rounded where they may be: arithmetic in f32, two multiply-adds a line and row, would
/// not keep pace with memory.
const ROUNDED_FROM: usize = 5;

impl PairIsa {
    /// What multiplies `a` and `b` on `tier`, `None` where f32 arithmetic does: operands that are not both bf16, and rows of B that are added
    /// up as they lie (axpy.rs). With `rounds`, `rows` of f32 count as bf16 where they are packed
    /// or enough of them meet panels.
    pub(in crate::gemm) fn choose(
        tier: Tier,
        a: &RawMatrix,
        b: &RightOperand,
        (variant, rounds, rows): (Variant, bool, usize),
    ) -> Option<Self> {
        let halves = match b {
            RightOperand::View(b) => matches!(b.data, RawFloats::Bf16(_)),
            RightOperand::Panels(b) | RightOperand::Gated([b, _]) => matches!(b, RawFloats::Bf16(_)),
        };
        let few = variant == Variant::Dot && rows >= ROUNDED_FROM && !matches!(b, RightOperand::View(_));
        let streams_rows = variant == Variant::Axpy && matches!(b, RightOperand::View(_));
        let takes = match a.data {
            RawFloats::Bf16(_) => !streams_rows,
            RawFloats::F32(_) => rounds && a.col_stride == 1 && (variant == Variant::Blocked || few),
            RawFloats::F16(_) => false,
        };
        if halves && takes { Self::of(tier) } else { None }
    }

    /// Notes that a product ran on this instruction set.
    pub(in crate::gemm) fn note_route(self) {
        report(match self {
            Self::Dots(_) => Probe::Bf16Dots,
            Self::Tiles(_) => Probe::Bf16Tiles,
        });
    }

    /// The register tile.
    pub(in crate::gemm) fn tile(self) -> Tile {
        Tile { mr: if let Self::Tiles(_) = self { 32 } else { self.rows() }, nr: 2 * PANEL }
    }

    /// Does the work of a part.
    ///
    /// # Safety
    /// As for [`Part::kernel`]; the operands are those that [`PairIsa::choose`] looked at.
    pub(in crate::gemm) unsafe fn multiply_part(self, part: &Part) {
        let Some(a) = PairSource::of(part.a.from(part.region.row, 0)) else { return };
        let streams = part.region.rows < TILES_FROM || matches!(self, Self::Dots(_));
        let panels = |data| PairPanels::new(data, part.depth);
        // SAFETY: the caller's promise.
        unsafe {
            match (part.variant, part.b) {
                (Variant::Dot | Variant::Axpy, RightOperand::Panels(RawFloats::Bf16(b))) if streams => {
                    few::multiply(self.dots(), part, a, [panels(b); 2]);
                }
                (Variant::Dot | Variant::Axpy, RightOperand::Gated([RawFloats::Bf16(gate), RawFloats::Bf16(up)]))
                    if streams =>
                {
                    few::multiply(self.dots(), part, a, [panels(gate), panels(up)]);
                }
                (Variant::Dot, RightOperand::View(b)) => match HalfMatrix::of(b) {
                    Some(b) if part.region.rows < LANES_FROM => rows::multiply(self.dots(), part, a, b),
                    Some(b) => lanes::multiply(self.dots(), part, a, b),
                    None => {}
                },
                _ => self.multiply_blocked(part),
            }
        }
    }

    /// Block sizes of as many bytes as those of f32 that `blocking` is for.
    ///
    /// A turn of the depth reads and writes C once more, and that costs `vdpbf16ps` more than micropanels of B which stream from L2:
    /// the block of A is only eight tiles high and as deep as its bytes allow (512 x 2048 x 2048: 95 % of the peak in one turn, 87 % in
    /// two). Tiles of AMX would wait for such a stream, so there a micropanel of B takes two thirds of the L1 cache.
    pub(in crate::gemm) fn fit(self, blocking: Blocking, [m, n, k]: [usize; 3]) -> Blocking {
        let Tile { mr, nr } = self.tile();
        let a_halves = blocking.mc.saturating_mul(blocking.kc).saturating_mul(2);
        let kc = match self {
            Self::Dots(_) => a_halves / (8 * mr),
            Self::Tiles(_) => (Caches::detect().l1d * 2 / 3 / (nr * size_of::<u16>())).min(a_halves / mr),
        };
        let kc = split_evenly(k, kc, DEPTH_UNIT);
        let mc = split_evenly(m, a_halves / kc / mr * mr, mr);
        let nc = blocking.nc.saturating_mul(blocking.kc).saturating_mul(2) / kc;
        Blocking { mc, kc, nc: split_evenly(n, nc, nr) }
    }

    /// The blocked algorithm (see [`super::super`]).
    ///
    /// # Safety
    /// As for [`PairIsa::multiply_part`].
    unsafe fn multiply_blocked(self, part: &Part) {
        let Region { row, col, rows, cols } = part.region;
        let blocking = Blocking { nc: (part.blocking.nc / part.b.factors()).max(1), ..part.blocking };
        let Blocking { mc, kc, nc } = self.fit(blocking, [rows, cols, part.depth]);
        let a_len = if part.left.is_some() { 0 } else { round_to_line(self.left_len(mc, kc)) };
        let b_len = if let RightOperand::View(_) = part.b { round_to_line(self.right_len(nc, kc)) } else { 0 };
        let partial_len = if part.depth > kc && part.sink.needs_partial() { rows * nc * part.b.factors() } else { 0 };
        let mut scratch = Scratch::take(a_len + b_len + partial_len);
        let a_buffer = scratch.as_mut_ptr();
        let (b_buffer, partial) = (a_buffer.wrapping_add(a_len), a_buffer.wrapping_add(a_len + b_len));

        for jc in (0..cols).step_by(nc) {
            let wide = Region { row, col: col + jc, rows, cols: nc.min(cols - jc) };
            let sink = if partial_len == 0 { part.sink } else { part.sink.with_partial(partial, wide, nc) };
            let mut pc = 0;
            loop {
                let depth = kc.min(part.depth - pc);
                let turn = Turn { first: pc == 0, last: pc + depth == part.depth };
                let panels = |data: RawFloats| match data {
                    RawFloats::Bf16(data) => Some(PairPanels::new(data, part.depth).from(wide.col, pc)),
                    _ => None,
                };
                let (b, up) = match part.b {
                    RightOperand::View(b) => {
                        let Some(b) = HalfMatrix::of(b.from(pc, wide.col)) else { return };
                        // SAFETY: the buffer has room; the caller's promise for B.
                        unsafe { self.pack_right(b, [depth, wide.cols], b_buffer) };
                        (Some(PairPanels::new(b_buffer.cast(), depth)), None)
                    }
                    RightOperand::Panels(b) => (panels(b), None),
                    RightOperand::Gated([gate, up]) => (panels(gate), panels(up)),
                };
                let Some(b) = b else { return };
                for ic in (0..rows).step_by(mc) {
                    let region = Region { row: row + ic, rows: mc.min(rows - ic), ..wide };
                    let (a, a_stride) = match part.left {
                        Some(left) => left.block(region.row, pc, depth),
                        None => (a_buffer.cast_const(), self.left_panel_len(depth)),
                    };
                    let block = Block { a: a.cast(), a_stride, b, up, depth, region, turn, sink: &sink };
                    // SAFETY: the buffer has room; the caller's promise for A and the region.
                    unsafe {
                        if part.left.is_none() {
                            self.pack_left(part.a.from(region.row, pc), [region.rows, depth], a_buffer);
                        }
                        self.multiply_block(&block);
                    }
                }
                pc += depth;
                // A depth of 0 takes one turn, of nothing: the epilogue still runs.
                if pc >= part.depth {
                    break;
                }
            }
        }
    }
}

impl HalfMatrix {
    /// The matrix, if its elements are bf16.
    pub(super) fn of(RawMatrix { data, row_stride, col_stride }: RawMatrix) -> Option<Self> {
        let RawFloats::Bf16(data) = data else { return None };
        Some(Self { data, row_stride, col_stride })
    }
}

/// Steps of the depth that blocks are whole multiples of: a tile.
const DEPTH_UNIT: usize = 32;
