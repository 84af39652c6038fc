//! A panel of rows against a run of keys.

use super::super::panel::Panel;
use super::super::panel_softmax::{PanelScores, PanelSums, RawScores, finish_scores};
use super::super::unit::Unit;
use super::buffers::{BLOCK, TileBuffers};
use super::keys::KeyTiles;
use super::products::{Scores, Sums, WeightTile};
use super::weights::{PAIRS, V, Weights};
use super::{KEYS, ROWS, TILE};
use crate::simd::{Avx512Bf16, Isa, Tiles};
use core::ops::Range;
use half::bf16;

/// Above, half a unit in the last place of an exponent is 1 or more, and the fused `score · factor - shift` of the
/// largest score may be far from 0.
const FUSED: f32 = 16_777_216.0;

/// What is known of a panel.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PanelState {
    /// Whether keys were taken in.
    seen: bool,
    /// Whether its O has been written.
    summed: bool,
    /// Whether scores are multiplied by the factor first, as they are beyond [`FUSED`].
    scaled_first: bool,
}

/// A panel against the keys of a run.
pub(super) struct PanelRun<'a> {
    pub(super) isa: Avx512Bf16,
    pub(super) tiles: &'a Tiles,
    pub(super) unit: &'a Unit<'a, bf16>,
    pub(super) panel: &'a Panel,
    pub(super) keys: &'a KeyTiles,
    /// Floats from 16 columns of the run's values to the next.
    pub(super) values_stride: usize,
    pub(super) buffers: &'a TileBuffers,
    pub(super) visible: &'a [(usize, usize)],
}

/// Weights that are not multiplied yet: a key and how many tiles.
#[derive(Debug, Clone, Copy)]
struct Pending {
    key: usize,
    steps: usize,
}

impl PanelRun<'_> {
    /// Takes in what the panel sees of `keys`.
    ///
    /// # Safety
    /// The buffers are laid out for the unit, and K and V of `keys` in them.
    #[inline(always)]
    pub(super) unsafe fn take(&self, state: &mut PanelState, keys: Range<usize>) {
        let begin = keys.start.max(self.panel.any.start) / KEYS * KEYS;
        let end = keys.end.min(self.panel.any.end);
        if begin >= end {
            return;
        }
        let sums = self.buffers.sums(self.panel.first);
        let base = self.isa.base();
        // SAFETY: the buffers hold the panel (`# Safety` of `PanelRun::take`), two tiles of scores and a block of
        // weights; tiles of keys from `begin` to `end` are among those of the run.
        unsafe {
            self.score::<0>(begin, None);
            let mut pending = Pending { key: begin, steps: 0 };
            for key in (begin..end).step_by(KEYS) {
                let scores = self.buffers.scores(key / KEYS);
                self.finish(*state, key, scores);
                // Rows that have seen nothing have no shift.
                let mut grown = [if state.seen { 0 } else { u16::MAX }; 2];
                state.seen = true;
                let of_tile = loop {
                    let has_grown = grown != [0, 0];
                    if has_grown {
                        self.multiply(state, &mut pending);
                        self.grow(state, sums, scores, grown);
                    }
                    let to = self.buffers.weights.wrapping_add(pending.steps * PAIRS * ROWS);
                    let mut weights = self.weights(*state, sums);
                    let tile = WeightTile { weights, from: scores, to };
                    weights.sums = if key + KEYS < end {
                        match self.keys.steps {
                            1 => self.score::<4>(key + KEYS, Some(tile)),
                            2 | 3 => self.score::<2>(key + KEYS, Some(tile)),
                            _ => self.score::<1>(key + KEYS, Some(tile)),
                        }
                    } else {
                        self.isa.run(tile)
                    };
                    grown = weights.too_large(self.isa);
                    // Behind the largest score of the tile no weight is above 1.
                    if has_grown || grown == [0, 0] {
                        break weights.sums;
                    }
                };
                for (g, &sum) in of_tile.iter().enumerate() {
                    let to = sums.sum.add(g * 16);
                    base.store(to, base.add(base.load(to), sum));
                }
                pending.steps += 1;
                if pending.steps == BLOCK / KEYS {
                    self.multiply(state, &mut pending);
                }
            }
            self.multiply(state, &mut pending);
        }
    }

    /// The scores of 32 keys, and meanwhile the weights of `before`, `PER` pairs after each product.
    ///
    /// # Safety
    /// `before` is as [`WeightTile`] asks; the rest as for [`PanelRun::take`].
    #[inline(always)]
    unsafe fn score<const PER: usize>(&self, key: usize, before: Option<WeightTile>) -> [V; 2] {
        let queries = (self.buffers.queries(self.panel.first).cast_const(), self.keys.steps);
        let to = self.buffers.scores(key / KEYS);
        // SAFETY: `# Safety` of `PanelRun::score`.
        self.isa.run(unsafe { Scores::<PER>::new(self.tiles, self.keys.tile(key), queries, to, before) })
    }

    /// `Oᵀ += Vᵀ·Pᵀ` of the weights that there are.
    ///
    /// # Safety
    /// As for [`PanelRun::take`].
    #[inline(always)]
    unsafe fn multiply(&self, state: &mut PanelState, pending: &mut Pending) {
        let Pending { key, steps } = *pending;
        if steps > 0 {
            let buffers = self.buffers;
            self.isa.run(Sums {
                tiles: self.tiles,
                values: buffers.v.wrapping_add((key - self.keys.first) / KEYS * TILE),
                columns_stride: self.values_stride,
                weights: buffers.weights,
                steps,
                out: buffers.sums(self.panel.first).out,
                columns: buffers.columns / 16,
                fresh: !state.summed,
            });
            state.summed = true;
            *pending = Pending { key: key + steps * KEYS, steps: 0 };
        }
    }

    /// Finishes the scores of 32 keys where they are more than products that all rows see.
    ///
    /// # Safety
    /// `scores` is a tile of the panel.
    #[inline(always)]
    unsafe fn finish(&self, state: PanelState, key: usize, scores: *mut f32) {
        let base = self.isa.base();
        let problem = self.unit.problem;
        let all = &self.panel.all;
        // SAFETY: a tile of scores (`# Safety` of `PanelRun::finish`).
        unsafe {
            if problem.is_plain() {
                if all.start > key || all.end < key + KEYS {
                    self.hide(key, scores);
                }
            } else {
                let live = KEYS.min(problem.keys - key);
                let first = self.panel.first;
                let tile = PanelScores { data: scores, stride: ROWS, first, keys: key..key + live };
                let factor = Some(problem.q_factor());
                let raw = RawScores { problem, span: &self.unit.span, scores: &tile, factor };
                let _: [V; 2] = finish_scores(base, raw, self.visible);
                for at in (live * ROWS..KEYS * ROWS).step_by(16) {
                    base.store(scores.add(at), base.splat(f32::NEG_INFINITY));
                }
            }
            if state.scaled_first {
                self.scale(scores);
            }
        }
    }

    /// Hides what causal order and segments hide.
    ///
    /// # Safety
    /// `scores` is a tile of the panel.
    #[inline(always)]
    unsafe fn hide(&self, key: usize, scores: *mut f32) {
        let base = self.isa.base();
        // A row that does not exist sees all.
        let (mut begins, mut ends) = ([0.0f32; ROWS], [KEYS as f32; ROWS]);
        for (row, &(begin, end)) in self.visible[self.panel.first..].iter().take(ROWS).enumerate() {
            begins[row] = begin.saturating_sub(key).min(KEYS) as f32;
            ends[row] = end.saturating_sub(key).min(KEYS) as f32;
        }
        let hidden = base.splat(f32::NEG_INFINITY);
        for g in [0, 16] {
            // SAFETY: arrays of 32 floats, and a tile of scores (`# Safety` of `PanelRun::hide`).
            unsafe {
                let (begins, ends) = (base.load(begins.as_ptr().add(g)), base.load(ends.as_ptr().add(g)));
                for key in 0..KEYS {
                    let (at, key) = (scores.add(key * ROWS + g), base.splat(key as f32));
                    let score = base.select(base.lt(key, ends), base.load(at), hidden);
                    base.store(at, base.select(base.lt(key, begins), hidden, score));
                }
            }
        }
    }

    /// Multiplies scores by their factor.
    ///
    /// # Safety
    /// `scores` is a tile of the panel.
    #[inline(always)]
    unsafe fn scale(&self, scores: *mut f32) {
        let base = self.isa.base();
        let factor = base.splat(self.unit.problem.q_factor());
        for at in (0..KEYS * ROWS).step_by(16) {
            // SAFETY: a tile of scores (`# Safety` of `PanelRun::scale`).
            unsafe { base.store(scores.add(at), base.mul(base.load(scores.add(at)), factor)) };
        }
    }

    /// Makes the largest of the `scores` the shift of those rows, a bit each, and their sums relative to it.
    ///
    /// # Safety
    /// `scores` is a tile of the panel, `sums` are the panel's, and no weights are pending.
    #[inline(always)]
    unsafe fn grow(&self, state: &mut PanelState, sums: PanelSums, scores: *mut f32, grown: [u16; 2]) {
        let base = self.isa.base();
        // SAFETY: as the `# Safety` clause of `PanelRun::grow` says.
        unsafe {
            let factor = self.weights(*state, sums).factor;
            let (mut old, mut new, mut large) = ([factor; 2], [factor; 2], 0);
            for g in 0..2 {
                let mut most = base.splat(f32::NEG_INFINITY);
                for key in 0..KEYS {
                    most = base.max(base.load(scores.add(key * ROWS + g * 16)), most);
                }
                old[g] = base.load(sums.max.add(g * 16));
                let max = base.select(grown[g], base.max(base.mul(most, factor), old[g]), old[g]);
                base.store(sums.max.add(g * 16), max);
                new[g] = base.max(base.splat(f32::MIN), max);
                let finite = base.lt(base.splat(f32::NEG_INFINITY), max);
                large |= finite & base.lt(base.splat(FUSED), base.abs(max));
            }
            // O that was never written is not read.
            let columns = if state.summed { sums.columns } else { 0 };
            PanelSums { columns, ..sums }.rescale(base, old, new);
            if large != 0 && !state.scaled_first && !self.unit.problem.is_special() {
                state.scaled_first = true;
                self.scale(scores);
            }
        }
    }

    /// What turns the panel's scores into weights.
    ///
    /// # Safety
    /// `sums` are the panel's.
    #[inline(always)]
    unsafe fn weights(&self, state: PanelState, sums: PanelSums) -> Weights {
        let base = self.isa.base();
        let problem = self.unit.problem;
        let factor = if state.scaled_first || problem.is_special() { 1.0 } else { problem.q_factor() };
        let zero = base.splat(0.0);
        let mut minus_shift = [zero; 2];
        for (g, minus_shift) in minus_shift.iter_mut().enumerate() {
            // A row that has seen nothing but -∞ subtracts a finite number, and its weights are 0.
            // SAFETY: the panel's maxima (`# Safety` of `PanelRun::weights`).
            let shift = unsafe { base.max(base.splat(f32::MIN), base.load(sums.max.add(g * 16))) };
            *minus_shift = base.sub(zero, shift);
        }
        Weights { factor: base.splat(factor), minus_shift, sums: [zero; 2] }
    }
}
