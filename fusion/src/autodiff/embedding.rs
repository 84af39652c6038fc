//! Embedding rows as a node.

use super::tape::{is_any_tracked, lift, lower_weight, parent, record, register};
use crate::{FusedOps, KernelConfig, TrainingOps, Weight};
use burn_autodiff::ops::{Backward, Ops};
use burn_autodiff::{
    Autodiff, checkpoint::base::Checkpointer, checkpoint::strategy::CheckpointStrategy, grads::Gradients,
};
use burn_tensor::{Int, Tensor};

/// Parent: `weight`.
#[derive(Debug)]
struct EmbeddingNode;

#[derive(Debug, Clone)]
struct EmbeddingState<B: TrainingOps> {
    weight: Weight<B>,
    ids: Tensor<B, 2, Int>,
    config: KernelConfig,
}

pub(super) fn embedding<B: TrainingOps, C: CheckpointStrategy>(
    weight: &Weight<Autodiff<B, C>>,
    ids: Tensor<Autodiff<B, C>, 2, Int>,
    config: &KernelConfig,
) -> Tensor<Autodiff<B, C>, 3> {
    let parents = [parent(&weight.unpack())];
    let (weight, ids) = (lower_weight(weight), ids.inner());
    let output = FusedOps::embedding(&weight, ids.clone(), config);
    if !is_any_tracked::<B, C>(&parents) {
        return Tensor::from_inner(output);
    }
    record(EmbeddingNode, parents, EmbeddingState { weight, ids, config: config.clone() }, output)
}

impl<B: TrainingOps> Backward<B, 1> for EmbeddingNode {
    type State = EmbeddingState<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = lift(grads.consume::<B>(&ops.node));
        let EmbeddingState { weight, ids, config } = ops.state;
        let [weight_id] = ops.parents.map(|node| node.map(|node| node.id));
        let dtype = weight.unpack().dtype();
        register(grads, weight_id, TrainingOps::embedding_backward(&weight, ids, grad, &config), dtype);
    }
}
