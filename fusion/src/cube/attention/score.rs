//! What is done to a score before it is a weight, and which keys a query sees.

use super::sizes::Sizes;
use cubecl::prelude::*;

/// Distances in a tensor that is broadcast to `[batch, heads, queries, keys]`, in elements.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub(super) struct ScoreStrides {
    pub batch: usize,
    pub head: usize,
    pub query: usize,
    pub key: usize,
}

/// Which scores there are beside `scale · q·kᵀ`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Kinds {
    /// Query `i` of `n` sees keys `0 ..= i + keys - n`.
    pub causal: bool,
    /// There is a soft cap.
    pub capped: bool,
}

/// Keys that a query may see.
#[derive(CubeType, Clone, Copy)]
pub(super) struct KeyRange {
    /// The first.
    pub begin: usize,
    /// Behind the last.
    pub end: usize,
}

/// The keys of the query's segment, up to its own where attention is causal; none for queries past the last.
#[cube]
pub(super) fn find_range(
    query: usize,
    ends: &ComptimeOption<Array<u32>>,
    sizes: &Sizes,
    #[comptime] kinds: Kinds,
) -> KeyRange {
    let mut begin = 0usize;
    let mut end = sizes.keys;
    #[comptime]
    if let ComptimeOption::Some(ends) = ends {
        // The first segment that ends behind the query.
        let mut low = 0usize;
        let mut high = sizes.segments;
        while low < high {
            let middle = (low + high) / 2;
            if ends[middle] as usize > query {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        if low > 0 {
            begin = ends[low - 1] as usize;
        }
        end = ends[low] as usize;
    }
    if comptime!(kinds.causal) {
        let seen = query + sizes.keys + 1;
        let mut last = 0usize;
        if seen > sizes.queries {
            last = seen - sizes.queries;
        }
        end = min(end, last);
    }
    if query >= sizes.queries {
        end = 0usize;
    }
    KeyRange { begin, end }
}

/// Scaled, capped, biased; the lowest f32 where the key is hidden.
#[cube]
#[allow(clippy::too_many_arguments)] // the options of attention
pub(super) fn finish_score<M: Numeric, B: Float>(
    score: f32,
    key: usize,
    range: &KeyRange,
    mask: &ComptimeOption<Array<M>>,
    bias: &ComptimeOption<Array<B>>,
    mask_at: usize,
    bias_at: usize,
    mask_key: usize,
    bias_key: usize,
    scale: f32,
    softcap: f32,
    #[comptime] kinds: Kinds,
) -> f32 {
    let mut score = score * scale;
    if comptime!(kinds.capped) {
        score = softcap * f32::tanh(score / softcap);
    }
    let mut hidden = key < range.begin || key >= range.end;
    if !hidden {
        #[comptime]
        if let ComptimeOption::Some(bias) = bias {
            score += f32::cast_from(bias[bias_at + key * bias_key]);
        }
        #[comptime]
        if let ComptimeOption::Some(mask) = mask {
            hidden = mask[mask_at + key * mask_key] != M::from_int(0);
        }
    }
    if hidden {
        score = f32::new(f32::MIN);
    }
    score
}
