//! Attention of heads, alone and with a cache before it.

use super::conversion::{Lift, Lower, lift, lower};
use crate::engine::{AttentionBackwardOperands, AttentionOperands};
use crate::fused_group::FusedGroup;
use crate::{Engine, Kiln};
use burn_kiln_fusion::{
    AttentionForward, AttentionGrads, AttentionInputs, AttentionOptions, FusedOps, KernelConfig, KvCache, compose,
};
use burn_tensor::Tensor;

/// The engine's kernel where it takes the operands, else the composition.
pub(super) fn attention<B: Engine>(
    inputs: AttentionInputs<Kiln<B>>,
    options: &AttentionOptions<Kiln<B>>,
    cache: Option<&mut KvCache<Kiln<B>>>,
    config: &KernelConfig,
) -> Tensor<Kiln<B>, 4> {
    let AttentionInputs { q, k, v } = inputs;
    let (k, v) = match cache {
        None => (k, v),
        Some(cache) => {
            let fresh = (k.clone(), v.clone());
            cache.append(k, v).unwrap_or_else(|full| panic!("attention: {full}"));
            cache.view().unwrap_or(fresh)
        }
    };
    let operands = describe(AttentionInputs { q, k, v }, options);
    if let Some(output) =
        FusedGroup::Attention.is_on(&config.fusion).then(|| B::try_attention(&operands, config)).flatten()
    {
        return lift(output);
    }
    let inputs = operands.inputs.convert::<Lift<B>>();
    Kiln::<B>::scope(config, || compose::attention::attention(inputs, options, None, config))
}

/// [`attention`] with its log-sum-exp.
pub(super) fn attention_forward<B: Engine>(
    inputs: AttentionInputs<Kiln<B>>,
    options: &AttentionOptions<Kiln<B>>,
    config: &KernelConfig,
) -> AttentionForward<Kiln<B>> {
    let operands = describe(inputs, options);
    if let Some(forward) =
        FusedGroup::Attention.is_on(&config.fusion).then(|| B::try_attention_forward(&operands, config)).flatten()
    {
        return AttentionForward { output: lift(forward.output), lse: lift(forward.lse) };
    }
    let inputs = operands.inputs.convert::<Lift<B>>();
    Kiln::<B>::scope(config, || compose::attention::attention_forward(inputs, options, config))
}

/// Gradients of [`attention`] by the engine's kernel where it takes the operands, else by the composition.
pub(super) fn attention_backward<B: Engine>(
    inputs: AttentionInputs<Kiln<B>>,
    options: &AttentionOptions<Kiln<B>>,
    AttentionForward { output, lse }: AttentionForward<Kiln<B>>,
    grad: Tensor<Kiln<B>, 4>,
    config: &KernelConfig,
) -> AttentionGrads<Kiln<B>> {
    let forward = AttentionForward { output: lower(output), lse: lower(lse) };
    let operands = AttentionBackwardOperands { attention: describe(inputs, options), forward, grad: lower(grad) };
    if let Some(AttentionGrads { q, k, v }) =
        FusedGroup::Attention.is_on(&config.fusion).then(|| B::try_attention_backward(&operands, config)).flatten()
    {
        return AttentionGrads { q: lift(q), k: lift(k), v: lift(v) };
    }
    let AttentionBackwardOperands { attention, forward: AttentionForward { output, lse }, grad } = operands;
    let (inputs, forward) =
        (attention.inputs.convert::<Lift<B>>(), AttentionForward { output: lift(output), lse: lift(lse) });
    Kiln::<B>::scope(config, || compose::attention::attention_backward(inputs, options, forward, lift(grad), config))
}

/// What the engine is told.
fn describe<B: Engine>(inputs: AttentionInputs<Kiln<B>>, options: &AttentionOptions<Kiln<B>>) -> AttentionOperands<B> {
    AttentionOperands { inputs: inputs.convert::<Lower<B>>(), options: options.clone().convert::<Lower<B>>() }
}
