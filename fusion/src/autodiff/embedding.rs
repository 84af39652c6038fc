//! Embedding rows as a node.

use super::tape::{Node, Pass, is_any_tracked, lift, lower_weight, parent, record};
use crate::{FusedOps, KernelConfig, TrainingOps, Weight};
use burn_autodiff::{Autodiff, checkpoint::strategy::CheckpointStrategy};
use burn_backend::tensor::FloatTensor;
use burn_tensor::{Int, Tensor};

/// Parent: `weight`.
#[derive(Debug, Clone)]
struct EmbeddingNode<B: TrainingOps> {
    weight: Weight<B>,
    ids: Tensor<B, 2, Int>,
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
    record(EmbeddingNode { weight, ids }, parents, output, config)
}

impl<B: TrainingOps> Node<B, 1> for EmbeddingNode<B> {
    fn run(self, grad: FloatTensor<B>, pass: &mut Pass<'_, B, 1>) {
        let grad = lift(grad);
        let Self { weight, ids } = self;
        let [weight_id] = pass.parents;
        let dtype = weight.unpack().dtype();
        pass.register(weight_id, TrainingOps::embedding_backward(&weight, ids, grad, pass.config), dtype);
    }
}
