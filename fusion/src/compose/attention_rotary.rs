//! Self-attention from projections to the output projection: head norms, rotation, cache and attention.

use super::rows::reshape;
use crate::{AttentionInputs, AttentionOptions, FusedOps, KernelConfig, KvCache, QueryKey, RotaryInputs};
use burn_tensor::Tensor;
use std::iter;

/// Default of [`FusedOps::attention_rotary`].
pub fn attention_rotary<B: FusedOps>(
    inputs: RotaryInputs<'_, B>,
    options: &AttentionOptions<B>,
    caches: Vec<&mut KvCache<B>>,
    config: &KernelConfig,
) -> Tensor<B, 3> {
    let RotaryInputs { q, k, v, head_dim, norms, rotary, lengths } = inputs;
    assert!(caches.is_empty() || caches.len() == lengths.len(), "one cache for each sequence");
    let [batch, length, width] = q.dims();
    // [batch, length, heads · head_dim] -> [batch, heads, length, head_dim]
    let split = |rows: Tensor<B, 3>| {
        let heads = rows.dims()[2] / head_dim;
        reshape(rows, [batch, length, heads, head_dim]).swap_dims(1, 2)
    };
    let (q, k, v) = (split(q), split(k), split(v));
    let QueryKey { q, k } = match norms {
        Some(norms) => B::qk_norm_rope(QueryKey { q, k }, norms, rotary, config),
        None => QueryKey { q: B::rope(q, rotary, config), k: B::rope(k, rotary, config) },
    };
    // One attention of segments, where each sequence sees itself alone: no operand is cut, and no gradient put
    // together.
    let packs = caches.is_empty() && options.mask.is_none() && options.bias.is_none() && options.segments.is_none();
    let mut caches = caches.into_iter().map(Some).chain(iter::repeat_with(|| None));
    let attend = |inputs, cache| <B as FusedOps>::attention(inputs, options, cache, config);
    let inputs = AttentionInputs { q, k, v };
    let mixed = match lengths {
        [_] => attend(inputs, caches.next().flatten()),
        _ if packs => {
            let ends = lengths.iter().scan(0, |end, length| {
                *end += length;
                Some(*end)
            });
            let options = AttentionOptions { segments: Some(ends.collect()), ..options.clone() };
            <B as FusedOps>::attention(inputs, &options, None, config)
        }
        _ => {
            let mut start = 0;
            let sequences = lengths.iter().zip(caches).map(|(&length, cache)| {
                let take = |rows: &Tensor<B, 4>| rows.clone().narrow(2, start, length);
                let sequence = AttentionInputs { q: take(&inputs.q), k: take(&inputs.k), v: take(&inputs.v) };
                start += length;
                attend(sequence, cache)
            });
            Tensor::cat(sequences.collect(), 2)
        }
    };
    // [batch, heads, length, head_dim] -> [batch, length, heads · head_dim]
    reshape(mixed.swap_dims(1, 2), [batch, length, width])
}
