//! What is to be computed: shapes, options, and which keys a query sees.

use super::schedule::{AttentionSizes, Cut};
use super::tiles::Tiles;
use crate::Floats;
use crate::rope::Heads;
use crate::rows::Source;
use core::f32::consts::LOG2_E;
use core::ops::Range;

/// Numbers for each score, a strided view `[batch, heads, queries, keys]`.
#[derive(Debug, Clone, Copy)]
pub struct Scores<'a, T> {
    /// The elements; the view begins at the first one.
    pub data: &'a [T],
    /// From one sequence, head, query and key to the next, in elements. 0 repeats.
    pub strides: [usize; 4],
}

/// How scores are made and which are hidden.
#[derive(Debug, Clone, Copy)]
pub struct AttentionOptions<'a> {
    /// Factor of the products; usually `1/√d`.
    pub scale: f32,
    /// Query `i` of `n`, against `m` keys, sees keys `0 ..= i + m - n`.
    pub causal: bool,
    /// Soft limit of the scaled products: `softcap · tanh(score / softcap)`.
    pub softcap: Option<f32>,
    /// 1 (or anything but 0) where a key is hidden.
    pub mask: Option<Scores<'a, u8>>,
    /// Added to the scores after the softcap.
    pub bias: Option<Scores<'a, f32>>,
    /// Ends of the segments of a packed sequence, ascending, the last one its length; a query sees the keys of its own
    /// segment only. Queries and keys are the same sequence then.
    pub segments: Option<&'a [usize]>,
    /// Whether threads without a unit may take part of another's keys. The order of sums, and so the last digits, then
    /// depend on the number of threads.
    pub split_keys: bool,
    /// Tile sizes; none is [`Tiles::detect`].
    pub tiles: Option<Tiles>,
    /// The result is `[batch, queries, heads, dv]`, as an output projection takes it, and not
    /// `[batch, heads, queries, dv]`.
    pub by_position: bool,
}

impl AttentionOptions<'_> {
    /// Nothing hidden, nothing added, keys split where threads are idle.
    pub fn new(scale: f32) -> Self {
        Self {
            scale,
            causal: false,
            softcap: None,
            mask: None,
            bias: None,
            segments: None,
            split_keys: true,
            tiles: None,
            by_position: false,
        }
    }
}

/// [`Scores`] whose bounds were checked.
#[derive(Debug)]
pub(super) struct CheckedScores<T> {
    data: Source<T>,
    strides: [usize; 4],
}

impl<T> CheckedScores<T> {
    fn new(scores: Scores<'_, T>, shape: [usize; 4]) -> Self {
        if shape.iter().all(|&n| n > 0) {
            let last: usize = shape.iter().zip(scores.strides).map(|(n, stride)| (n - 1) * stride).sum();
            assert!(
                last < scores.data.len(),
                "scores {shape:?} of strides {:?} in {}",
                scores.strides,
                scores.data.len()
            );
        }
        Self { data: Source::new(scores.data), strides: scores.strides }
    }

    /// The address of the first of `keys` for a query of a head, and the distance between keys; checked.
    #[inline(always)]
    pub(super) fn row(&self, batch: usize, head: usize, query: usize, keys: &Range<usize>) -> (*const T, usize) {
        let [b, h, q, k] = self.strides;
        let at = batch * b + head * h + query * q + keys.start * k;
        let extent = if keys.is_empty() { 0 } else { (keys.len() - 1) * k + 1 };
        (self.data.part(&(at..at + extent)), k)
    }
}

/// A checked problem.
#[derive(Debug)]
pub(super) struct Problem<'a> {
    pub(super) batch: usize,
    pub(super) heads: usize,
    pub(super) kv_heads: usize,
    /// Query heads of a key head.
    pub(super) group: usize,
    pub(super) queries: usize,
    pub(super) keys: usize,
    pub(super) d: usize,
    pub(super) dv: usize,
    pub(super) q_strides: [usize; 3],
    pub(super) k_strides: [usize; 3],
    pub(super) v_strides: [usize; 3],
    /// Includes the division by the softcap.
    pub(super) scale: f32,
    pub(super) softcap: Option<f32>,
    pub(super) mask: Option<CheckedScores<u8>>,
    pub(super) bias: Option<CheckedScores<f32>>,
    pub(super) split_keys: bool,
    pub(super) tiles: Tiles,
    pub(super) by_position: bool,
    /// Whether queries, keys and values all are.
    bf16: bool,
    causal: bool,
    segments: Option<&'a [usize]>,
}

impl<'a> Problem<'a> {
    /// # Panics
    /// If anything does not fit.
    pub(super) fn new(
        [q, k, v]: [&Heads<'_>; 3],
        options: &AttentionOptions<'a>,
        out: usize,
        lse: Option<usize>,
    ) -> Self {
        for view in [q, k, v] {
            view.check();
        }
        let (heads, kv_heads) = (q.heads, k.heads);
        assert_eq!([k.batch, v.batch], [q.batch; 2], "sequences of queries, keys and values");
        assert_eq!((kv_heads, k.length), (v.heads, v.length), "heads and positions of keys and values");
        assert!(kv_heads > 0 && heads.is_multiple_of(kv_heads), "{heads} query heads of {kv_heads} key heads");
        assert!(
            q.head_dim > 0 && q.head_dim == k.head_dim,
            "head_dim {} of queries, {} of keys",
            q.head_dim,
            k.head_dim
        );
        assert_eq!(q.batch * heads * q.length * v.head_dim, out, "elements of the result");
        assert!(lse.is_none_or(|lse| lse == q.batch * heads * q.length), "one lse a head and query");
        let shape = [q.batch, heads, q.length, k.length];
        if let Some(segments) = options.segments {
            assert_eq!(q.length, k.length, "segments are of one sequence");
            assert!(segments.is_sorted(), "ends of segments ascend: {segments:?}");
            assert_eq!(segments.last().copied().unwrap_or(0), k.length, "segments end where the sequence does");
        }
        Self {
            batch: q.batch,
            heads,
            kv_heads,
            group: heads / kv_heads,
            queries: q.length,
            keys: k.length,
            d: q.head_dim,
            dv: v.head_dim,
            q_strides: q.strides,
            k_strides: k.strides,
            v_strides: v.strides,
            scale: options.softcap.map_or(options.scale, |cap| options.scale / cap),
            softcap: options.softcap,
            mask: options.mask.map(|mask| CheckedScores::new(mask, shape)),
            bias: options.bias.map(|bias| CheckedScores::new(bias, shape)),
            split_keys: options.split_keys,
            tiles: options.tiles.map_or_else(|| Tiles::detect(q.head_dim, v.head_dim), Tiles::checked),
            by_position: options.by_position,
            bf16: [q, k, v].iter().all(|view| matches!(view.data, Floats::Bf16(_))),
            causal: options.causal,
            segments: options.segments,
        }
    }

    /// The keys that causal order and segments leave to a query.
    pub(super) fn visible(&self, query: usize) -> Range<usize> {
        let (mut begin, mut end) = (0, self.keys);
        if let Some(segments) = self.segments {
            let segment = segments.partition_point(|&e| e <= query);
            begin = if segment == 0 { 0 } else { segments[segment - 1] };
            end = segments[segment];
        }
        if self.causal {
            end = end.min((query + 1 + self.keys).saturating_sub(self.queries));
        }
        begin..end.max(begin)
    }

    /// Queries and keys that see each other as far as segments decide.
    pub(super) fn segments(&self) -> Vec<[Range<usize>; 2]> {
        let Some(ends) = self.segments else {
            return vec![[0..self.queries, 0..self.keys]];
        };
        let begins = core::iter::once(0).chain(ends.iter().copied());
        begins.zip(ends).filter(|&(begin, &end)| begin < end).map(|(begin, &end)| [begin..end, begin..end]).collect()
    }

    /// Pairs of a query and a key that see each other, as causal order and segments decide.
    pub(super) fn pairs(&self, queries: &Range<usize>, keys: &Range<usize>) -> usize {
        let seen = |query: usize| {
            let visible = self.visible(query);
            visible.end.min(keys.end).saturating_sub(visible.start.max(keys.start))
        };
        if self.causal { queries.clone().map(seen).sum() } else { queries.len() * keys.len() }
    }

    /// Whether scores are more than products times a positive scale: a soft cap, a bias, or a scale that reverses their
    /// order.
    #[inline(always)]
    pub(super) fn is_special(&self) -> bool {
        self.softcap.is_some()
            || self.bias.is_some()
            || self.scale.is_nan()
            || self.scale <= 0.0
            || self.scale.is_infinite()
    }

    /// Whether only causal order and segments hide keys of scores that are not special.
    #[inline(always)]
    pub(super) fn is_plain(&self) -> bool {
        !self.is_special() && self.mask.is_none()
    }

    /// What makes products exponents of 2; of special scores what makes them scores.
    #[inline(always)]
    pub(super) fn q_factor(&self) -> f32 {
        if self.is_special() { self.scale } else { self.scale * LOG2_E }
    }

    /// What decides how it runs.
    pub(super) fn sizes(&self) -> AttentionSizes {
        let &Self { batch, heads, kv_heads, queries, keys, d, dv, bf16, .. } = self;
        AttentionSizes { batch, heads, kv_heads, queries, keys, d, dv, bf16 }
    }

    /// The rows of a unit. Later queries come first: under a causal order they see more keys, and the longest work
    /// should not begin last.
    pub(super) fn span(&self, cut: Cut, unit: usize) -> UnitRows {
        let (unit, tile) = (unit / cut.query_parts, cut.query_parts - 1 - unit % cut.query_parts);
        let (unit, part) = (unit / cut.head_parts, unit % cut.head_parts);
        let (batch, kv_head) = (unit / self.kv_heads, unit % self.kv_heads);
        let first = kv_head * self.group;
        UnitRows {
            batch,
            kv_head,
            heads: first + part * cut.heads..first + ((part + 1) * cut.heads).min(self.group),
            queries: tile * cut.queries..((tile + 1) * cut.queries).min(self.queries),
        }
    }
}

/// Rows of one unit: `queries` x `heads`, in this order, so that rows beside each other see about the same keys.
#[derive(Debug, Clone)]
pub(super) struct UnitRows {
    pub(super) batch: usize,
    pub(super) kv_head: usize,
    pub(super) heads: Range<usize>,
    pub(super) queries: Range<usize>,
}

impl UnitRows {
    /// Number of rows.
    pub(super) fn rows(&self) -> usize {
        self.heads.len() * self.queries.len()
    }

    /// Head and query of a row.
    #[inline(always)]
    pub(super) fn row(&self, row: usize) -> (usize, usize) {
        (self.heads.start + row % self.heads.len(), self.queries.start + row / self.heads.len())
    }
}
