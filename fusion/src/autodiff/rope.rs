//! Rotary embedding as a node, and the head norms before it.
//!
//! QK-norm with rotation has two outputs that share nothing: one fused forward, and a node for each of them.

use super::tape::{Inner, Node, Pass, Taped, is_any_tracked, lift, parent, record};
use crate::{HeadNorms, KernelConfig, QueryKey, RmsWeights, Rotary, TrainingOps};
use burn_autodiff::{Autodiff, checkpoint::strategy::CheckpointStrategy};
use burn_backend::tensor::FloatTensor;
use burn_tensor::Tensor;

/// Parent: `x`.
#[derive(Debug, Clone)]
struct RopeNode<B: TrainingOps> {
    rotary: Rotary<B>,
}

pub(super) fn rope<B: TrainingOps, C: CheckpointStrategy>(
    x: Tensor<Autodiff<B, C>, 4>,
    rotary: &Rotary<Autodiff<B, C>>,
    config: &KernelConfig,
) -> Tensor<Autodiff<B, C>, 4> {
    let parents = [parent(&x)];
    // Angles are constants: no gradient leads to them.
    let rotary = rotary.clone().convert::<Inner<B, C>>();
    let output = B::rope(x.inner(), &rotary, config);
    if !is_any_tracked::<B, C>(&parents) {
        return Tensor::from_inner(output);
    }
    record(RopeNode { rotary }, parents, output, config)
}

impl<B: TrainingOps> Node<B, 1> for RopeNode<B> {
    fn run(self, grad: FloatTensor<B>, pass: &mut Pass<'_, B, 1>) {
        let grad: Tensor<B, 4> = lift(grad);
        let Self { rotary } = self;
        let [x_id] = pass.parents;
        let dtype = grad.dtype();
        pass.register(x_id, B::rope_backward(grad, &rotary, pass.config), dtype);
    }
}

/// Parents: `x` (queries or keys), `gamma`.
#[derive(Debug, Clone)]
struct NormRopeNode<B: TrainingOps> {
    x: Tensor<B, 4>,
    norm: RmsWeights<B>,
    rotary: Rotary<B>,
}

pub(super) fn qk_norm_rope<B: TrainingOps, C: CheckpointStrategy>(
    heads: QueryKey<Autodiff<B, C>>,
    norms: HeadNorms<Autodiff<B, C>>,
    rotary: &Rotary<Autodiff<B, C>>,
    config: &KernelConfig,
) -> QueryKey<Autodiff<B, C>> {
    let q_parents = [parent(&heads.q), parent(&norms.q_gamma)];
    let k_parents = [parent(&heads.k), parent(&norms.k_gamma)];
    let (heads, norms) = (heads.convert::<Inner<B, C>>(), norms.convert::<Inner<B, C>>());
    let rotary = rotary.clone().convert::<Inner<B, C>>();
    let outputs = B::qk_norm_rope(heads.clone(), norms.clone(), &rotary, config);
    let finish = |parents: [Taped<B, C>; 2], x, gamma, output| {
        if !is_any_tracked::<B, C>(&parents) {
            return Tensor::from_inner(output);
        }
        let norm = RmsWeights { gamma, epsilon: norms.epsilon };
        record(NormRopeNode { x, norm, rotary: rotary.clone() }, parents, output, config)
    };
    let q = finish(q_parents, heads.q, norms.q_gamma, outputs.q);
    QueryKey { q, k: finish(k_parents, heads.k, norms.k_gamma, outputs.k) }
}

impl<B: TrainingOps> Node<B, 2> for NormRopeNode<B> {
    fn run(self, grad: FloatTensor<B>, pass: &mut Pass<'_, B, 2>) {
        let Self { x, norm, rotary } = self;
        let [x_id, gamma_id] = pass.parents;
        let dtypes = (x.dtype(), norm.gamma.dtype());
        let grads = B::norm_rope_backward(x, norm, &rotary, lift(grad), pass.config);
        pass.register(x_id, grads.x, dtypes.0);
        pass.register(gamma_id, grads.gamma, dtypes.1);
    }
}
