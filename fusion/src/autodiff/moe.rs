//! A mixture of experts as one node.

use super::tape::{Inner, Node, Pass, is_any_tracked, lift, parent, record};
use crate::{KernelConfig, MoeOptions, MoeWeights, TrainingOps, compose};
use burn_autodiff::{Autodiff, checkpoint::strategy::CheckpointStrategy};
use burn_backend::tensor::FloatTensor;
use burn_tensor::Tensor;

/// Parents: `x`, `router`, `gate_up`, `down`.
#[derive(Debug, Clone)]
struct MoeNode<B: TrainingOps> {
    x: Tensor<B, 2>,
    weights: MoeWeights<B>,
    options: MoeOptions,
}

pub(super) fn moe<B: TrainingOps, C: CheckpointStrategy>(
    x: Tensor<Autodiff<B, C>, 2>,
    weights: &MoeWeights<Autodiff<B, C>>,
    options: MoeOptions,
    config: &KernelConfig,
) -> Tensor<Autodiff<B, C>, 2> {
    let parents = [parent(&x), parent(&weights.router.unpack()), parent(&weights.gate_up), parent(&weights.down)];
    let experts_train = is_any_tracked::<B, C>(&parents[2..]);
    if is_any_tracked::<B, C>(&parents) && !experts_train {
        // The node's backward makes gradients of all experts, which frozen ones don't want and which are as large as
        // they are. The composition records the products of the chosen ones only.
        return B::scope(config, || compose::moe::moe(x, weights, options, config));
    }
    let (x, weights) = (x.inner(), weights.clone().convert::<Inner<B, C>>());
    let output = B::moe(x.clone(), &weights, options, config);
    if !experts_train {
        return Tensor::from_inner(output);
    }
    record(MoeNode { x, weights, options }, parents, output, config)
}

impl<B: TrainingOps> Node<B, 4> for MoeNode<B> {
    fn run(self, grad: FloatTensor<B>, pass: &mut Pass<'_, B, 4>) {
        let grad = lift(grad);
        let Self { x, weights, options } = self;
        let [x_id, router_id, gate_up_id, down_id] = pass.parents;
        let dtype = x.dtype();
        let moe = B::moe_backward(x, &weights, options, grad, pass.config);
        pass.register(x_id, moe.x, dtype);
        pass.register(router_id, moe.router, weights.router.unpack().dtype());
        pass.register(gate_up_id, moe.gate_up, weights.gate_up.dtype());
        pass.register(down_id, moe.down, weights.down.dtype());
    }
}
