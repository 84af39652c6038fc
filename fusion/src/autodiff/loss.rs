//! The loss as a node.
//!
//! Its gradients are computed with it, from the same logits, and scaled in reverse by the gradient that comes: the
//! logits of a large vocabulary, which nobody can keep, are computed once.

use super::tape::{Node, Pass, is_any_tracked, lift, lower_weight, parent, record};
use crate::{DifferentiatedLoss, KernelConfig, LossForward, LossInputs, LossOptions, TrainingOps};
use burn_autodiff::{Autodiff, checkpoint::strategy::CheckpointStrategy};
use burn_backend::{DType, tensor::FloatTensor};
use burn_tensor::Tensor;

/// Parents: `hidden`, `weight`.
#[derive(Debug, Clone)]
struct LossNode<B: TrainingOps> {
    /// Gradients where that of the loss is 1.
    hidden: Tensor<B, 2>,
    weight: Option<Tensor<B, 2>>,
    hidden_dtype: DType,
    weight_dtype: DType,
}

pub(super) fn lm_head_cross_entropy<B: TrainingOps, C: CheckpointStrategy>(
    inputs: LossInputs<'_, Autodiff<B, C>>,
    options: LossOptions,
    config: &KernelConfig,
) -> LossForward<Autodiff<B, C>> {
    let LossInputs { hidden, weight, targets } = inputs;
    let parents = [parent(&hidden), parent(&weight.unpack())];
    let (hidden, weight, targets) = (hidden.inner(), lower_weight(weight), targets.inner());
    let inputs = LossInputs { hidden, weight: &weight, targets };
    if !is_any_tracked::<B, C>(&parents) {
        let LossForward { loss, lse } = B::lm_head_cross_entropy(inputs, options, config);
        return LossForward { loss: Tensor::from_inner(loss), lse: Tensor::from_inner(lse) };
    }
    let (hidden_dtype, weight_dtype) = (inputs.hidden.dtype(), weight.unpack().dtype());
    let weight_trains = parents[1].is_tracked();
    let DifferentiatedLoss { forward, hidden, weight: of_weight } =
        B::lm_head_cross_entropy_differentiated(inputs, weight_trains, options, config);
    let node = LossNode { hidden, weight: of_weight, hidden_dtype, weight_dtype };
    LossForward { loss: record(node, parents, forward.loss, config), lse: Tensor::from_inner(forward.lse) }
}

impl<B: TrainingOps> Node<B, 2> for LossNode<B> {
    fn run(self, grad: FloatTensor<B>, pass: &mut Pass<'_, B, 2>) {
        let grad = lift::<B, 1>(grad).unsqueeze::<2>();
        let Self { hidden, weight, hidden_dtype, weight_dtype } = self;
        let [hidden_id, weight_id] = pass.parents;
        if hidden_id.is_some() {
            pass.register(hidden_id, hidden * grad.clone(), hidden_dtype);
        }
        if let Some(weight) = weight {
            pass.register(weight_id, weight * grad, weight_dtype);
        }
    }
}
