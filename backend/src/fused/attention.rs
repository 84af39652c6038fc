//! Attention of heads, alone and with a cache before it.

use super::{lift, lower};
use crate::engine::{AttentionOperands, FusedAttention};
use crate::{Engine, Kiln};
use burn_backend::ops::AttentionModuleOptions;
use burn_kiln_fusion::{AttentionForward, AttentionInputs, AttentionOptions, KernelConfig, KvCache, compose};
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
    match try_attention(AttentionInputs { q, k, v }, options, false, config) {
        Ok((output, _)) => output,
        Err(inputs) => compose::attention::attention(inputs, options, None, config),
    }
}

/// [`attention`] with its log-sum-exp.
pub(super) fn attention_forward<B: Engine>(
    inputs: AttentionInputs<Kiln<B>>,
    options: &AttentionOptions<Kiln<B>>,
    config: &KernelConfig,
) -> AttentionForward<Kiln<B>> {
    match try_attention(inputs, options, true, config) {
        Ok((output, Some(lse))) => AttentionForward { output, lse },
        Ok((_, None)) => unreachable!("the engine was asked for the log-sum-exp"),
        Err(inputs) => compose::attention::attention_forward(inputs, options, config),
    }
}

/// What an engine is told of the options.
pub(super) fn describe<B: Engine>(options: &AttentionOptions<Kiln<B>>, with_lse: bool) -> FusedAttention {
    FusedAttention {
        options: AttentionModuleOptions { scale: options.scale, softcap: options.softcap, is_causal: options.causal },
        segments: options.segments.clone(),
        kv_dtype: options.kv_dtype,
        with_lse,
    }
}

/// The engine's attention, on tensors.
#[allow(clippy::type_complexity)]
fn try_attention<B: Engine>(
    inputs: AttentionInputs<Kiln<B>>,
    options: &AttentionOptions<Kiln<B>>,
    with_lse: bool,
    config: &KernelConfig,
) -> Result<(Tensor<Kiln<B>, 4>, Option<Tensor<Kiln<B>, 4>>), AttentionInputs<Kiln<B>>> {
    if !config.fusion.attention {
        return Err(inputs);
    }
    let fused = describe(options, with_lse);
    let operands = AttentionOperands {
        query: lower(inputs.q),
        key: lower(inputs.k),
        value: lower(inputs.v),
        mask: options.mask.clone().map(Tensor::into_primitive),
        bias: options.bias.clone().map(lower),
    };
    match B::try_attention(operands, &fused, config) {
        Ok((output, lse)) => Ok((lift(output), lse.map(lift))),
        Err(back) => Err(AttentionInputs { q: lift(back.query), k: lift(back.key), v: lift(back.value) }),
    }
}
