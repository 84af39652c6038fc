//! Attention as a node.

use super::tape::{Inner, Node, Pass, is_any_tracked, lift, parent, record};
use crate::{
    AttentionForward, AttentionInputs, AttentionOptions, FusedOps, KernelConfig, KvCache, TrainingOps, compose,
};
use burn_autodiff::{Autodiff, checkpoint::strategy::CheckpointStrategy};
use burn_backend::tensor::FloatTensor;
use burn_tensor::Tensor;

/// Parents: `q`, `k`, `v`.
#[derive(Debug, Clone)]
struct AttentionNode<B: TrainingOps> {
    inputs: AttentionInputs<B>,
    options: AttentionOptions<B>,
    forward: AttentionForward<B>,
}

pub(super) fn attention<B: TrainingOps, C: CheckpointStrategy>(
    inputs: AttentionInputs<Autodiff<B, C>>,
    options: &AttentionOptions<Autodiff<B, C>>,
    cache: Option<&mut KvCache<Autodiff<B, C>>>,
    config: &KernelConfig,
) -> Tensor<Autodiff<B, C>, 4> {
    let trains_bias = options.bias.as_ref().is_some_and(|bias| is_any_tracked::<B, C>(&[parent(bias)]));
    if cache.is_some() || trains_bias {
        return B::scope(config, || compose::attention::attention(inputs, options, cache, config));
    }
    let parents = [parent(&inputs.q), parent(&inputs.k), parent(&inputs.v)];
    let (inputs, options) = (inputs.convert::<Inner<B, C>>(), options.clone().convert::<Inner<B, C>>());
    if !is_any_tracked::<B, C>(&parents) {
        return Tensor::from_inner(FusedOps::attention(inputs, &options, None, config));
    }
    let forward = B::attention_forward(inputs.clone(), &options, config);
    let output = forward.output.clone();
    record(AttentionNode { inputs, options, forward }, parents, output, config)
}

impl<B: TrainingOps> Node<B, 3> for AttentionNode<B> {
    fn run(self, grad: FloatTensor<B>, pass: &mut Pass<'_, B, 3>) {
        let grad = lift(grad);
        let Self { inputs, options, forward } = self;
        let [q_id, k_id, v_id] = pass.parents;
        let (q, k, v) = (inputs.q.dtype(), inputs.k.dtype(), inputs.v.dtype());
        let attention = TrainingOps::attention_backward(inputs, &options, forward, grad, pass.config);
        pass.register(q_id, attention.q, q);
        pass.register(k_id, attention.k, k);
        pass.register(v_id, attention.v, v);
    }
}
