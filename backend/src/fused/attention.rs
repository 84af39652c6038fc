//! Attention of heads, alone and with a cache before it.

use super::conversion::{Lift, Lower, lift};
use crate::engine::AttentionOperands;
use crate::fused_group::FusedGroup;
use crate::{Engine, Kiln};
use burn_kiln_fusion::{AttentionForward, AttentionInputs, AttentionOptions, FusedOps, KernelConfig, KvCache, compose};
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

/// What the engine is told.
fn describe<B: Engine>(inputs: AttentionInputs<Kiln<B>>, options: &AttentionOptions<Kiln<B>>) -> AttentionOperands<B> {
    AttentionOperands { inputs: inputs.convert::<Lower<B>>(), options: options.clone().convert::<Lower<B>>() }
}
