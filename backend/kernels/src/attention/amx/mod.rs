//! A unit of many rows where queries, keys and values are bf16 and the CPU has AMX: both products by tiles.
//!
//! ```text
//! for each run of keys (1024)                          what of K is not read in place is copied, V is transposed
//!     for each panel of 32 rows that sees some of them
//!         for each 32 keys j that the panel sees
//!             Sᵀ[j + 1] = K[j + 1]·Qᵀ                  tdpbf16ps, 2 x 2 tiles [32 keys][32 rows], 4 KiB in L1
//!             P[j] = 2^(S[j] - shift), l += Σ P[j]     meanwhile: a pair of keys after each product
//!             P[j] too large: O and l relative to a larger shift, P[j] anew
//!         after each 256 keys: Oᵀ += Vᵀ·Pᵀ             tdpbf16ps, 2 x 2 tiles [32 of dv][32 rows]
//! ```
//!
//! The transposed form of the panels (panel.rs) fits tiles without a lane ever moving: rows of K are rows of the left
//! operand as they lie in memory, and weights of two keys that are rounded into one register are rows of the right one.
//!
//! **The shift** of a row need not be its largest score: weights of bf16 reach as far as those of f32. The first scores
//! that a row sees set it, and it grows only where the weights of 32 keys sum to more than [`LIMIT`]. So no pass over
//! the scores looks for a maximum, and a tile of scores is read once, from L1, while it is still there. What a row's
//! shift is depends on its own scores alone (but for scores beyond 2²⁴, which the panel scales first), as does the
//! order of its sums: tiles of keys begin at multiples of 32, and tiles of O that were stored and loaded go on where
//! they were.
//!
//! Everything that is read once for each panel (K, V) is loaded by `tileloaddt1`, so that scores, weights and O stay in
//! L1. With a stride of a multiple of 1 KiB the rows of a tile of K would fall into few sets of it, and are copied.

mod buffers;
mod keys;
mod panel;
mod products;
mod values;
mod weights;

use super::arithmetic::Bf16Pairs;
use super::packing::{PanelQueries, pack_queries};
use super::panel::Panel;
use super::tiles::{AMX_MAX_ROWS, AMX_PANEL_ROWS};
use super::unit::Unit;
use crate::probe::{self, Probe};
use crate::simd::{Amx, Avx512Bf16, Bf16Kernel, TILE_BYTES, Tiles};
use buffers::TileBuffers;
use half::bf16;
use keys::KeyTiles;
use panel::{PanelRun, PanelState};

/// Rows of a panel.
const ROWS: usize = AMX_PANEL_ROWS;

/// Keys of a tile of scores: two tiles, and a step of the second product.
const KEYS: usize = 32;

/// Elements of a row of a tile.
const STEP: usize = 32;

/// Floats of a tile.
const TILE: usize = TILE_BYTES / 4;

/// Bytes from one row of a panel's operands to the next.
const STRIDE: usize = ROWS * 4;

/// Runs a unit; `keys` are those of a run, a multiple of 32.
pub(super) fn run(unit: Unit<'_, bf16>, keys: usize) {
    let amx = Amx::detect().expect("the schedule asked for it");
    probe::report(Probe::AttentionTiles);
    amx.with_tiles(|tiles| amx.base().run(TileUnit { tiles, unit: &unit, size: keys }));
}

/// A unit, in runs of `size` keys.
struct TileUnit<'a> {
    tiles: &'a Tiles,
    unit: &'a Unit<'a, bf16>,
    size: usize,
}

impl Bf16Kernel for TileUnit<'_> {
    type Out = ();

    #[inline(always)]
    fn call(self, isa: Avx512Bf16) {
        let Self { tiles, unit, .. } = self;
        let problem = unit.problem;
        let rows = unit.span.rows();
        let mut visible = [(0, 0); AMX_MAX_ROWS];
        let visible = unit.visible(&mut visible);
        let padded = rows.next_multiple_of(ROWS);
        let (mut scratch, buffers) = TileBuffers::lay_out(problem, padded, self.size);
        let mut states = [PanelState::default(); AMX_MAX_ROWS / ROWS];
        let (mut begin, mut end) = (unit.keys.end, unit.keys.start);
        for first in (0..padded).step_by(ROWS) {
            let panel = Panel::new(first, ROWS, visible);
            // SAFETY: the buffers were laid out for these rows.
            unsafe {
                if panel.any.is_empty() {
                    let sums = buffers.sums(first);
                    sums.clear(ROWS);
                    unit.write_panel(isa.base(), [first, ROWS], sums);
                    continue;
                }
                buffers.sums(first).clear_rows(ROWS);
                let q = PanelQueries { problem, span: &unit.span, q: unit.q, first, width: ROWS };
                let words = problem.d / 2;
                pack_queries(Bf16Pairs(isa), q, buffers.queries(first));
                buffers.queries(first).add(words * ROWS).write_bytes(0, (buffers.words - words) * ROWS);
            }
            (begin, end) = (begin.min(panel.any.start), end.max(panel.any.end));
        }
        let mut at = begin;
        while at < end {
            let until = (at / self.size * self.size + self.size).min(end);
            let first_key = at / KEYS * KEYS;
            let keys = first_key..until.next_multiple_of(KEYS).min(problem.keys);
            // SAFETY: the buffers were laid out for a run of keys, which are within the problem's.
            let key_tiles = unsafe {
                let v = unit.rows_of(unit.v, problem.v_strides, problem.dv, &keys);
                values::pack(isa, v, buffers.v, self.size / KEYS);
                let k = unit.rows_of(unit.k, problem.k_strides, problem.d, &keys);
                KeyTiles::prepare(isa, k, first_key, buffers.k)
            };
            let values_stride = self.size / KEYS * TILE;
            for (first, state) in (0..padded).step_by(ROWS).zip(&mut states) {
                let panel = Panel::new(first, ROWS, visible);
                if panel.any.is_empty() || panel.any.end <= at {
                    continue;
                }
                let run = PanelRun {
                    isa,
                    tiles,
                    unit,
                    panel: &panel,
                    keys: &key_tiles,
                    values_stride,
                    buffers: &buffers,
                    visible,
                };
                // SAFETY: the buffers were laid out for these rows, K and V of the run's keys are ready.
                unsafe {
                    run.take(state, at..until);
                    if panel.any.end <= until {
                        unit.write_panel(isa.base(), [first, ROWS], buffers.sums(first));
                    }
                }
            }
            at = until;
        }
        // Kept until here for the addresses.
        let _ = scratch.as_mut_ptr();
    }
}
