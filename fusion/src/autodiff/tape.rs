//! Recording a node on Burn's tape.

use crate::{TrainingOps, Weight};
use burn_autodiff::ops::{Backward, OpsKind};
use burn_autodiff::{Autodiff, NodeId, checkpoint::strategy::CheckpointStrategy, grads::Gradients};
use burn_backend::{DType, backend::AutodiffBackend, tensor::FloatTensor};
use burn_tensor::{Tensor, TensorPrimitive};

/// A tensor of `B` with its place on the tape.
pub(super) type Taped<B, C> = FloatTensor<Autodiff<B, C>>;

/// `tensor` as an operand of a node.
pub(super) fn parent<B: TrainingOps, C: CheckpointStrategy, const D: usize>(
    tensor: &Tensor<Autodiff<B, C>, D>,
) -> Taped<B, C> {
    tensor.clone().into_primitive().tensor()
}

/// An operand that may not be there. An absent one is an untracked parent, which gets no gradient; its value, that of
/// `stand_in`, is never read.
pub(super) fn optional_parent<B: TrainingOps, C: CheckpointStrategy, const D: usize>(
    tensor: &Option<Tensor<Autodiff<B, C>, D>>,
    stand_in: &Taped<B, C>,
) -> Taped<B, C> {
    match tensor {
        Some(tensor) => parent(tensor),
        None => <Autodiff<B, C> as AutodiffBackend>::from_inner(stand_in.primitive.clone()),
    }
}

/// Whether any of the operands wants a gradient, or leads to one that does.
pub(super) fn is_any_tracked<B: TrainingOps, C: CheckpointStrategy>(parents: &[Taped<B, C>]) -> bool {
    parents.iter().any(|parent| parent.is_tracked())
}

/// Puts `output` on the tape as what `node` made of `parents`.
pub(super) fn record<B, C, N, const P: usize, const D: usize>(
    node: N,
    parents: [Taped<B, C>; P],
    state: N::State,
    output: Tensor<B, D>,
) -> Tensor<Autodiff<B, C>, D>
where
    B: TrainingOps,
    C: CheckpointStrategy,
    N: Backward<B, P>,
{
    let output = output.into_primitive().tensor();
    // Compute bound: the state is kept, not computed again, since the fused forward gives it for free.
    let taped = match node.prepare::<C>(parents.map(|parent| parent.node)).compute_bound().stateful() {
        OpsKind::Tracked(tracked) => tracked.finish(state, output),
        OpsKind::UnTracked(untracked) => untracked.finish(output),
    };
    Tensor::from_primitive(TensorPrimitive::Float(taped))
}

/// Adds `grad` to the gradient of a parent, where it wants one, in the dtype that the parent has.
pub(super) fn register<B: TrainingOps, const D: usize>(
    grads: &mut Gradients,
    parent: Option<NodeId>,
    grad: Tensor<B, D>,
    dtype: DType,
) {
    if let Some(id) = parent {
        grads.register::<B>(id, grad.cast(dtype).into_primitive().tensor());
    }
}

/// A gradient as a tensor.
pub(super) fn lift<B: TrainingOps, const D: usize>(primitive: FloatTensor<B>) -> Tensor<B, D> {
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}

/// The tensor of `B`, where there is one.
pub(super) fn lower<B: TrainingOps, C: CheckpointStrategy, const D: usize>(
    tensor: Option<Tensor<Autodiff<B, C>, D>>,
) -> Option<Tensor<B, D>> {
    tensor.map(Tensor::inner)
}

/// The weight of `B`. On `Autodiff` both forms hold the plain tensor.
pub(super) fn lower_weight<B: TrainingOps, C: CheckpointStrategy>(weight: &Weight<Autodiff<B, C>>) -> Weight<B> {
    Weight::Plain(weight.unpack().inner())
}
