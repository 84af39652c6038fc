//! A mixture of experts as one node.

use super::tape::{is_any_tracked, lift, lower_weight, parent, record, register};
use crate::{KernelConfig, MoeOptions, MoeWeights, TrainingOps, compose};
use burn_autodiff::ops::{Backward, Ops};
use burn_autodiff::{
    Autodiff, checkpoint::base::Checkpointer, checkpoint::strategy::CheckpointStrategy, grads::Gradients,
};
use burn_tensor::Tensor;

/// Parents: `x`, `router`, `gate_up`, `down`.
#[derive(Debug)]
struct MoeNode;

#[derive(Debug, Clone)]
struct MoeState<B: TrainingOps> {
    x: Tensor<B, 2>,
    weights: MoeWeights<B>,
    options: MoeOptions,
    config: KernelConfig,
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
        // The node's backward makes gradients of all experts, which frozen ones don't want and which are as large as they
        // are. The composition records the products of the chosen ones only.
        return compose::moe::moe(x, weights, options, config);
    }
    let x = x.inner();
    let weights = MoeWeights {
        router: lower_weight(&weights.router),
        gate_up: weights.gate_up.clone().inner(),
        down: weights.down.clone().inner(),
    };
    let output = B::moe(x.clone(), &weights, options, config);
    if !experts_train {
        return Tensor::from_inner(output);
    }
    record(MoeNode, parents, MoeState { x, weights, options, config: config.clone() }, output)
}

impl<B: TrainingOps> Backward<B, 4> for MoeNode {
    type State = MoeState<B>;

    fn backward(self, ops: Ops<Self::State, 4>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = lift(grads.consume::<B>(&ops.node));
        let MoeState { x, weights, options, config } = ops.state;
        let [x_id, router_id, gate_up_id, down_id] = ops.parents.map(|node| node.map(|node| node.id));
        let dtype = x.dtype();
        let moe = B::moe_backward(x, &weights, options, grad, &config);
        register(grads, x_id, moe.x, dtype);
        register(grads, router_id, moe.router, weights.router.unpack().dtype());
        register(grads, gate_up_id, moe.gate_up, weights.gate_up.dtype());
        register(grads, down_id, moe.down, weights.down.dtype());
    }
}
