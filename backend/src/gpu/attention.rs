//! Attention.

use super::{CubeEngine, accept, runs, tune::tune_attention};
use crate::engine::{AttentionOperands, Engine, Primitives};
use crate::routes::Route;
use burn_backend::TensorMetadata;
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use burn_kiln_fusion::{
    AttentionOptions, KernelConfig,
    cube::{AttentionInputs, AttentionOutputs, AttentionRules, attention::allocate_outputs},
};

/// The kernel's rules for heads of `head_dim`.
pub(super) fn describe_rules<'a, B: Engine>(
    options: &AttentionOptions<Primitives<B>>,
    head_dim: usize,
    segments: Option<&'a [usize]>,
) -> AttentionRules<'a> {
    AttentionRules {
        scale: options.resolve_scale(head_dim),
        causal: options.causal,
        softcap: options.softcap,
        segments,
    }
}

/// What attention gives.
pub(super) struct Results<R: CubeRuntime> {
    /// `[batch, heads, queries, value_dim]`.
    pub output: CubeTensor<R>,
    /// `[batch, heads, queries, 1]`, if wanted.
    pub lse: Option<CubeTensor<R>>,
}

/// Attention, with its log-sum-exp if wanted; `None` where the kernel does not take the operands.
pub(super) fn attend<R: CubeRuntime, B: CubeEngine<R>>(
    AttentionOperands { inputs, options }: &AttentionOperands<B>,
    with_lse: bool,
    config: &KernelConfig,
) -> Option<Results<R>> {
    if !runs(config.tiling.enabled, config) {
        return None;
    }
    let head_dim = *inputs.q.shape().get(3)?;
    let (output, lse) = allocate_outputs(&inputs.q, &inputs.v, with_lse);
    let (mask, bias) = (options.mask.as_ref(), options.bias.as_ref());
    let inputs = AttentionInputs { q: &inputs.q, k: &inputs.k, v: &inputs.v, mask, bias };
    let outputs = AttentionOutputs { out: &output, start: 0, lse: lse.as_ref() };
    let rules = describe_rules(options, head_dim, options.segments.as_deref());
    accept(Route::CubeAttention, tune_attention(&inputs, &rules, &outputs, config))?;
    Some(Results { output, lse })
}
