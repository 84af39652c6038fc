//! Attention with head norms, rotation and cache as one call of the engine.

use super::conversion::{Lift, Lower, lift};
use crate::engine::{Primitives, RotaryOperands};
use crate::fused_group::FusedGroup;
use crate::{Engine, Kiln};
use burn_kiln_fusion::{AttentionOptions, CacheRoom, FusedOps, KernelConfig, KvCache, RotaryInputs, compose};
use burn_tensor::Tensor;

/// The engine's kernel where it takes the operands, else the composition.
pub(super) fn attention_rotary<B: Engine>(
    inputs: RotaryInputs<'_, Kiln<B>>,
    options: &AttentionOptions<Kiln<B>>,
    mut caches: Vec<&mut KvCache<Kiln<B>>>,
    config: &KernelConfig,
) -> Tensor<Kiln<B>, 3> {
    let fuses = FusedGroup::AttentionRotary.is_on(&config.fusion);
    // Without positions there is nothing to run, and a cache may have no buffers yet.
    let runs = fuses && !inputs.lengths.is_empty() && !inputs.lengths.contains(&0);
    match if runs { try_fused(&inputs, options, &mut caches, config) } else { None } {
        Some(output) => output,
        None => {
            Kiln::<B>::scope(config, || compose::attention_rotary::attention_rotary(inputs, options, caches, config))
        }
    }
}

fn try_fused<B: Engine>(
    inputs: &RotaryInputs<'_, Kiln<B>>,
    options: &AttentionOptions<Kiln<B>>,
    caches: &mut [&mut KvCache<Kiln<B>>],
    config: &KernelConfig,
) -> Option<Tensor<Kiln<B>, 3>> {
    let &RotaryInputs { head_dim, lengths, .. } = inputs;
    let (device, [batch, _, width]) = (inputs.q.device(), inputs.k.dims());
    assert!(caches.is_empty() || caches.len() == lengths.len(), "one cache for each sequence");
    for (cache, &added) in caches.iter().zip(lengths) {
        // Left to the composition, whose panic names the sizes. Here, before any cache is written.
        if cache.len() + added > cache.capacity() {
            return None;
        }
    }
    let kv_heads = width.checked_div(head_dim)?;
    let rotary = inputs.rotary.clone().convert::<Lower<B>>();
    let operands = RotaryOperands {
        inputs: inputs.clone().convert::<Lower<B>>(&rotary),
        options: options.clone().convert::<Lower<B>>(),
    };
    let lent = caches.iter_mut().zip(lengths).map(|(cache, &added)| {
        let room = cache.lend([batch, kv_heads, added, head_dim], &device);
        room.unwrap_or_else(|full| panic!("attention: {full}")).convert::<Lower<B>>()
    });
    let mut rooms: Vec<CacheRoom<Primitives<B>>> = lent.collect();
    let output = B::try_attention_rotary(&operands, &mut rooms, config);
    for ((cache, room), &added) in caches.iter_mut().zip(rooms).zip(lengths) {
        cache.restore(room.convert::<Lift<B>>(), if output.is_some() { added } else { 0 });
    }
    output.map(lift)
}
