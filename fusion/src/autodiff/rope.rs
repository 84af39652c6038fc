//! Rotary embedding as a node, and the head norms before it.
//!
//! QK-norm with rotation has two outputs that share nothing: one fused forward, and a node for each of them.

use super::tape::{Taped, is_any_tracked, lift, parent, record, register};
use crate::{KernelConfig, Rotary, TrainingOps, compose};
use burn_autodiff::ops::{Backward, Ops};
use burn_autodiff::{
    Autodiff, checkpoint::base::Checkpointer, checkpoint::strategy::CheckpointStrategy, grads::Gradients,
};
use burn_tensor::Tensor;

/// One tensor for the queries and one for the keys.
type Pair<B, const D: usize> = (Tensor<B, D>, Tensor<B, D>);

/// Parent: `x`.
#[derive(Debug)]
struct RopeNode;

#[derive(Debug, Clone)]
struct RopeState<B: TrainingOps> {
    rotary: Rotary<B>,
    config: KernelConfig,
}

pub(super) fn rope<B: TrainingOps, C: CheckpointStrategy>(
    x: Tensor<Autodiff<B, C>, 4>,
    rotary: &Rotary<Autodiff<B, C>>,
    config: &KernelConfig,
) -> Tensor<Autodiff<B, C>, 4> {
    let parents = [parent(&x)];
    let rotary = lower_rotary(rotary);
    let output = B::rope(x.inner(), &rotary, config);
    if !is_any_tracked::<B, C>(&parents) {
        return Tensor::from_inner(output);
    }
    record(RopeNode, parents, RopeState { rotary, config: config.clone() }, output)
}

impl<B: TrainingOps> Backward<B, 1> for RopeNode {
    type State = RopeState<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad: Tensor<B, 4> = lift(grads.consume::<B>(&ops.node));
        let RopeState { rotary, config } = ops.state;
        let [x_id] = ops.parents.map(|node| node.map(|node| node.id));
        let dtype = grad.dtype();
        register(grads, x_id, B::rope_backward(grad, &rotary, &config), dtype);
    }
}

/// Parents: `x` (queries or keys), `gamma`.
#[derive(Debug)]
struct NormRopeNode;

#[derive(Debug, Clone)]
struct NormRopeState<B: TrainingOps> {
    x: Tensor<B, 4>,
    gamma: Tensor<B, 1>,
    epsilon: f64,
    rotary: Rotary<B>,
    config: KernelConfig,
}

pub(super) fn qk_norm_rope<B: TrainingOps, C: CheckpointStrategy>(
    (q, k): Pair<Autodiff<B, C>, 4>,
    (q_gamma, k_gamma): Pair<Autodiff<B, C>, 1>,
    epsilon: f64,
    rotary: &Rotary<Autodiff<B, C>>,
    config: &KernelConfig,
) -> Pair<Autodiff<B, C>, 4> {
    let (q_parents, k_parents) = ([parent(&q), parent(&q_gamma)], [parent(&k), parent(&k_gamma)]);
    let (q, k, q_gamma, k_gamma) = (q.inner(), k.inner(), q_gamma.inner(), k_gamma.inner());
    let rotary = lower_rotary(rotary);
    let gammas = (q_gamma.clone(), k_gamma.clone());
    let (q_output, k_output) = B::qk_norm_rope((q.clone(), k.clone()), gammas, epsilon, &rotary, config);
    let finish = |parents: [Taped<B, C>; 2], x, gamma, output| {
        if !is_any_tracked::<B, C>(&parents) {
            return Tensor::from_inner(output);
        }
        let state = NormRopeState { x, gamma, epsilon, rotary: rotary.clone(), config: config.clone() };
        record(NormRopeNode, parents, state, output)
    };
    (finish(q_parents, q, q_gamma, q_output), finish(k_parents, k, k_gamma, k_output))
}

impl<B: TrainingOps> Backward<B, 2> for NormRopeNode {
    type State = NormRopeState<B>;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = lift(grads.consume::<B>(&ops.node));
        let NormRopeState { x, gamma, epsilon, rotary, config } = ops.state;
        let [x_id, gamma_id] = ops.parents.map(|node| node.map(|node| node.id));
        let dtypes = (x.dtype(), gamma.dtype());
        let norm = compose::rope::norm_rope_backward(x, gamma, epsilon, &rotary, grad, &config);
        register(grads, x_id, norm.x, dtypes.0);
        register(grads, gamma_id, norm.gamma, dtypes.1);
    }
}

/// Angles are constants: no gradient leads to them.
fn lower_rotary<B: TrainingOps, C: CheckpointStrategy>(rotary: &Rotary<Autodiff<B, C>>) -> Rotary<B> {
    Rotary { cos: rotary.cos.clone().inner(), sin: rotary.sin.clone().inner() }
}
