//! Scores to weights: 32 keys by a panel.

use super::super::exponent::power_of_two_near;
use super::{KEYS, ROWS};
use crate::simd::{Avx512, Avx512Bf16, Isa};

/// A register.
pub(super) type V = <Avx512 as Isa>::V;

/// Pairs of keys of a tile.
pub(super) const PAIRS: usize = KEYS / 2;

/// Largest sum of the weights of 32 keys: a row that has more gets another shift. Far from 1, so that it is rare, and
/// from 2¹²⁷, which sums of weights times values must not reach before values do.
const LIMIT: f32 = 65536.0;

/// What turns scores into weights.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weights {
    /// Makes scores exponents of 2.
    pub(super) factor: V,
    pub(super) minus_shift: [V; 2],
    /// Sums of weights of this tile.
    pub(super) sums: [V; 2],
}

impl Weights {
    /// The weights of keys `2 pair` and `2 pair + 1`, of 32 whose scores are at `from`, to the words of a pair of 32 at
    /// `to`. The fused form is exact enough while the products are (see `PanelRun::grow`).
    ///
    /// # Safety
    /// `from` is readable for a tile of scores, `to` writable for one of weights.
    #[inline(always)]
    pub(super) unsafe fn pair(&mut self, isa: Avx512Bf16, from: *const f32, to: *mut f32, pair: usize) {
        let base = isa.base();
        for g in 0..2 {
            // SAFETY: a pair of the tile (`# Safety` of `Weights::pair`).
            unsafe {
                let from = from.add(2 * pair * ROWS + g * 16);
                let (even, odd) = (self.weight(isa, from, g), self.weight(isa, from.add(ROWS), g));
                self.sums[g] = base.add(self.sums[g], base.add(even, odd));
                base.store(to.add(pair * ROWS + g * 16), isa.round_pair(even, odd));
            }
        }
    }

    /// The weights of one key for half of the rows.
    ///
    /// # Safety
    /// `score` is readable for a register.
    #[inline(always)]
    unsafe fn weight(&self, isa: Avx512Bf16, score: *const f32, g: usize) -> V {
        let base = isa.base();
        // SAFETY: `score` is readable for a register (`# Safety` of `Weights::weight`).
        let score = unsafe { base.load(score) };
        power_of_two_near(isa, base.mul_add(score, self.factor, self.minus_shift[g]))
    }

    /// The rows, a bit each, whose weights are too large.
    #[inline(always)]
    pub(super) fn too_large(&self, isa: Avx512Bf16) -> [u16; 2] {
        let base = isa.base();
        let limit = base.splat(LIMIT);
        [base.lt(limit, self.sums[0]), base.lt(limit, self.sums[1])]
    }
}
