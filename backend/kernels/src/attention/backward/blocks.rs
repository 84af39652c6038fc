//! How the work is shared out: blocks of queries and keys, each of them for every key head of every sequence.

use super::super::problem::Problem;
use super::super::schedule::WORK_PER_THREAD;
use super::super::tiles::MAX_ROWS;
use crate::Launch;
use core::ops::Range;

/// Products of a pair of tiles, in multiply-adds of a head's length: all gradients at once, and one pass for queries
/// and one for keys.
const PRODUCTS: [usize; 2] = [5, 7];

/// Blocks for each thread where there are two passes: they differ in work under a causal order.
const BLOCKS_PER_THREAD: usize = 4;

/// Most tiles of keys of a block that is for keys alone: queries are packed for each block again.
const MOST_TILES: usize = 8;

/// Gradients that a block computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All: nobody else has its queries and keys.
    All,
    /// Of queries, against all keys.
    Queries,
    /// Of keys and values, against all queries.
    Keys,
}

impl Wanted {
    pub(super) fn queries(self) -> bool {
        self != Self::Keys
    }

    pub(super) fn keys(self) -> bool {
        self != Self::Queries
    }
}

/// Queries against keys. Tiles begin with them.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) queries: Range<usize>,
    pub(super) keys: Range<usize>,
    pub(super) wanted: Wanted,
}

/// Sizes of tiles of rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowCut {
    /// Query heads of a tile, at most those of a group.
    pub(super) heads: usize,
    /// Queries of a tile.
    pub(super) queries: usize,
}

impl RowCut {
    /// All heads of a group first, then as many queries as fit.
    fn choose(problem: &Problem<'_>) -> Self {
        let rows = problem.tiles.rows.clamp(1, MAX_ROWS);
        let heads = problem.group.div_ceil(problem.group.div_ceil(rows));
        Self { heads, queries: rows / heads }
    }

    /// Rows of a tile.
    pub(super) fn rows(self) -> usize {
        self.heads * self.queries
    }
}

/// What is run.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) blocks: Vec<Block>,
    pub(super) cut: RowCut,
    pub(super) threads: usize,
    heads: usize,
}

impl Plan {
    /// One pass where its blocks keep the threads busy, else two. The longest blocks come first.
    pub(super) fn choose(launch: Launch, problem: &Problem<'_>) -> Self {
        let heads = problem.batch * problem.kv_heads;
        let cut = RowCut::choose(problem);
        let one: Vec<Block> = problem
            .segments()
            .into_iter()
            .map(|[queries, keys]| Block { queries, keys, wanted: Wanted::All })
            .collect();
        let work = |block: &Block| problem.pairs(&block.queries, &block.keys);
        let each: Vec<usize> = one.iter().map(work).collect();
        let (all, longest) = (each.iter().sum::<usize>() * heads, each.iter().max().copied().unwrap_or(0));
        let launch = launch.limit(all * problem.group * (3 * problem.d + 2 * problem.dv) / WORK_PER_THREAD);
        let count = (one.len() * heads).max(1);
        // The last round of equal blocks may leave threads idle, and a long block all but one.
        let busy = longest.max(count.div_ceil(launch.threads) * all / count);
        let blocks = if PRODUCTS[0] * busy <= PRODUCTS[1] * all / launch.threads {
            one
        } else {
            Self::two_passes(launch, problem, cut, &one)
        };
        let mut order: Vec<(usize, Block)> = blocks.into_iter().map(|block| (work(&block), block)).collect();
        order.sort_by_key(|(work, _)| core::cmp::Reverse(*work));
        let blocks: Vec<Block> = order.into_iter().map(|(_, block)| block).collect();
        Self { threads: launch.threads.min(blocks.len() * heads).max(1), blocks, cut, heads }
    }

    fn two_passes(launch: Launch, problem: &Problem<'_>, cut: RowCut, one: &[Block]) -> Vec<Block> {
        let size = problem.tiles.keys;
        let tiles: usize = one.iter().map(|block| block.keys.len().div_ceil(size)).sum();
        let heads = problem.batch * problem.kv_heads;
        let tiles = (tiles * heads / (BLOCKS_PER_THREAD * launch.threads)).clamp(1, MOST_TILES);
        let mut blocks = Vec::new();
        for Block { queries, keys, .. } in one {
            for (part, wanted) in [(cut.queries, Wanted::Queries), (tiles * size, Wanted::Keys)] {
                let whole = if wanted.queries() { queries } else { keys };
                for begin in whole.clone().step_by(part) {
                    let part = begin..(begin + part).min(whole.end);
                    blocks.push(match wanted.queries() {
                        true => Block { queries: part, keys: keys.clone(), wanted },
                        false => Block { queries: queries.clone(), keys: part, wanted },
                    });
                }
            }
        }
        blocks
    }

    /// Key heads of all sequences.
    pub(super) fn heads(&self) -> usize {
        self.heads
    }

    /// Blocks of all heads.
    pub(super) fn items(&self) -> usize {
        self.blocks.len() * self.heads
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{AttentionOptions, Tiles};
    use super::*;
    use crate::Floats;
    use crate::rope::Heads;
    use crate::simd::Tier;

    /// What is run for one sequence of `kv_heads` key heads, two query heads each.
    fn plan(threads: usize, kv_heads: usize, length: usize, options: &AttentionOptions<'_>) -> Plan {
        let data = vec![0.0f32; 2 * kv_heads * length * 16];
        let view = |heads| Heads::contiguous(Floats::F32(&data), [1, heads, length, 16]);
        let (q, k) = (view(2 * kv_heads), view(kv_heads));
        let options = AttentionOptions { tiles: Some(Tiles { rows: 96, keys: 64 }), ..*options };
        let problem = Problem::new([&q, &k, &k], &options, q.count(), None);
        Plan::choose(Launch { threads, ..Launch::single(Tier::Portable) }, &problem)
    }

    fn wanted(plan: &Plan) -> Vec<Wanted> {
        let mut all: Vec<Wanted> = plan.blocks.iter().map(|block| block.wanted).collect();
        all.dedup();
        all
    }

    #[test]
    fn enough_heads_are_one_pass() {
        let options = AttentionOptions::new(1.0);
        for (threads, kv_heads) in [(1, 1), (1, 3), (2, 2), (2, 8), (4, 8), (8, 8)] {
            let plan = plan(threads, kv_heads, 600, &options);
            assert_eq!(
                (plan.blocks.len(), wanted(&plan)),
                (1, vec![Wanted::All]),
                "{threads} threads, {kv_heads} heads"
            );
            assert_eq!(plan.threads, threads);
        }
    }

    /// Every pair of a query and a key is in one block for queries and in one for keys.
    #[test]
    fn few_heads_are_two_passes_that_cover_all_pairs() {
        let ends = [250, 600];
        for (threads, kv_heads, segments) in [(2, 1, None), (8, 3, None), (16, 2, Some(&ends[..]))] {
            let options = AttentionOptions { causal: true, segments, ..AttentionOptions::new(1.0) };
            let plan = plan(threads, kv_heads, 600, &options);
            for pass in [Wanted::Queries, Wanted::Keys] {
                let mut seen = vec![0u8; 600 * 600];
                for block in plan.blocks.iter().filter(|block| block.wanted == pass) {
                    for query in block.queries.clone() {
                        block.keys.clone().for_each(|key| seen[query * 600 + key] += 1);
                    }
                }
                for (at, &seen) in seen.iter().enumerate() {
                    let apart = segments.is_some() && (at / 600 < 250) != (at % 600 < 250);
                    assert_eq!(seen, u8::from(!apart), "query {}, key {}, {pass:?}", at / 600, at % 600);
                }
            }
            assert!(plan.items() >= 2 * threads, "{} blocks for {threads} threads", plan.items());
        }
    }

    #[test]
    fn long_segments_come_first() {
        let options = AttentionOptions { segments: Some(&[10, 10, 400, 500]), ..AttentionOptions::new(1.0) };
        let plan = plan(1, 2, 500, &options);
        let queries: Vec<_> = plan.blocks.iter().map(|block| block.queries.clone()).collect();
        assert_eq!(queries, [10..400, 400..500, 0..10]);
    }

    #[test]
    fn little_work_stays_in_one_thread() {
        assert_eq!(plan(8, 1, 4, &AttentionOptions::new(1.0)).threads, 1);
    }
}
