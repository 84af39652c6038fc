//! Attention with head norms, rotation and cache as one call of the engine.

use super::attention::describe;
use super::{lift, lower};
use crate::engine::{CacheBuffers, RotaryOperands};
use crate::{Engine, Kiln};
use burn_kiln_fusion::{AttentionOptions, CacheRoom, KernelConfig, KvCache, RotaryInputs, compose};
use burn_tensor::Tensor;

/// The engine's kernel where it takes the operands, else the composition.
pub(super) fn attention_rotary<B: Engine>(
    inputs: RotaryInputs<'_, Kiln<B>>,
    options: &AttentionOptions<Kiln<B>>,
    mut caches: Vec<&mut KvCache<Kiln<B>>>,
    config: &KernelConfig,
) -> Tensor<Kiln<B>, 3> {
    let fusion = &config.fusion;
    // Without positions there is nothing to run, and a cache may have no buffers yet.
    let runs = fusion.attention && fusion.qk_norm_rope && !inputs.lengths.is_empty() && !inputs.lengths.contains(&0);
    match if runs { try_fused(&inputs, options, &mut caches, config) } else { None } {
        Some(output) => output,
        None => compose::attention_rotary::attention_rotary(inputs, options, caches, config),
    }
}

fn try_fused<B: Engine>(
    inputs: &RotaryInputs<'_, Kiln<B>>,
    options: &AttentionOptions<Kiln<B>>,
    caches: &mut [&mut KvCache<Kiln<B>>],
    config: &KernelConfig,
) -> Option<Tensor<Kiln<B>, 3>> {
    let RotaryInputs { q, k, v, head_dim, norms, rotary, lengths } = inputs;
    let device = q.device();
    assert!(caches.is_empty() || caches.len() == lengths.len(), "one cache for each sequence");
    for (cache, &added) in caches.iter().zip(*lengths) {
        // Left to the composition, whose panic names the sizes. Here, before any cache is written.
        if cache.len() + added > cache.capacity() {
            return None;
        }
    }
    let kv_heads = k.dims()[2].checked_div(*head_dim)?;
    let operands = RotaryOperands {
        query: lower(q.clone()),
        key: lower(k.clone()),
        value: lower(v.clone()),
        head_dim: *head_dim,
        norms: norms.clone().map(|norms| ([norms.q_gamma, norms.k_gamma].map(lower), norms.epsilon)),
        angles: [rotary.cos.clone(), rotary.sin.clone()].map(lower),
        mask: options.mask.clone().map(Tensor::into_primitive),
        bias: options.bias.clone().map(lower),
        lengths: lengths.to_vec(),
    };
    let batch = q.dims()[0];
    let lent = caches.iter_mut().zip(*lengths).map(|(cache, &added)| {
        let CacheRoom { keys, values, start } =
            cache.lend([batch, kv_heads, added, *head_dim], &device).unwrap_or_else(|full| panic!("attention: {full}"));
        CacheBuffers { keys: lower(keys), values: lower(values), start }
    });
    let mut buffers: Vec<CacheBuffers<B>> = lent.collect();
    let output = B::try_attention_rotary(&operands, &mut buffers, &describe(options, false), config);
    for ((cache, buffers), &added) in caches.iter_mut().zip(buffers).zip(*lengths) {
        let CacheBuffers { keys, values, start } = buffers;
        let written = if output.is_some() { added } else { 0 };
        cache.restore(CacheRoom { keys: lift(keys), values: lift(values), start }, written);
    }
    output.map(lift)
}
