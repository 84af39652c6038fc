//! The loss as a node.

use super::tape::{is_any_tracked, lift, lower_weight, parent, record, register};
use crate::compose::loss::lm_head_cross_entropy_input_gradient;
use crate::{KernelConfig, LossForward, LossOptions, Targets, TrainingOps, Weight};
use burn_autodiff::ops::{Backward, Ops};
use burn_autodiff::{
    Autodiff, checkpoint::base::Checkpointer, checkpoint::strategy::CheckpointStrategy, grads::Gradients,
};
use burn_tensor::Tensor;

/// Parents: `hidden`, `weight`.
#[derive(Debug)]
struct LossNode;

#[derive(Debug, Clone)]
struct LossState<B: TrainingOps> {
    hidden: Tensor<B, 2>,
    weight: Weight<B>,
    targets: Targets<B>,
    lse: Tensor<B, 2>,
    options: LossOptions,
    config: KernelConfig,
}

pub(super) fn lm_head_cross_entropy<B: TrainingOps, C: CheckpointStrategy>(
    hidden: Tensor<Autodiff<B, C>, 2>,
    weight: &Weight<Autodiff<B, C>>,
    targets: Targets<Autodiff<B, C>>,
    options: LossOptions,
    config: &KernelConfig,
) -> LossForward<Autodiff<B, C>> {
    let parents = [parent(&hidden), parent(&weight.unpack())];
    let (hidden, weight, targets) = (hidden.inner(), lower_weight(weight), targets.inner());
    let LossForward { loss, lse } = B::lm_head_cross_entropy(hidden.clone(), &weight, targets.clone(), options, config);
    let taped_lse = Tensor::from_inner(lse.clone());
    if !is_any_tracked::<B, C>(&parents) {
        return LossForward { loss: Tensor::from_inner(loss), lse: taped_lse };
    }
    let state = LossState { hidden, weight, targets, lse, options, config: config.clone() };
    LossForward { loss: record(LossNode, parents, state, loss), lse: taped_lse }
}

impl<B: TrainingOps> Backward<B, 2> for LossNode {
    type State = LossState<B>;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = lift(grads.consume::<B>(&ops.node));
        let LossState { hidden, weight, targets, lse, options, config } = ops.state;
        let [hidden_id, weight_id] = ops.parents.map(|node| node.map(|node| node.id));
        let (dtype, weight_dtype) = (hidden.dtype(), weight.unpack().dtype());
        let operands = (hidden, &weight, targets);
        if weight_id.is_some() {
            let loss = B::lm_head_cross_entropy_backward(operands, lse, grad, options, &config);
            register(grads, hidden_id, loss.hidden, dtype);
            register(grads, weight_id, loss.weight, weight_dtype);
        } else {
            let hidden = lm_head_cross_entropy_input_gradient(operands, lse, grad, options, &config);
            register(grads, hidden_id, hidden, dtype);
        }
    }
}
