//! The plan of a shape class from a model of its time.
//!
//! A product of many rows keeps a block of A, `[mc, kc]`, in L2 while micropanels of B pass by (see [`crate::gemm`]).
//! What a choice of `kc` costs besides the multiply-adds, in cycles of one core:
//!
//! ```text
//! C       (2 · turns - 1) · m · n · 4 / C_RATE            turns = k / kc: each writes C, all but the first read it
//! B       ⌈m / mc⌉ · n · k · 4 / B_RATE                   each block of A reads B again, from L3 or memory
//! panel   (m / mr) · n · k · 4 / L2_RATE · EXPOSED        a micropanel of B beyond 3/4 of L1 comes from L2 for each tile
//! ```
//!
//! and the second grows with `kc`, as `mc = L2 / 2 / (4 · kc)`. Deep products of many columns want few turns; many rows
//! want high blocks of A; a product whose depth fits in one turn never reads its sums. The fixed sizes of
//! [`Blocking::derive`] know none of that.
//!
//! The depth of a block orders the sums of f32. It follows from the shape class, tile and caches, never from the number
//! of threads.

use crate::Caches;
use crate::gemm::{Blocking, GEMV_ROWS, Tile};

/// Bytes of C a cycle: rows of a tile are loaded and stored at strides that share sets of L1. (Fitted, with the other
/// three, to products of 64 to 512 rows and depths of 512 to 6144 with `kc` of 256 to 2048 on Zen 3, AVX2, one thread
/// and two.)
const C_RATE: f64 = 4.0;

/// Bytes of B a cycle from L3, prefetched.
const B_RATE: f64 = 16.0;

/// Bytes a cycle from L2.
const L2_RATE: f64 = 32.0;

/// The part of a micropanel's time from L2 that prefetching does not hide.
const EXPOSED: f64 = 0.03;

/// The part of L2 that one micropanel of B may take, one in so many: the block of A has half, and C passes by.
const PANEL_SHARE: usize = 4;

/// A plan must be better than the fixed sizes by this part of the multiply-adds' time, or the fixed sizes stay: the
/// model is no better.
const MARGIN: f64 = 0.005;

/// The block sizes for `[m, k] · [k, n]` in f32 arithmetic on one core, of the fixed sizes `fixed` and all that cut the
/// depth into fewer turns.
pub(super) fn choose_blocking(fixed: Blocking, [m, n, k]: [usize; 3], tile: Tile, caches: Caches) -> Blocking {
    if m <= GEMV_ROWS || n == 0 || k == 0 {
        return fixed;
    }
    let multiply_adds = (m * n) as f64 * k as f64 / (tile.nr * 2) as f64;
    let usual = cost(fixed, [m, n, k], tile, caches);
    let candidates = (1..k.div_ceil(fixed.kc)).filter_map(|turns| {
        let kc = k.div_ceil(turns).next_multiple_of(4);
        let fits = kc * tile.nr * size_of::<f32>() <= caches.l2 / PANEL_SHARE;
        fits.then(|| fixed.with_depth(kc, tile, caches))
    });
    let best = candidates.map(|blocking| (cost(blocking, [m, n, k], tile, caches), blocking));
    match best.min_by(|(a, _), (b, _)| a.total_cmp(b)) {
        Some((cost, blocking)) if usual - cost > MARGIN * multiply_adds => blocking,
        _ => fixed,
    }
}

/// Cycles besides the multiply-adds.
fn cost(blocking: Blocking, [m, n, k]: [usize; 3], tile: Tile, caches: Caches) -> f64 {
    let float = size_of::<f32>() as f64;
    let (c, b) = ((m * n) as f64 * float, n as f64 * k as f64 * float);
    let turns = k.div_ceil(blocking.kc) as f64;
    let panel = blocking.kc.min(k) * tile.nr * size_of::<f32>();
    let from_l2 = if panel > caches.l1d * 3 / 4 { m as f64 / tile.mr as f64 * b / L2_RATE * EXPOSED } else { 0.0 };
    (2.0 * turns - 1.0) * c / C_RATE + m.div_ceil(blocking.mc) as f64 * b / B_RATE + from_l2
}

#[cfg(test)]
mod tests {
    use super::*;

    const AVX2: Tile = Tile { mr: 6, nr: 16 };
    const I5: Caches = Caches { l1d: 32 << 10, l2: 256 << 10, l3: 6 << 20 };
    const ZEN_3: Caches = Caches { l1d: 32 << 10, l2: 512 << 10, l3: 32 << 20 };

    fn choose(caches: Caches, shape: [usize; 3]) -> Blocking {
        choose_blocking(Blocking::derive(caches, AVX2, 2), shape, AVX2, caches)
    }

    #[test]
    fn deep_products_take_fewer_turns() {
        let fixed = Blocking::derive(ZEN_3, AVX2, 2);
        for k in [512, 1024, 2048, 6144] {
            let blocking = choose(ZEN_3, [512, 2048, k]);
            assert!(k.div_ceil(blocking.kc) < k.div_ceil(fixed.kc), "{k}: {blocking:?}");
            assert!(
                blocking.mc * blocking.kc * 4 <= ZEN_3.l2 / 2 && blocking.mc.is_multiple_of(AVX2.mr),
                "{blocking:?}"
            );
            assert!(blocking.kc * AVX2.nr * 4 <= ZEN_3.l2 / 4, "{blocking:?}");
        }
    }

    #[test]
    fn what_fits_one_turn_and_few_rows_keep_the_fixed_sizes() {
        for caches in [I5, ZEN_3] {
            let fixed = Blocking::derive(caches, AVX2, 2);
            for shape in [[512, 2048, 256], [16, 2048, 2048], [1, 1, 1 << 20], [512, 0, 2048], [512, 2048, 0]] {
                assert_eq!(choose(caches, shape), fixed, "{shape:?}");
            }
        }
    }

    /// Many more rows than a high block holds: each block of A brings B again, so a small L2 keeps its height.
    #[test]
    fn rows_and_the_size_of_l2_weigh_against_depth() {
        let depth = |caches, m| choose(caches, [m, 2048, 2048]).kc;
        assert!(depth(I5, 64) > depth(I5, 4096), "{} {}", depth(I5, 64), depth(I5, 4096));
        assert!(depth(ZEN_3, 4096) >= depth(I5, 4096));
    }
}
