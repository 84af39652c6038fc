//! Bytes of one layer: what it keeps, and what it takes while it runs.
//!
//! Floats a row of a decoder layer of width `h`, queries `q = heads · head_dim`, keys `k = kv_heads · head_dim`, MLP
//! `i`:
//!
//! | kept | by |
//! | --- | --- |
//! | `h`, input | the norm |
//! | `h`, normed input | q, k and v projections |
//! | `q + k` | head norms and rotation |
//! | `q + 2k`, rotated heads and values | attention |
//! | `2q + heads`, its output, once more where samples are joined, and log-sum-exps | attention |
//! | `q`, its output by rows | output projection |
//! | `2h`, the sum and its norm | residual addition, MLP |
//! | `2i`, both products | MLP |
//!
//! With adapters in the MLP, activation and product are kept too, `2i`; an adapter with dropout keeps its mask, what
//! that leaves, and the product with `A`. Of a mixture of experts that trains, the MLP
//! keeps its input alone; where only what is below it trains, its products are recorded for each expert of a token.
//!
//! Of a block of the tower of width `h`, MLP `i`: `10h + i + heads` (input, queries, keys and values twice, attention's
//! output twice, the sum, its norm), and one `i` more with adapters.

use super::model::{LayerSizes, ModelSizes};
use super::{BatchSize, PlanRequest};

/// Bytes of an f32.
const F32: u64 = 4;

/// Scores of attention that exist at one time, elements, in the compositions.
const MAX_SCORES: u64 = 1 << 24;

/// Arrays of scores that attention's backward has at one time: scores, probabilities, their gradient, the mask and
/// temporaries of each.
const SCORE_ARRAYS: u64 = 6;

/// Arrays of an MLP's inner width that its backward has at one time beside what is kept.
const MLP_ARRAYS: u64 = 7;

/// Arrays of the stream's width that a layer's backward has at one time.
const STREAM_ARRAYS: u64 = 8;

/// Arrays of logits that the loss has at one time: logits, exponentials, probabilities, their gradient.
const LOGIT_ARRAYS: u64 = 4;

/// Arrays as large as a parameter that its update has at one time: the gradient in f32, both moments' new values, the
/// update and its divisor.
const UPDATE_ARRAYS: u64 = 5;

/// What a layer takes, bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct LayerCost {
    /// Its input.
    pub input: u64,
    /// Its tape, input included.
    pub tape: u64,
    /// While it runs without a tape.
    pub plain: u64,
    /// Temporaries of its backward.
    pub backward: u64,
}

impl LayerCost {
    /// Decoder layer `layer`.
    pub fn text(sizes: &ModelSizes, layer: &LayerSizes, request: &PlanRequest) -> Self {
        let (config, BatchSize { tokens, longest, .. }) = (&sizes.text, request.batch);
        let [h, q, k, i, heads] =
            [config.hidden_size, config.q_dim(), config.kv_dim(), config.intermediate_size, config.num_attention_heads]
                .map(|size| size as u64);
        let (rows, longest) = (tokens as u64, longest as u64);
        let scores = SCORE_ARRAYS * (heads * longest * longest).min(MAX_SCORES.max(heads * longest));
        let attention = 2 * h + 5 * q + 3 * k + heads + 1;
        let adapters = layer.parameters.adapters > 0;
        let (kept, inner) = match &config.moe {
            Some(moe) if layer.sparse => {
                let slots = moe.num_experts_per_tok as u64;
                let products = slots * (2 * h + 6 * moe.moe_intermediate_size as u64);
                let kept = if layer.frozen_experts > 0 { h + products } else { h };
                (kept, slots * 2 * moe.moe_intermediate_size as u64 + products)
            }
            _ => (if adapters { 4 * i } else { 2 * i }, i),
        };
        let tape = rows * (attention + 2 * h + kept + layer.dropped + 1) + layer.frozen_experts;
        let backward = (rows * (MLP_ARRAYS * inner + STREAM_ARRAYS * h)).max(scores + rows * STREAM_ARRAYS * (q + h));
        Self {
            input: F32 * rows * h,
            tape: F32 * tape,
            plain: F32 * (rows * (2 * h + 2 * q + 2 * k + 2 * inner) + scores / 2),
            backward: F32 * backward + extra_gradients(layer, request),
        }
    }

    /// Block `layer` of the tower.
    pub fn vision(sizes: &ModelSizes, layer: &LayerSizes, request: &PlanRequest) -> Self {
        let (config, BatchSize { patches, frame, .. }) = (&sizes.vision, request.batch);
        let [h, i, heads] = [config.hidden_size, config.intermediate_size, config.num_heads].map(|size| size as u64);
        let (rows, frame) = (patches as u64, frame as u64);
        let scores = SCORE_ARRAYS * (heads * frame * frame).min(MAX_SCORES.max(heads * frame));
        let kept = if layer.parameters.adapters > 0 { 2 * i } else { i };
        let backward = (rows * (MLP_ARRAYS * i + STREAM_ARRAYS * h)).max(scores + rows * 2 * STREAM_ARRAYS * h);
        Self {
            input: F32 * rows * h,
            tape: F32 * rows * (10 * h + kept + layer.dropped + heads + 2),
            plain: F32 * (rows * (6 * h + 2 * i) + scores / 2),
            backward: F32 * backward + extra_gradients(layer, request),
        }
    }

    /// All mergers together: each keeps rows as large as those that it gets, twice, and its output. What their blocks
    /// keep decides; the plan counts all of them as kept.
    pub fn mergers(sizes: &ModelSizes, request: &PlanRequest) -> Self {
        let (config, rows) = (&sizes.vision, request.batch.patches as u64);
        let (h, out) = (config.hidden_size as u64, config.out_hidden_size as u64);
        let merge = (config.spatial_merge_size * config.spatial_merge_size) as u64;
        let mergers = 1 + config.deepstack_visual_indexes.len() as u64;
        let row = 2 * h + out / merge.max(1);
        Self {
            input: 0,
            tape: F32 * rows * row * mergers,
            plain: F32 * rows * row,
            backward: F32 * rows * (5 * h + 2 * out / merge.max(1)),
        }
    }
}

/// Gradients of a layer before they are added to those of earlier batches, and in f32 before they are rounded.
fn extra_gradients(layer: &LayerSizes, request: &PlanRequest) -> u64 {
    let trained = &layer.parameters;
    let fresh = if request.accumulates { trained.trained } else { 0 };
    // Stacks of experts are written one expert at a time, which copies a stack that is shared.
    let stacks = if layer.sparse { F32 * trained.elements } else { 0 };
    // A weight in fewer bits is converted for the product with the gradient.
    fresh + stacks + F32 * (trained.rounded + trained.narrow)
}

/// Bytes of the loss: rows, logits of a chunk and, where the head trains, its gradient by chunks.
pub(super) fn loss(sizes: &ModelSizes, request: &PlanRequest, chunk: usize) -> u64 {
    let targets = request.batch.targets as u64;
    let chunk = (chunk as u64).min(targets);
    let vocab = sizes.text.vocab_size as u64;
    let rows = 4 * targets * sizes.text.hidden_size as u64;
    let (head, head_trains) = sizes.head;
    // The sum so far and a chunk's; of one chunk, that is the gradient itself.
    let tables = match (head_trains, chunk < targets) {
        (false, _) => 0,
        (true, false) => u64::from(request.accumulates),
        (true, true) => 2,
    };
    // Its gradient before it is rounded, and the head converted to f32 for the product with the gradient.
    let rounded = if head_trains && sizes.all.rounded > 0 { head } else { 0 };
    let converted = if sizes.all.narrow > 0 { head } else { 0 };
    F32 * (rows + LOGIT_ARRAYS * chunk * vocab + tables * head + rounded + converted)
}

/// Bytes of gradients of all parameters.
pub(super) fn gradients(sizes: &ModelSizes, request: &PlanRequest) -> u64 {
    let all = &sizes.all;
    if request.accumulates {
        return F32 * all.elements;
    }
    // The table's is f32.
    let (table, table_trains) = sizes.table;
    let widened = if table_trains && all.rounded > 0 { 2 * table } else { 0 };
    all.trained + widened
}

/// Bytes of the optimiser's moments, and of f32 copies.
pub(super) fn moments(sizes: &ModelSizes) -> [u64; 2] {
    [2 * F32 * sizes.all.elements, F32 * sizes.all.rounded]
}

/// Bytes of the largest parameter's update beside parameter, gradient and moments.
pub(super) fn update(sizes: &ModelSizes) -> u64 {
    UPDATE_ARRAYS * F32 * sizes.all.largest
}
