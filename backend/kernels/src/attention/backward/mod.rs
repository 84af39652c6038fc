//! Gradients of attention by recomputation, in memory of O(length) (Dao 2023, "FlashAttention-2", algorithm 2).
//!
//! ```text
//! for each (sequence, key head, segment)                     shared out to threads
//!     for each tile of queries, of all heads of a group      rows, `r` of them
//!         δ = rows of Σ grad ⊙ out
//!         for each tile of keys that one of them sees
//!             Sᵀ = K·Qᵀ,  Pᵀ = 2^(Sᵀ - lse)                 [keys][rows]
//!             dPᵀ = V·gradᵀ,  dSᵀ = Pᵀ ⊙ (dPᵀ - δ)          [keys][rows]
//!             dQᵀ += Kᵀ·dSᵀ                                  [d][rows]
//!             dV += Pᵀ·grad,  dK += scale · dSᵀ·Q            [keys][d]
//!         dq = scale · dQ
//! ```
//!
//! - With rows in lanes, as in the forward, all five products have the form of one register tile (product.rs): a left
//!   operand that is broadcast a word at a time, `K`, `V`, `Kᵀ`, `Pᵀ` and `dSᵀ` as they lie, and registers of the right
//!   one, `Qᵀ` and `gradᵀ` (packed in panels), `dSᵀ`, `grad` and `Q` as they lie. Nothing is transposed but Q and grad,
//!   once a tile, in registers.
//! - The first three products run a panel of rows at a time. The last two run over the depth of all rows of a tile, so
//!   that sums of dK and dV are read and written once for many rows; with a causal order from the first row on that
//!   sees the keys.
//! - Segments are problems of their own: what lies beside one in a packed sequence is never touched.
//! - Where there are too few (sequence, head, segment) for the threads, two kinds of blocks take their place
//!   (blocks.rs): some queries against all keys for dq, all queries against some keys for dk and dv. Scores are
//!   computed twice then. Tiles are the same and sums have the same order, so that **results do not depend on the
//!   number of threads**, bit for bit, and no two threads write one row.
//!
//! A soft cap multiplies dS by `1 - tanh²`. A query that sees no key has gradients of 0. NaN and infinities propagate
//! as in the formulas; where a tile is computed although a query does not see a key of it, an infinite or NaN value,
//! key or gradient is multiplied by 0 and may show.
//!
//! # Error
//!
//! Arithmetic is f32 whatever the element types. Weights are off by `2⁻²⁴` of the score and of the lse in front of the
//! exponential, gradients by rounding of their sums, tile by tile.

mod blocks;
mod buffers;
mod operands;
mod packing;
mod product;
mod unit;
mod weights;

use super::AttentionOptions;
use super::problem::Problem;
use super::tiles::Tiles;
use crate::Launch;
use crate::probe::{self, Probe};
use crate::rope::Heads;
use crate::rows::{AnySource, Source};
use blocks::Plan;
use core::sync::atomic::{AtomicUsize, Ordering};
use operands::{GradTarget, Operand};
use unit::BackwardUnit;

pub use operands::GradHeads;

/// What the forward gave, and the gradient of its result.
#[derive(Debug, Clone, Copy)]
pub struct AttentionResult<'a> {
    /// `[batch, heads, queries, dv]`.
    pub out: Heads<'a>,
    /// `ln Σ e^score`, contiguous `[batch, heads, queries]`; -∞ where a query sees nothing.
    pub lse: &'a [f32],
    /// Gradient of `out`.
    pub grad: Heads<'a>,
}

/// Gradients of [`attention`](super::attention) by `q`, `k` and `v`: with `p = exp(score - lse)` and
/// `δ = Σ grad ⊙ out`
///
/// ```text
/// dv = pᵀ·grad,  ds = p ⊙ (grad·vᵀ - δ),  dq = scale · ds·k,  dk = scale · dsᵀ·q
/// ```
///
/// Those of keys and values are sums over the query heads of their group. Shapes and `options` are those of the
/// forward, whose result is `result`; of `options`, `split_keys` and `by_position` say nothing here, and no tiles are
/// [`Tiles::detect_backward`]. Element types are free. Arithmetic is f32.
///
/// # Panics
/// If shapes or lengths do not fit.
pub fn attention_backward(
    launch: Launch,
    [q, k, v]: [Heads<'_>; 3],
    options: &AttentionOptions<'_>,
    result: AttentionResult<'_>,
    grads: [GradHeads<'_>; 3],
) {
    let tiles = options.tiles.unwrap_or_else(|| Tiles::detect_backward(q.head_dim, v.head_dim));
    let options = AttentionOptions { tiles: Some(tiles), ..*options };
    let elements = q.batch * q.heads * q.length * v.head_dim;
    let problem = Problem::new([&q, &k, &v], &options, elements, Some(result.lse.len()));
    for view in [&result.out, &result.grad] {
        view.check();
        let shape = [view.batch, view.heads, view.length, view.head_dim];
        assert_eq!(shape, [q.batch, q.heads, q.length, v.head_dim], "the result and its gradient have one shape");
    }
    let operand = |heads: Heads<'_>| Operand { data: AnySource::new(heads.data), strides: heads.strides };
    let [dq, dk, dv] = grads;
    let targets = [GradTarget::new(dq, &q), GradTarget::new(dk, &k), GradTarget::new(dv, &v)];
    let plan = Plan::choose(launch, &problem);
    let launch = launch.limit(plan.threads);
    probe::report_size(Probe::AttentionRows, plan.cut.rows());
    probe::report_size(Probe::AttentionKeys, tiles.keys);
    let items = plan.items();
    let unit = |item: usize| {
        let (block, head) = (item / plan.heads(), item % plan.heads());
        BackwardUnit {
            problem: &problem,
            q: operand(q),
            k: operand(k),
            v: operand(v),
            out: operand(result.out),
            grad: operand(result.grad),
            lse: Source::new(result.lse),
            targets,
            block: &plan.blocks[block],
            cut: plan.cut,
            scale: options.scale,
            batch: head / problem.kv_heads,
            kv_head: head % problem.kv_heads,
        }
    };
    let next = AtomicUsize::new(0);
    // One part a thread: each takes the next block that nobody has, as they differ in work.
    launch.split(launch.threads, 1, |part| {
        for _ in part {
            loop {
                let item = next.fetch_add(1, Ordering::Relaxed);
                if item >= items {
                    break;
                }
                launch.tier.run(unit(item));
            }
        }
    });
}
