//! Which queries and keys the attention composition looks at together, and what is hidden among them.
//!
//! Whole scores of a long sequence don't fit in memory (16 heads by 32768² in f32 are 64 GiB), so queries are taken in
//! blocks. A block's keys end where its last query's view ends, and a segment never meets the keys of another one.

use crate::{AttentionInputs, AttentionOptions, Packing};
use burn_backend::Backend;
use burn_tensor::{Bool, Int, Tensor};
use std::ops::Range;

/// Most scores that exist at a time, elements: 64 MiB in f32. Smaller blocks would leave the products too few rows.
pub(super) const MAX_SCORES: usize = 1 << 24;

/// Sizes of one attention.
#[derive(Debug, Clone, Copy)]
pub(super) struct Problem {
    pub batch: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub queries: usize,
    pub keys: usize,
    pub head_dim: usize,
}

impl Problem {
    /// The sizes of `inputs`.
    ///
    /// # Panics
    /// When query heads are no multiple of key heads: they would read wrong ones.
    pub fn measure<B: Packing>(inputs: &AttentionInputs<B>) -> Self {
        let [batch, heads, queries, head_dim] = inputs.q.dims();
        let [_, kv_heads, keys, _] = inputs.k.dims();
        assert!(
            kv_heads > 0 && heads % kv_heads == 0,
            "{heads} query heads cannot share {kv_heads} key heads: the first must be a multiple of the second"
        );
        Self { batch, heads, kv_heads, queries, keys, head_dim }
    }
}

/// A range of queries and the range of keys that they may see.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub queries: Range<usize>,
    pub keys: Range<usize>,
}

/// The blocks of one attention, covering its queries in order, each of at most `max_scores` scores (or one query).
///
/// # Panics
/// When segments are given for queries and keys of different length, or don't end with them.
pub(super) fn plan<B: Packing>(problem: Problem, options: &AttentionOptions<B>, max_scores: usize) -> Vec<Block> {
    let Problem { batch, heads, queries, keys, .. } = problem;
    let mut blocks = Vec::new();
    for (rows, columns) in split_segments(problem, options) {
        let height = (max_scores / (batch * heads * columns.len()).max(1)).max(1);
        for start in rows.clone().step_by(height) {
            let end = (start + height).min(rows.end);
            // The last query, `end - 1`, sees keys up to `end - 1 + keys - queries`.
            let visible = if options.causal { (end + keys).saturating_sub(queries) } else { keys };
            let last = columns.end.min(visible).max(columns.start);
            blocks.push(Block { queries: start..end, keys: columns.start..last });
        }
    }
    blocks
}

/// Pairs of query and key ranges that see each other.
fn split_segments<B: Packing>(problem: Problem, options: &AttentionOptions<B>) -> Vec<(Range<usize>, Range<usize>)> {
    let Problem { queries, keys, .. } = problem;
    let Some(ends) = &options.segments else {
        return vec![(0..queries, 0..keys)];
    };
    assert_eq!(queries, keys, "segments need queries and keys of one sequence");
    assert_eq!(ends.last().copied().unwrap_or(0), queries, "the last segment must end with the sequence");
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let segments = starts.zip(ends.iter().copied()).filter(|(start, end)| end > start);
    segments.map(|(start, end)| (start..end, start..end)).collect()
}

/// Which scores of `block` are hidden, `[batch, heads, queries, keys]`; `None` when all are seen.
pub(super) fn hide<B: Packing>(
    problem: Problem,
    options: &AttentionOptions<B>,
    block: &Block,
    device: &B::Device,
) -> Option<Tensor<B, 4, Bool>> {
    let shape = [problem.batch, problem.heads, block.queries.len(), block.keys.len()];
    let masked = options.mask.as_ref().map(|mask| cut_block(mask.clone(), block).expand(shape));
    let shift = problem.keys as i64 - problem.queries as i64;
    let first_view = block.queries.start as i64 + shift;
    if !options.causal || first_view + 1 >= block.keys.end as i64 {
        return masked;
    }
    let last_view = block.queries.end as i64 + shift;
    let views = Tensor::<B, 1, Int>::arange(first_view..last_view, device).reshape([1, 1, shape[2], 1]);
    let columns = block.keys.start as i64..block.keys.end as i64;
    let columns = Tensor::<B, 1, Int>::arange(columns, device).reshape([1, 1, 1, shape[3]]);
    let later = columns.expand([1, 1, shape[2], shape[3]]).greater(views.expand([1, 1, shape[2], shape[3]]));
    let later = later.expand(shape);
    Some(match masked {
        Some(masked) => masked.bool_or(later),
        None => later,
    })
}

/// The part of `[batch | 1, heads | 1, queries, keys]` that belongs to `block`.
pub(super) fn cut_block<B: Backend, K: burn_tensor::BasicOps<B>>(
    whole: Tensor<B, 4, K>,
    block: &Block,
) -> Tensor<B, 4, K> {
    let [batch, heads, _, _] = whole.dims();
    whole.slice([0..batch, 0..heads, block.queries.clone(), block.keys.clone()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn_flex::Flex;
    use std::sync::Arc;

    const PROBLEM: Problem = Problem { batch: 1, heads: 2, kv_heads: 1, queries: 5, keys: 8, head_dim: 4 };

    fn list_blocks(
        problem: Problem,
        options: AttentionOptions<Flex>,
        max_scores: usize,
    ) -> Vec<(Range<usize>, Range<usize>)> {
        plan(problem, &options, max_scores).into_iter().map(|block| (block.queries, block.keys)).collect()
    }

    #[test]
    fn queries_are_taken_in_blocks_that_fit() {
        let blocks = list_blocks(PROBLEM, AttentionOptions::default(), 32);
        assert_eq!(blocks, [(0..2, 0..8), (2..4, 0..8), (4..5, 0..8)]);
    }

    #[test]
    fn a_causal_block_ends_at_its_last_view() {
        let options = AttentionOptions { causal: true, ..Default::default() };
        assert_eq!(list_blocks(PROBLEM, options, 32), [(0..2, 0..5), (2..4, 0..7), (4..5, 0..8)]);
    }

    #[test]
    fn early_queries_of_a_short_cache_see_nothing() {
        let problem = Problem { queries: 4, keys: 2, ..PROBLEM };
        let options = AttentionOptions { causal: true, ..Default::default() };
        assert_eq!(list_blocks(problem, options, 8), [(0..2, 0..0), (2..4, 0..2)]);
    }

    #[test]
    fn segments_keep_to_themselves() {
        let problem = Problem { queries: 7, keys: 7, ..PROBLEM };
        let options = AttentionOptions { segments: Some(Arc::from([3, 3, 7])), ..Default::default() };
        assert_eq!(list_blocks(problem, options, 1000), [(0..3, 0..3), (3..7, 3..7)]);
    }
}
