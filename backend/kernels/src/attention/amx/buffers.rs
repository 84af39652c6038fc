//! The scratch memory of a unit.

use super::super::panel_softmax::PanelSums;
use super::super::problem::Problem;
use super::{KEYS, ROWS, STEP, TILE};
use crate::scratch::{Scratch, round_to_line};

/// Keys between two products with V: as many weights stay in L1 beside a panel of O.
pub(super) const BLOCK: usize = 256;

/// Addresses of a unit's operands in its scratch memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct TileBuffers {
    q: *mut f32,
    /// Pairs of a query, zeros behind d included.
    pub(super) words: usize,
    /// Two tiles of scores, `[32 keys][32 rows]` each.
    scores: *mut f32,
    /// Weights of a block, `[keys / 2][32 rows]` pairs.
    pub(super) weights: *mut f32,
    /// Copied keys of a run.
    pub(super) k: *mut f32,
    /// Values of a run, `[dv / 16][keys / 32]` tiles `[16][32 keys]`.
    pub(super) v: *mut f32,
    max: *mut f32,
    sum: *mut f32,
    out: *mut f32,
    /// Elements of a value, in whole tiles.
    pub(super) columns: usize,
}

impl TileBuffers {
    /// Takes this thread's scratch memory and divides it, for `padded` rows and runs of `keys`.
    #[inline(always)]
    pub(super) fn lay_out(problem: &Problem<'_>, padded: usize, keys: usize) -> (Scratch, Self) {
        let words = problem.d.next_multiple_of(STEP) / 2;
        let columns = problem.dv.next_multiple_of(16);
        let sizes = [
            padded * words,
            2 * KEYS * ROWS,
            BLOCK / 2 * ROWS,
            keys * words,
            keys / 2 * columns,
            padded,
            padded,
            padded * columns,
        ];
        let total: usize = sizes.iter().map(|&floats| round_to_line(floats)).sum();
        let mut scratch = Scratch::take(total);
        let mut at = scratch.as_mut_ptr();
        let [q, scores, weights, k, v, max, sum, out] = sizes.map(|floats| {
            let begin = at;
            at = at.wrapping_add(round_to_line(floats));
            begin
        });
        (scratch, Self { q, words, scores, weights, k, v, max, sum, out, columns })
    }

    /// The packed queries of the panel at `first`: `[d / 2][32 rows]` pairs.
    #[inline(always)]
    pub(super) fn queries(&self, first: usize) -> *mut f32 {
        self.q.wrapping_add(first * self.words)
    }

    /// The buffer of every other tile of scores.
    #[inline(always)]
    pub(super) fn scores(&self, tile: usize) -> *mut f32 {
        self.scores.wrapping_add(tile % 2 * 4 * TILE)
    }

    /// The sums of the panel at `first`.
    #[inline(always)]
    pub(super) fn sums(&self, first: usize) -> PanelSums {
        PanelSums {
            max: self.max.wrapping_add(first),
            sum: self.sum.wrapping_add(first),
            out: self.out.wrapping_add(first * self.columns),
            columns: self.columns,
        }
    }
}
