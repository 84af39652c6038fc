//! Activations as nodes.

use super::tape::{Node, Pass, is_any_tracked, lift, parent, record};
use crate::{Activation, KernelConfig, TrainingOps, compose};
use burn_autodiff::{Autodiff, checkpoint::strategy::CheckpointStrategy};
use burn_backend::tensor::FloatTensor;
use burn_tensor::Tensor;

#[derive(Debug, Clone)]
struct ActivationNode<B: TrainingOps, const D: usize> {
    activation: Activation,
    x: Tensor<B, D>,
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
    record(ActivationNode { activation, x }, parents, output, config)
}

impl<B: TrainingOps, const D: usize> Node<B, 1> for ActivationNode<B, D> {
    fn run(self, grad: FloatTensor<B>, pass: &mut Pass<'_, B, 1>) {
        let grad = lift(grad);
        let Self { activation, x } = self;
        let ([x_id], dtype) = (pass.parents, x.dtype());
        pass.register(x_id, B::activation_backward(activation, x, grad, pass.config), dtype);
    }
}
