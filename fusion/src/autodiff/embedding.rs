//! Embedding rows as a node.

use super::tape::{Node, Pass, Taped, is_any_tracked, lift, lower_weight, name_without_holding, parent, record};
use crate::{FusedOps, KernelConfig, TrainingOps, Weight};
use burn_autodiff::{Autodiff, checkpoint::strategy::CheckpointStrategy};
use burn_backend::tensor::FloatTensor;
use burn_tensor::{DType, Int, Tensor};

/// Parent: `weight`.
#[derive(Debug, Clone)]
struct EmbeddingNode<B: TrainingOps, C: CheckpointStrategy> {
    weight: Weight<B>,
    ids: Tensor<B, 2, Int>,
    /// Names the weight to the tape.
    name: Taped<B, C>,
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
    let name = name_without_holding::<B, C>(&parents[0]);
    record(EmbeddingNode::<B, C> { weight, ids, name }, parents, output, config)
}

impl<B: TrainingOps, C: CheckpointStrategy> Node<B, 1> for EmbeddingNode<B, C> {
    fn run(self, grad: FloatTensor<B>, pass: &mut Pass<'_, B, 1>) {
        let grad = lift(grad);
        let Self { weight, ids, name } = self;
        let [weight_id] = pass.parents;
        let table = weight.unpack();
        // A tied head has left its gradient, of the whole table: rows are added there, not in a second table.
        let so_far = pass.grads.remove::<B>(&name).map(lift::<B, 2>);
        let table_grad = match so_far {
            Some(so_far) if so_far.dtype() == DType::F32 => B::add_embedding_backward(so_far, ids, grad, pass.config),
            Some(so_far) => {
                pass.register(weight_id, so_far, table.dtype());
                TrainingOps::embedding_backward(&weight, ids, grad, pass.config)
            }
            None => TrainingOps::embedding_backward(&weight, ids, grad, pass.config),
        };
        pass.register(weight_id, table_grad, table.dtype());
    }
}
