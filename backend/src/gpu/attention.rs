//! Attention.

use super::{accept, runs, tune::tune_attention};
use crate::engine::{AttentionOperands, FusedAttention};
use crate::routes::Route;
use burn_backend::{Backend, TensorMetadata};
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use burn_kiln_fusion::{
    KernelConfig,
    cube::{AttentionInputs, AttentionOutputs, AttentionRules, attention::allocate_outputs},
};

/// The kernel's rules for heads of `head_dim`.
pub(super) fn describe_rules<'a>(
    fused: &'a FusedAttention,
    head_dim: usize,
    segments: Option<&'a [usize]>,
) -> AttentionRules<'a> {
    AttentionRules {
        scale: fused.options.scale.unwrap_or_else(|| 1.0 / (head_dim as f64).sqrt()),
        causal: fused.options.is_causal,
        softcap: fused.options.softcap,
        segments,
    }
}

/// The output, and the log-sum-exp if wanted; `None` where the kernel does not take the operands.
#[allow(clippy::type_complexity)]
pub(super) fn attend<R, B>(
    operands: &AttentionOperands<B>,
    fused: &FusedAttention,
    config: &KernelConfig,
) -> Option<(CubeTensor<R>, Option<CubeTensor<R>>)>
where
    R: CubeRuntime,
    B: Backend<FloatTensorPrimitive = CubeTensor<R>, BoolTensorPrimitive = CubeTensor<R>>,
{
    let AttentionOperands { query, key, value, mask, bias } = operands;
    if !runs(config.tiling.enabled, config) {
        return None;
    }
    let head_dim = *query.shape().get(3)?;
    let (out, lse) = allocate_outputs(query, value, fused.with_lse);
    let inputs = AttentionInputs { q: query, k: key, v: value, mask: mask.as_ref(), bias: bias.as_ref() };
    let outputs = AttentionOutputs { out: &out, start: 0, lse: lse.as_ref() };
    let rules = describe_rules(fused, head_dim, fused.segments.as_deref());
    accept(Route::CubeAttention, tune_attention(&inputs, &rules, &outputs, config))?;
    Some((out, lse))
}
