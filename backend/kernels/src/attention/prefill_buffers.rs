//! The scratch memory of a unit of many rows.

use super::arithmetic::Arithmetic;
use super::panel::{MAX_HEIGHT, left_columns, panel_rows};
use super::panel_softmax::PanelSums;
use super::problem::Problem;
use crate::scratch::{Scratch, round_to_line};
use crate::simd::Isa;

/// Addresses of a unit's operands in its scratch memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct PrefillBuffers {
    /// Packed queries.
    pub(super) q: *mut f32,
    /// Scores of a panel.
    pub(super) s: *mut f32,
    /// Widened keys of a tile, where they are not read in their own layout.
    pub(super) k: *mut f32,
    /// Packed values of a tile.
    pub(super) v: *mut f32,
    max: *mut f32,
    sum: *mut f32,
    out: *mut f32,
}

impl PrefillBuffers {
    /// Takes this thread's scratch memory and divides it, for `padded` rows.
    #[inline(always)]
    pub(super) fn lay_out<A: Arithmetic>(problem: &Problem, padded: usize, reads_keys: bool) -> (Scratch, Self) {
        let Problem { d, dv, tiles, .. } = *problem;
        let columns = dv.next_multiple_of(left_columns::<A::Isa>());
        let scores = (tiles.keys + MAX_HEIGHT) * panel_rows::<A::Isa>();
        let wide_keys = if reads_keys { 0 } else { tiles.keys * d };
        let sizes = [
            padded * (d / A::DEPTH),
            scores,
            wide_keys,
            tiles.keys.div_ceil(A::DEPTH) * columns,
            padded,
            padded,
            padded * columns,
        ];
        let total: usize = sizes.iter().map(|&floats| round_to_line(floats)).sum();
        let mut scratch = Scratch::take(total);
        let mut at = scratch.as_mut_ptr();
        let [q, s, k, v, max, sum, out] = sizes.map(|floats| {
            let begin = at;
            at = at.wrapping_add(round_to_line(floats));
            begin
        });
        (scratch, Self { q, s, k, v, max, sum, out })
    }

    /// The sums of the panel at `first`.
    #[inline(always)]
    pub(super) fn sums<I: Isa>(&self, problem: &Problem, first: usize) -> PanelSums {
        let columns = problem.dv.next_multiple_of(left_columns::<I>());
        PanelSums {
            max: self.max.wrapping_add(first),
            sum: self.sum.wrapping_add(first),
            out: self.out.wrapping_add(first * columns),
            columns,
        }
    }
}
