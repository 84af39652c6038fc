//! The loss as a node.

use super::tape::{Node, Pass, is_any_tracked, lift, lower_weight, parent, record};
use crate::compose::loss::lm_head_cross_entropy_input_gradient;
use crate::{KernelConfig, LossForward, LossInputs, LossOptions, TrainingOps, Weight};
use burn_autodiff::{Autodiff, checkpoint::strategy::CheckpointStrategy};
use burn_backend::tensor::FloatTensor;
use burn_tensor::{Int, Tensor};

/// Parents: `hidden`, `weight`.
#[derive(Debug, Clone)]
struct LossNode<B: TrainingOps> {
    hidden: Tensor<B, 2>,
    weight: Weight<B>,
    targets: Tensor<B, 1, Int>,
    lse: Tensor<B, 2>,
    options: LossOptions,
}

pub(super) fn lm_head_cross_entropy<B: TrainingOps, C: CheckpointStrategy>(
    inputs: LossInputs<'_, Autodiff<B, C>>,
    options: LossOptions,
    config: &KernelConfig,
) -> LossForward<Autodiff<B, C>> {
    let LossInputs { hidden, weight, targets } = inputs;
    let parents = [parent(&hidden), parent(&weight.unpack())];
    let (hidden, weight, targets) = (hidden.inner(), lower_weight(weight), targets.inner());
    let inputs = LossInputs { hidden: hidden.clone(), weight: &weight, targets: targets.clone() };
    let LossForward { loss, lse } = B::lm_head_cross_entropy(inputs, options, config);
    let taped_lse = Tensor::from_inner(lse.clone());
    if !is_any_tracked::<B, C>(&parents) {
        return LossForward { loss: Tensor::from_inner(loss), lse: taped_lse };
    }
    let node = LossNode { hidden, weight, targets, lse, options };
    LossForward { loss: record(node, parents, loss, config), lse: taped_lse }
}

impl<B: TrainingOps> Node<B, 2> for LossNode<B> {
    fn run(self, grad: FloatTensor<B>, pass: &mut Pass<'_, B, 2>) {
        let grad = lift(grad);
        let Self { hidden, weight, targets, lse, options } = self;
        let [hidden_id, weight_id] = pass.parents;
        let (dtype, weight_dtype) = (hidden.dtype(), weight.unpack().dtype());
        let inputs = LossInputs { hidden, weight: &weight, targets };
        if weight_id.is_some() {
            let loss = B::lm_head_cross_entropy_backward(inputs, lse, grad, options, pass.config);
            pass.register(hidden_id, loss.hidden, dtype);
            pass.register(weight_id, loss.weight, weight_dtype);
        } else {
            let hidden = lm_head_cross_entropy_input_gradient(inputs, lse, grad, options, pass.config);
            pass.register(hidden_id, hidden, dtype);
        }
    }
}
