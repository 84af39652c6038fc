//! Attention as a node.

use super::tape::{is_any_tracked, lift, lower, parent, record, register};
use crate::{
    AttentionForward, AttentionInputs, AttentionOptions, FusedOps, KernelConfig, KvCache, TrainingOps, compose,
};
use burn_autodiff::ops::{Backward, Ops};
use burn_autodiff::{
    Autodiff, checkpoint::base::Checkpointer, checkpoint::strategy::CheckpointStrategy, grads::Gradients,
};
use burn_tensor::Tensor;

/// Parents: `q`, `k`, `v`.
#[derive(Debug)]
struct AttentionNode;

#[derive(Debug, Clone)]
struct AttentionState<B: TrainingOps> {
    inputs: AttentionInputs<B>,
    options: AttentionOptions<B>,
    forward: AttentionForward<B>,
    config: KernelConfig,
}

pub(super) fn attention<B: TrainingOps, C: CheckpointStrategy>(
    inputs: AttentionInputs<Autodiff<B, C>>,
    options: &AttentionOptions<Autodiff<B, C>>,
    cache: Option<&mut KvCache<Autodiff<B, C>>>,
    config: &KernelConfig,
) -> Tensor<Autodiff<B, C>, 4> {
    let trains_bias = options.bias.as_ref().is_some_and(|bias| is_any_tracked::<B, C>(&[parent(bias)]));
    if cache.is_some() || trains_bias {
        return compose::attention::attention(inputs, options, cache, config);
    }
    let parents = [parent(&inputs.q), parent(&inputs.k), parent(&inputs.v)];
    let inputs = AttentionInputs { q: inputs.q.inner(), k: inputs.k.inner(), v: inputs.v.inner() };
    let options = AttentionOptions {
        scale: options.scale,
        causal: options.causal,
        softcap: options.softcap,
        mask: options.mask.clone().map(Tensor::inner),
        bias: lower(options.bias.clone()),
        segments: options.segments.clone(),
        kv_dtype: options.kv_dtype,
    };
    if !is_any_tracked::<B, C>(&parents) {
        return Tensor::from_inner(FusedOps::attention(inputs, &options, None, config));
    }
    let forward = B::attention_forward(inputs.clone(), &options, config);
    let output = forward.output.clone();
    record(AttentionNode, parents, AttentionState { inputs, options, forward, config: config.clone() }, output)
}

impl<B: TrainingOps> Backward<B, 3> for AttentionNode {
    type State = AttentionState<B>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = lift(grads.consume::<B>(&ops.node));
        let AttentionState { inputs, options, forward, config } = ops.state;
        let [q_id, k_id, v_id] = ops.parents.map(|node| node.map(|node| node.id));
        let (q, k, v) = (inputs.q.dtype(), inputs.k.dtype(), inputs.v.dtype());
        let attention = TrainingOps::attention_backward(inputs, &options, forward, grad, &config);
        register(grads, q_id, attention.q, q);
        register(grads, k_id, attention.k, k);
        register(grads, v_id, attention.v, v);
    }
}
