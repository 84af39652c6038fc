//! Recording a node on Burn's tape, and running it in reverse.
//!
//! A node's whole backward runs in a scope of the configuration that its forward had, whichever thread calls
//! `.backward()` and in whatever scope: [`Scoped`] is the only `Backward` here.

use crate::{Conversion, KernelConfig, TrainingOps, Weight};
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use burn_autodiff::{
    Autodiff, NodeId, checkpoint::base::Checkpointer, checkpoint::strategy::CheckpointStrategy, grads::Gradients,
};
use burn_backend::{DType, backend::AutodiffBackend, tensor::FloatTensor};
use burn_tensor::{Bool, Tensor, TensorPrimitive};
use core::fmt::Debug;
use core::marker::PhantomData;
use std::sync::Arc;

/// A tensor of `B` with its place on the tape.
pub(super) type Taped<B, C> = FloatTensor<Autodiff<B, C>>;

/// What a forward of `P` operands keeps for its backward.
pub(super) trait Node<B: TrainingOps, const P: usize>: Clone + Debug + Send + 'static {
    /// Registers the gradients of the operands from `grad`, that of the output.
    fn run(self, grad: FloatTensor<B>, pass: &mut Pass<'_, B, P>);
}

/// One run of a node in reverse.
pub(super) struct Pass<'a, B: TrainingOps, const P: usize> {
    /// Operands that want a gradient.
    pub parents: [Option<NodeId>; P],
    /// All gradients so far.
    pub grads: &'a mut Gradients,
    /// The configuration of the forward.
    pub config: &'a KernelConfig,
    backend: PhantomData<B>,
}

impl<B: TrainingOps, const P: usize> Pass<'_, B, P> {
    /// Adds `grad` to the gradient of a parent, where it wants one, in the dtype that the parent has.
    pub fn register<const D: usize>(&mut self, parent: Option<NodeId>, grad: Tensor<B, D>, dtype: DType) {
        if let Some(id) = parent {
            self.grads.register::<B>(id, grad.cast(dtype).into_primitive().tensor());
        }
    }
}

/// Runs a node under the configuration of its forward.
#[derive(Debug)]
struct Scoped<N>(PhantomData<fn() -> N>);

impl<B: TrainingOps, N: Node<B, P>, const P: usize> Backward<B, P> for Scoped<N> {
    type State = (N, Arc<KernelConfig>);

    fn backward(self, ops: Ops<Self::State, P>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (node, config) = ops.state;
        let parents = ops.parents.map(|node| node.map(|node| node.id));
        B::scope(&config, || {
            let grad = grads.consume::<B>(&ops.node);
            node.run(grad, &mut Pass { parents, grads, config: &config, backend: PhantomData });
        });
    }
}

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

/// Puts `output` on the tape as what an op made of `parents` under `config`; `node` goes the way back.
pub(super) fn record<B, C, N, const P: usize, const D: usize>(
    node: N,
    parents: [Taped<B, C>; P],
    output: Tensor<B, D>,
    config: &KernelConfig,
) -> Tensor<Autodiff<B, C>, D>
where
    B: TrainingOps,
    C: CheckpointStrategy,
    N: Node<B, P>,
{
    let output = output.into_primitive().tensor();
    let nodes = parents.each_ref().map(|parent| parent.node.clone());
    let scoped = Scoped::<N>(PhantomData);
    // Compute bound: the state is kept, not computed again, since the fused forward gives it for free.
    let taped = match Backward::<B, P>::prepare::<C>(scoped, nodes).compute_bound().stateful() {
        OpsKind::Tracked(tracked) => tracked.finish((node, Arc::new(config.clone())), output),
        OpsKind::UnTracked(untracked) => untracked.finish(output),
    };
    // Not before: a tape that ends on another thread frees nodes that nobody holds and nothing has come from yet.
    drop(parents);
    Tensor::from_primitive(TensorPrimitive::Float(taped))
}

/// A name for the gradient of `tensor`, with a reference count of its own: the tape frees what nobody outside it holds,
/// and a tape that held itself would never be freed.
pub(super) fn name_without_holding<B: TrainingOps, C: CheckpointStrategy>(tensor: &Taped<B, C>) -> Taped<B, C> {
    let mut name = tensor.clone();
    name.rc = Arc::new(name.node.id);
    name
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

/// From operands on the tape to those of `B`.
pub(super) struct Inner<B, C>(PhantomData<(B, C)>);

impl<B: TrainingOps, C: CheckpointStrategy> Conversion for Inner<B, C> {
    type From = Autodiff<B, C>;
    type To = B;

    fn convert_float<const D: usize>(tensor: Tensor<Autodiff<B, C>, D>) -> Tensor<B, D> {
        tensor.inner()
    }

    fn convert_bool<const D: usize>(tensor: Tensor<Autodiff<B, C>, D, Bool>) -> Tensor<B, D, Bool> {
        tensor.inner()
    }

    fn convert_weight(weight: Weight<Autodiff<B, C>>) -> Weight<B> {
        lower_weight(&weight)
    }
}
