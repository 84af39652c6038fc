//! A mixture of experts as one node.

use super::tape::{Inner, Node, Pass, is_any_tracked, lift, parent, record};
use crate::{KernelConfig, MoeInputGrads, MoeOptions, MoeWeights, TrainingOps};
use burn_autodiff::{Autodiff, checkpoint::strategy::CheckpointStrategy};
use burn_backend::tensor::FloatTensor;
use burn_tensor::Tensor;

/// Parents: `x`, `router`, `gate_up`, `down`.
#[derive(Debug, Clone)]
struct MoeNode<B: TrainingOps> {
    x: Tensor<B, 2>,
    weights: MoeWeights<B>,
    options: MoeOptions,
    /// Whether any matrix of the experts does.
    experts_train: bool,
}

pub(super) fn moe<B: TrainingOps, C: CheckpointStrategy>(
    x: Tensor<Autodiff<B, C>, 2>,
    weights: &MoeWeights<Autodiff<B, C>>,
    options: MoeOptions,
    config: &KernelConfig,
) -> Tensor<Autodiff<B, C>, 2> {
    let parents = [parent(&x), parent(&weights.router.unpack()), parent(&weights.gate_up), parent(&weights.down)];
    let experts_train = is_any_tracked::<B, C>(&parents[2..]);
    let is_tracked = is_any_tracked::<B, C>(&parents);
    let (x, weights) = (x.inner(), weights.clone().convert::<Inner<B, C>>());
    let output = B::moe(x.clone(), &weights, options, config);
    if !is_tracked {
        return Tensor::from_inner(output);
    }
    record(MoeNode { x, weights, options, experts_train }, parents, output, config)
}

impl<B: TrainingOps> Node<B, 4> for MoeNode<B> {
    fn run(self, grad: FloatTensor<B>, pass: &mut Pass<'_, B, 4>) {
        let grad = lift(grad);
        let Self { x, weights, options, experts_train } = self;
        let [x_id, router_id, gate_up_id, down_id] = pass.parents;
        let (dtype, router_dtype) = (x.dtype(), weights.router.unpack().dtype());
        if !experts_train {
            let MoeInputGrads { x, router } = B::moe_input_backward(x, &weights, options, grad, pass.config);
            pass.register(x_id, x, dtype);
            return pass.register(router_id, router, router_dtype);
        }
        let moe = B::moe_backward(x, &weights, options, grad, pass.config);
        pass.register(x_id, moe.x, dtype);
        pass.register(router_id, moe.router, router_dtype);
        pass.register(gate_up_id, moe.gate_up, weights.gate_up.dtype());
        pass.register(down_id, moe.down, weights.down.dtype());
    }
}
