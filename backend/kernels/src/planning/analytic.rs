//! The plan of a shape class from a model of its time (cost.rs).
//!
//! Four things are chosen:
//!
//! * **The algorithm**: of those that apply, the one of the least cycles, if it beats the fixed choice by more than the
//!   model errs.
//! * **The blocks** of a product of many rows, which keeps a block of A, `[mc, kc]`, in L2 while micropanels of B pass
//!   by (see [`crate::gemm`]). What a choice of `kc` costs besides the multiply-adds:
//!
//!   ```text
//!   C       (2 · ⌈k / kc⌉ - 1) · m · n · 4 / C_RATE      each block of the depth writes C, all but the first read it
//!   B       ⌈m / mc⌉ · n · k · 4 / B_RATE                each block of A reads B again, from L3 or memory
//!   panel   (m / mr) · n · k · 4 / L2_RATE · EXPOSED     a micropanel beyond 3/4 of L1 comes from L2 for each tile
//!   ```
//!
//!   and the second grows with `kc`, as `mc = L2 / 2 / (4 · kc)`. Deep products of many columns want few blocks of the
//!   depth; many rows want high blocks of A; a product whose depth fits in one block never reads its sums. The fixed
//!   sizes of [`Blocking::derive`] know none of that.
//! * **The split**: threads and parts by the time of the multiply-adds on this tier, or by that of reading B in its
//!   element type where that is more. The fixed choice counts multiply-adds alone.
//! * **Where a norm of A is applied**, which follows from the algorithm ([`Variant::fuses_norm`]).
//!
//! Algorithm and depth of a block order the sums of f32. They follow from the shape class, tile and caches, never from
//! the number of threads.

use super::choice::Choice;
use super::cost::CostModel;
use crate::Caches;
use crate::gemm::{Blocking, GEMV_ROWS, Plan, ProductShape, Split, Tile, Variant, Work};

/// Bytes of B a cycle from L3, prefetched.
const B_RATE: f64 = 16.0;

/// Bytes a cycle from L2.
const L2_RATE: f64 = 32.0;

/// The part of a micropanel's time from L2 that prefetching does not hide.
const EXPOSED: f64 = 0.03;

/// The part of L2 that one micropanel of B may take, one in so many: the block of A has half, and C passes by.
const PANEL_SHARE: usize = 4;

/// Blocks must be better than the fixed sizes by this part of the multiply-adds' time, or the fixed sizes stay: the
/// model is no better.
const MARGIN: f64 = 0.0025;

/// An algorithm must be faster than the fixed choice by this much: the model errs by as much.
const VARIANT_MARGIN: f64 = 1.12;

/// Multiply-adds a cycle of the core that the constants of [`Split`] are measured on.
const MULTIPLY_ADDS: f64 = 16.0;

/// The plan for products of `shape` on the machine of `caches`, better than `usual` as far as the model can tell. Block
/// sizes that the configuration fixes (`fixed`) stay.
pub(super) fn choose(shape: ProductShape, usual: &Plan, fixed: bool, caches: Caches) -> Choice {
    let tier = usual.launch.tier;
    let model = CostModel { shape, tier, tile: Tile::of(tier), caches };
    let blocking = if fixed { usual.blocking } else { choose_blocking(&model, usual.blocking) };
    let variant = choose_variant(&model, blocking);
    let gemv = matches!(variant, Variant::Dot | Variant::Axpy);
    let multiply_adds = (model.shared_cycles() * MULTIPLY_ADDS) as usize;
    let work = Work { multiply_adds, ..Work::of([shape.m, shape.n, shape.k], 1, gemv) };
    Choice { variant, blocking, split: Split::of(work, usual.launch.threads) }
}

/// The fastest algorithm, or the fixed choice where the model cannot tell.
fn choose_variant(model: &CostModel, blocking: Blocking) -> Variant {
    let fixed = Variant::choose(model.tier, &model.shape);
    let Some(usual) = model.cycles(fixed, blocking) else { return fixed };
    let best = [Variant::Dot, Variant::Axpy, Variant::Unpacked, Variant::Blocked]
        .into_iter()
        .filter_map(|variant| Some((model.cycles(variant, blocking)?, variant)))
        .min_by(|(a, _), (b, _)| a.total_cmp(b));
    match best {
        Some((cycles, variant)) if cycles * VARIANT_MARGIN < usual => variant,
        _ => fixed,
    }
}

/// The block sizes of f32 arithmetic on one core, of the fixed sizes `fixed` and all that cut the depth into fewer
/// blocks.
fn choose_blocking(model: &CostModel, fixed: Blocking) -> Blocking {
    let (CostModel { tile, caches, .. }, ProductShape { m, n, k, .. }) = (*model, model.shape);
    if m <= GEMV_ROWS || n == 0 || k == 0 {
        return fixed;
    }
    let multiply_adds = (m * n) as f64 * k as f64 / tile.nr as f64;
    let usual = blocking_cost(model, fixed);
    let candidates = (1..k.div_ceil(fixed.kc)).filter_map(|blocks| {
        let kc = k.div_ceil(blocks).next_multiple_of(4);
        let fits = kc * tile.nr * size_of::<f32>() <= caches.l2 / PANEL_SHARE;
        fits.then(|| fixed.with_depth(kc, tile, caches))
    });
    let best = candidates.map(|blocking| (blocking_cost(model, blocking), blocking));
    match best.min_by(|(a, _), (b, _)| a.total_cmp(b)) {
        Some((cost, blocking)) if usual - cost > MARGIN * multiply_adds => blocking,
        _ => fixed,
    }
}

/// Cycles that block sizes cost besides the multiply-adds.
fn blocking_cost(model: &CostModel, blocking: Blocking) -> f64 {
    let (CostModel { tile, caches, .. }, ProductShape { m, n, k, .. }) = (*model, model.shape);
    let b = (n * size_of::<f32>()) as f64 * k as f64;
    let panel = blocking.kc.min(k) * tile.nr * size_of::<f32>();
    let from_l2 = if panel > caches.l1d * 3 / 4 { m as f64 / tile.mr as f64 * b / L2_RATE * EXPOSED } else { 0.0 };
    model.partial_sums(blocking.kc) + m.div_ceil(blocking.mc) as f64 * b / B_RATE + from_l2
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemm::Layout;
    use crate::simd::Tier;
    use crate::{ElementType, Launch};

    const AVX2: Tile = Tile { mr: 6, nr: 16 };
    const I5: Caches = Caches { l1d: 32 << 10, l2: 256 << 10, l3: 6 << 20 };
    const ZEN_3: Caches = Caches { l1d: 32 << 10, l2: 512 << 10, l3: 32 << 20 };

    fn model(caches: Caches, tier: Tier, [m, n, k]: [usize; 3], layout: Layout) -> CostModel {
        let shape = ProductShape { m, n, k, a: ElementType::F32, b: ElementType::F32, layout };
        CostModel { shape, tier, tile: AVX2, caches }
    }

    fn blocking(caches: Caches, shape: [usize; 3]) -> Blocking {
        let model = model(caches, Tier::Avx2, shape, Layout::Packed);
        choose_blocking(&model, Blocking::derive(caches, AVX2, 2))
    }

    fn variant(shape: [usize; 3], layout: Layout) -> Variant {
        choose_variant(&model(ZEN_3, Tier::Avx2, shape, layout), Blocking::derive(ZEN_3, AVX2, 2))
    }

    #[test]
    fn deep_products_take_fewer_blocks() {
        let fixed = Blocking::derive(ZEN_3, AVX2, 2);
        for k in [512, 1024, 2048, 6144] {
            let blocking = blocking(ZEN_3, [512, 2048, k]);
            assert!(k.div_ceil(blocking.kc) < k.div_ceil(fixed.kc), "{k}: {blocking:?}");
            assert!(
                blocking.mc * blocking.kc * 4 <= ZEN_3.l2 / 2 && blocking.mc.is_multiple_of(AVX2.mr),
                "{blocking:?}"
            );
            assert!(blocking.kc * AVX2.nr * 4 <= ZEN_3.l2 / 4, "{blocking:?}");
        }
    }

    #[test]
    fn what_fits_one_block_and_few_rows_keep_the_fixed_sizes() {
        for caches in [I5, ZEN_3] {
            let fixed = Blocking::derive(caches, AVX2, 2);
            for shape in [[512, 2048, 256], [16, 2048, 2048], [1, 1, 1 << 20], [512, 0, 2048], [512, 2048, 0]] {
                assert_eq!(blocking(caches, shape), fixed, "{shape:?}");
            }
        }
    }

    /// Many more rows than a high block holds: each block of A brings B again, so a small L2 keeps its height.
    #[test]
    fn rows_and_the_size_of_l2_weigh_against_depth() {
        let depth = |caches, m| blocking(caches, [m, 2048, 2048]).kc;
        assert!(depth(I5, 64) > depth(I5, 4096), "{} {}", depth(I5, 64), depth(I5, 4096));
        assert!(depth(ZEN_3, 4096) >= depth(I5, 4096));
    }

    /// Shapes that were measured, each way (medians on Zen 3, one thread; beside each the speed of what is chosen over
    /// the fixed choice, or of the other algorithm where the fixed choice stays).
    #[test]
    fn algorithms_are_those_that_measured_faster() {
        use Layout::{Columns, Packed, Rows};
        use Variant::{Axpy, Blocked, Dot, Unpacked};
        for (shape, layout, expected) in [
            ([16, 2048, 2048], Packed, Blocked),   // 1.4 to 1.6
            ([13, 2048, 2048], Packed, Blocked),   // 1.3
            ([12, 2048, 2048], Packed, Dot),       // 1.0 to 1.25
            ([8, 2048, 2048], Packed, Dot),        // 0.85
            ([4, 2048, 2048], Packed, Dot),        // 0.86
            ([16, 2048, 2048], Columns, Dot),      // 0.6
            ([16, 1000, 1000], Rows, Axpy),        // 0.7 to 1.23
            ([16, 200, 400], Rows, Unpacked),      // 1.4
            ([6, 1000, 1000], Rows, Axpy),         // 0.92
            ([16, 1500, 1500], Rows, Axpy),        // 0.4
            ([16, 1024, 1024], Rows, Axpy),        // 0.64
            ([1000, 16, 4096], Rows, Unpacked),    // 2.0
            ([1000, 16, 1024], Columns, Unpacked), // 1.5
            ([128, 128, 128], Rows, Blocked),      // 1.0 to 1.18
            ([128, 128, 256], Rows, Blocked),      // 1.0 to 1.35
            ([64, 80, 256], Rows, Unpacked),       // 0.86 to 1.03
            ([64, 48, 256], Rows, Unpacked),       // 0.95
            ([256, 256, 256], Rows, Blocked),      // 0.81
            ([1000, 48, 512], Columns, Blocked),   // 0.93
        ] {
            assert_eq!(variant(shape, layout), expected, "{shape:?} {layout:?}");
        }
    }

    /// The loops for few rows of other tiers were not measured.
    #[test]
    fn what_the_model_does_not_know_is_the_fixed_choice() {
        for tier in [Tier::Portable, Tier::Avx512] {
            for (shape, layout) in [([16, 2048, 2048], Layout::Packed), ([16, 1000, 1000], Layout::Rows)] {
                let model = model(ZEN_3, tier, shape, layout);
                let fixed = Variant::choose(tier, &model.shape);
                assert_eq!(choose_variant(&model, Blocking::derive(ZEN_3, AVX2, 2)), fixed, "{tier} {shape:?}");
            }
        }
    }

    /// Algorithm and depth order the sums, which do not depend on the number of threads.
    #[test]
    fn algorithm_and_depth_do_not_depend_on_threads() {
        let sizes = [1, 7, 13, 16, 24, 100, 128, 700, 2048, 20_000];
        for tier in Tier::available() {
            for layout in [Layout::Rows, Layout::Columns, Layout::Packed, Layout::Strided] {
                for [m, n, k] in sizes.into_iter().flat_map(|m| sizes.map(|n| sizes.map(|k| [m, n, k]))).flatten() {
                    let shape = ProductShape { m, n, k, a: ElementType::F32, b: ElementType::F32, layout };
                    let plan = |threads| {
                        let launch = Launch { threads, ..Launch::single(tier) };
                        let Choice { variant, blocking, .. } = choose(shape, &launch.into(), false, ZEN_3);
                        (variant, blocking.kc)
                    };
                    let one = plan(1);
                    assert!([2, 5, 64].iter().all(|&threads| plan(threads) == one), "{tier} {shape:?}");
                }
            }
        }
    }

    /// Threads follow from time: fewer where elements are narrow.
    #[test]
    fn threads_follow_from_time() {
        let plan = |b, threads| {
            let shape = ProductShape { m: 1, n: 1 << 10, k: 1 << 10, a: ElementType::F32, b, layout: Layout::Packed };
            choose(shape, &Launch { threads, ..Launch::single(Tier::Portable) }.into(), false, ZEN_3)
        };
        let [one, many] = [1, 64].map(|threads| plan(ElementType::F32, threads));
        assert_eq!((one.variant, one.blocking.kc), (many.variant, many.blocking.kc));
        assert_eq!(one.split, Split { threads: 1, parts: 1 });
        assert!(many.split.threads > plan(ElementType::Bf16, 64).split.threads && many.split.threads < 64);
        assert!(many.split.parts.is_multiple_of(many.split.threads));
    }
}
