//! Going back on a tape from a gradient that is given.

use super::Gradients;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Tensor, TensorPrimitive};
use burn_autodiff::Autodiff;
use burn_autodiff::checkpoint::base::Checkpointer;
use burn_autodiff::checkpoint::strategy::NoCheckpointing;
use burn_autodiff::grads::Gradients as TapeGradients;
use burn_autodiff::ops::{Backward, Ops, OpsKind};
use std::marker::PhantomData;

/// The end of a tape: whatever comes to it, what it gives on is the gradient that it was made with.
///
/// Burn's `backward` begins at a tensor of ones, and one inside another's node deadlocks. So a layer's tape ends in a
/// scalar whose node registers the gradient that the layer above gave.
#[derive(Debug)]
struct Seed<B>(PhantomData<fn() -> B>);

impl<B: Backend> Backward<B, 1> for Seed<B> {
    type State = B::FloatTensorPrimitive;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut TapeGradients, _: &mut Checkpointer) {
        grads.consume::<B>(&ops.node);
        if let [Some(parent)] = ops.parents {
            grads.register::<B>(parent.id, ops.state);
        }
    }
}

/// The gradients of all that `output` was made of, from its own. `None` where nothing of that is tracked.
pub(super) fn backward<B: Backend, const D: usize>(
    output: Tensor<Autodiff<B>, D>,
    grad: Tensor<B, D>,
) -> Option<TapeGradients> {
    let device = grad.device();
    let output = output.into_primitive().tensor();
    let scalar = Tensor::<B, 1>::zeros([1], &device).into_primitive().tensor();
    let seed = Seed::<B>(PhantomData);
    match Backward::<B, 1>::prepare::<NoCheckpointing>(seed, [output.node.clone()]).compute_bound().stateful() {
        OpsKind::Tracked(tracked) => {
            let end = tracked.finish(grad.into_primitive().tensor(), scalar);
            drop(output);
            Some(Tensor::<Autodiff<B>, 1>::from_primitive(TensorPrimitive::Float(end)).backward())
        }
        OpsKind::UnTracked(_) => None,
    }
}

/// A tensor that a tape begins with.
pub(super) fn leaf<B: Backend, const D: usize>(tensor: Tensor<B, D>, tracked: bool) -> Tensor<Autodiff<B>, D> {
    Tensor::from_inner(tensor).set_require_grad(tracked)
}

/// Moves the gradients of a module's parameters to where they are accumulated.
pub(super) struct Collect<'a, B: Backend> {
    pub tape: &'a mut TapeGradients,
    pub gradients: &'a mut Gradients<B>,
}

impl<B: Backend> Collect<'_, B> {
    pub fn from<M: Module<Autodiff<B>>>(mut self, module: &M) {
        module.visit(&mut self);
    }

    pub fn parameter<const D: usize>(&mut self, param: &Param<Tensor<Autodiff<B>, D>>) {
        if let Some(grad) = Autodiff::<B>::grad_remove(&param.val().into_primitive().tensor(), self.tape) {
            self.gradients.add(param.id, Tensor::<B, D>::from_primitive(TensorPrimitive::Float(grad)));
        }
    }
}

impl<B: Backend> ModuleVisitor<Autodiff<B>> for Collect<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Autodiff<B>, D>>) {
        self.parameter(param);
    }
}
