//! Attention in memory of O(length): tiles with an online softmax (Dao et al. 2022, "FlashAttention"; Rabe and Staats
//! 2021).
//!
//! ```text
//! for each (sequence, key head, tile of queries)            units, shared out to threads
//!     Q = scale · log₂ e · queries of all heads of a group  [rows, d]
//!     m = -∞, l = 0, O = 0
//!     for each tile of keys that a query of the unit sees
//!         S = Q·Kᵀ, softcap, + bias, hidden = -∞            [rows, keys]
//!         m' = max(m, rows of S)
//!         P = 2^(S - m'),  l = l · 2^(m - m') + Σ P,  O = O · 2^(m - m') + P·V
//!     output = O / l,  lse = (m + log₂ l) · ln 2
//! ```
//!
//! - Grouped-query attention: the query heads of one key head are rows of one unit, so that each tile of K and V is
//!   read and packed once for all of them. Rows of one query are adjacent: they see the same keys.
//! - Many rows (prefill): rows are in lanes, in panels of up to three registers, and everything is computed transposed
//!   (panel.rs): `Sᵀ = K·Qᵀ` reads K in its own layout, the softmax runs down the lanes, `Oᵀ += Vᵀ·Pᵀ` reads V in
//!   packed columns. Causal limits are those of a panel, and only its last keys are masked.
//! - Few rows (decode): K and V are read in their own layout, once, and what comes next is prefetched meanwhile
//!   (decode_products.rs).
//! - Fewer units than threads (a long cache, few heads), or a number that leaves threads waiting: the keys are split
//!   too, and the partial `m, l, O` merged at the end.
//! - Queries, keys and values in bf16: both products by tiles of AMX where the tier has it (amx/), by `vdpbf16ps` where
//!   that is faster than f32 arithmetic, else widened.
//!
//! Causal order and packed segments are both an interval of keys for each query: tiles outside are never touched.
//!
//! A query that sees no key (all hidden, or no keys at all) gives 0 and an lse of -∞, as Burn's `attention_fallback`
//! and Flex do. NaN in a score that is seen makes its row NaN, and so does a score of +∞. A hidden key counts nothing,
//! whatever its score; its value is multiplied by 0 where its tile is computed at all, so an infinite or NaN value may
//! still show.
//!
//! # Error
//!
//! In f32 a score is off by about `√d · 2⁻²⁴` of its products' size, which the exponential makes relative; weights are
//! within 2 ulp, and those below `2⁻¹⁰⁰` of the largest may count nothing. A score beyond 2.3e38 (its power of 2 is no
//! f32) is +∞.
//!
//! Where pairs of bf16 are multiplied the products of the first are exact and summed in f32 as above. The weights of
//! the second are rounded to bf16, their sum is not: an element of the result is off by at most `2⁻⁸ · Σ w·|v|` more,
//! half a unit in the last place of a bf16 result of that size. Subnormal elements count as zero. By tiles weights are
//! within 2.7e-6 before they are rounded, and so is their sum.

#[cfg(target_arch = "x86_64")]
mod amx;
mod arithmetic;
mod backward;
mod decode;
mod decode_products;
mod decode_softmax;
mod exponent;
mod merge;
mod packing;
mod panel;
mod panel_softmax;
mod partials;
mod prefill;
mod prefill_buffers;
mod problem;
mod schedule;
mod tiles;
mod unit;

pub use backward::{AttentionResult, GradHeads, attention_backward};
pub use problem::{AttentionOptions, Scores};
pub use schedule::{AttentionSizes, Schedule};
pub use tiles::Tiles;

use super::rope::Heads;
use super::rows::{AnySource, AnyTarget, Source, Target};
use super::{Floats, FloatsMut, Launch, Storage};
use crate::probe::{self, Probe};
use crate::simd::Tier;
#[cfg(target_arch = "x86_64")]
use crate::simd::prefers_bf16_dots;
use core::sync::atomic::{AtomicUsize, Ordering};
use decode::DecodeUnit;
use merge::Merge;
use partials::Partials;
use prefill::{PrefillUnit, run_bf16, run_f32};
use problem::Problem;
use tiles::{DECODE_ROWS, runs_on_amx};
use unit::Unit;

/// Floats of partial sums that are worth a thread to merge them.
const FLOATS_PER_MERGE: usize = 1 << 16;

/// Whether queries of bf16, against keys and values of bf16, are multiplied as they are: so many `rows` are the queries
/// of the heads that share a key head. Elsewhere they are widened, and rounding them to bf16 gains nothing.
pub fn multiplies_bf16(tier: Tier, d: usize, rows: usize) -> bool {
    runs_on_amx(tier, d, rows) || (rows > DECODE_ROWS && multiplies_pairs(tier, d))
}

/// Whether panels of bf16 are multiplied by `vdpbf16ps`: on the tier of that name, and on AMX, for what no tile takes,
/// where its measured rate is at least three quarters of f32's.
fn multiplies_pairs(tier: Tier, d: usize) -> bool {
    #[cfg(target_arch = "x86_64")]
    let prefers = prefers_bf16_dots;
    #[cfg(not(target_arch = "x86_64"))]
    let prefers = || false;
    d.is_multiple_of(2) && (tier == Tier::Avx512Bf16 || (tier == Tier::Amx && prefers()))
}

/// `softmax(softcap · tanh(scale · q·kᵀ / softcap) + bias, hidden = -∞) · v`, see [`AttentionOptions`].
///
/// Shapes: `q` `[batch, heads, queries, d]`, `k` `[batch, kv_heads, keys, d]`, `v` `[batch, kv_heads, keys, dv]`, of
/// any strides but the last; `heads` is a multiple of `kv_heads`, and query head `h` reads key head
/// `h / (heads / kv_heads)`. `out` is contiguous `[batch, heads, queries, dv]`, or as [`AttentionOptions::by_position`]
/// says. Where it is wanted, `lse` `[batch, heads, queries]` is `ln Σ e^score`. `k` and `v` have one element type; that
/// of `q` and of `out` is free. Arithmetic is f32.
///
/// # Panics
/// If shapes, lengths or element types do not fit.
pub fn attention(
    launch: Launch,
    [q, k, v]: [Heads<'_>; 3],
    options: &AttentionOptions<'_>,
    out: FloatsMut<'_>,
    lse: Option<&mut [f32]>,
) {
    let problem = Problem::new([&q, &k, &v], options, out.len(), lse.as_ref().map(|lse| lse.len()));
    let operands = Operands { q: AnySource::new(q.data), out: AnyTarget::new(out), lse: lse.map(Target::new) };
    match (k.data, v.data) {
        (Floats::F32(k), Floats::F32(v)) => run(launch, &problem, operands, [Source::new(k), Source::new(v)], run_f32),
        (Floats::Bf16(k), Floats::Bf16(v)) => {
            run(launch, &problem, operands, [Source::new(k), Source::new(v)], run_bf16)
        }
        (Floats::F16(k), Floats::F16(v)) => run(launch, &problem, operands, [Source::new(k), Source::new(v)], run_f32),
        (k, v) => panic!("one element type for keys and values, not {:?} and {:?}", k.dtype(), v.dtype()),
    }
}

/// What is read and written whatever the type of keys and values.
struct Operands {
    q: AnySource,
    out: AnyTarget,
    lse: Option<Target<f32>>,
}

fn run<S: Storage>(
    launch: Launch,
    problem: &Problem<'_>,
    Operands { q, out, lse }: Operands,
    [k, v]: [Source<S>; 2],
    run_prefill: for<'a> fn(PrefillUnit<'a, S>, Tier, &Schedule),
) {
    let schedule = Schedule::choose(launch, problem.sizes(), problem.tiles, problem.split_keys);
    let Schedule { rows, splits, decode, units, cut, .. } = schedule;
    if units == 0 || problem.queries == 0 {
        return;
    }
    let launch = launch.limit(schedule.threads);
    let prefetch = if decode { launch.prefetch } else { 0 };
    if prefetch > 0 {
        probe::report(Probe::Prefetch);
    }
    probe::report_size(Probe::AttentionRows, rows);
    probe::report_size(Probe::AttentionKeys, schedule.keys);
    if splits > 1 {
        probe::report_size(Probe::KeySplits, splits);
    }
    let mut partials = Partials::take(problem, rows, if splits > 1 { units * splits } else { 0 });
    let blocks = partials.blocks();
    let unit = |index: usize, split: usize| Unit {
        problem,
        q,
        k,
        v,
        out,
        lse,
        span: problem.span(cut, index),
        keys: problem.keys * split / splits..problem.keys * (split + 1) / splits,
        partial: (splits > 1).then(|| blocks.of(index * splits + split)),
        prefetch,
    };
    let next = AtomicUsize::new(0);
    // One part a thread: each takes the next unit that nobody has, as units differ in work.
    launch.split(launch.threads, 1, |part| {
        for _ in part {
            loop {
                let item = next.fetch_add(1, Ordering::Relaxed);
                if item >= units * splits {
                    break;
                }
                let unit = unit(item / splits, item % splits);
                if decode {
                    launch.tier.run(DecodeUnit(unit));
                } else {
                    run_prefill(PrefillUnit(unit), launch.tier, &schedule);
                }
            }
        }
    });
    if splits > 1 {
        let floats = units * splits * rows * problem.dv;
        launch.limit(floats / FLOATS_PER_MERGE).split(units, 1, |part| {
            for index in part {
                launch.tier.run(Merge { unit: unit(index, 0), blocks, first: index * splits, splits });
            }
        });
    }
}
