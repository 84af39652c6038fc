//! Activations as nodes.

use super::tape::{is_any_tracked, lift, parent, record, register};
use crate::{Activation, KernelConfig, TrainingOps, compose};
use burn_autodiff::ops::{Backward, Ops};
use burn_autodiff::{
    Autodiff, checkpoint::base::Checkpointer, checkpoint::strategy::CheckpointStrategy, grads::Gradients,
};
use burn_tensor::Tensor;

#[derive(Debug)]
struct ActivationNode<const D: usize>;

#[derive(Debug, Clone)]
struct ActivationState<B: TrainingOps, const D: usize> {
    activation: Activation,
    x: Tensor<B, D>,
    config: KernelConfig,
}

pub(super) fn activate<B: TrainingOps, C: CheckpointStrategy, const D: usize>(
    activation: Activation,
    x: Tensor<Autodiff<B, C>, D>,
    config: &KernelConfig,
) -> Tensor<Autodiff<B, C>, D> {
    let parents = [parent(&x)];
    let x = x.inner();
    if !is_any_tracked::<B, C>(&parents) {
        return Tensor::from_inner(compose::activation::apply(activation, x, config));
    }
    let output = compose::activation::apply(activation, x.clone(), config);
    record(ActivationNode::<D>, parents, ActivationState { activation, x, config: config.clone() }, output)
}

impl<B: TrainingOps, const D: usize> Backward<B, 1> for ActivationNode<D> {
    type State = ActivationState<B, D>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = lift(grads.consume::<B>(&ops.node));
        let ActivationState { activation, x, config } = ops.state;
        let [x_id] = ops.parents.map(|node| node.map(|node| node.id));
        let dtype = x.dtype();
        register(grads, x_id, B::activation_backward(activation, x, grad, &config), dtype);
    }
}
