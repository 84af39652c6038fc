//! Activations: those of transformers have kernels.

use super::forward::forward;
use crate::engine::{
    ActivationBackward, ActivationBackwardOperands, SoftmaxKind, SoftmaxOperands, UnaryOp, UnaryOperands,
};
use crate::scope::current;
use crate::{Engine, Kiln};
use burn_backend::Scalar;
use burn_backend::ops::ActivationOps;
use burn_backend::tensor::FloatTensor;
use burn_kiln_fusion::Activation;

/// A function of each element by a kernel, or by B.
pub(super) fn apply<B: Engine>(
    op: UnaryOp,
    x: FloatTensor<B>,
    by_b: fn(FloatTensor<B>) -> FloatTensor<B>,
) -> FloatTensor<B> {
    B::try_unary(UnaryOperands { op, x }, &current()).unwrap_or_else(|operands| by_b(operands.x))
}

impl<B: Engine> ActivationOps<Self> for Kiln<B> {
    fn relu(tensor: FloatTensor<Self>) -> FloatTensor<Self> {
        apply::<B>(UnaryOp::Relu, tensor, B::relu)
    }

    fn gelu(tensor: FloatTensor<Self>) -> FloatTensor<Self> {
        apply::<B>(UnaryOp::GeluErf, tensor, B::gelu)
    }

    fn gelu_backward(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        let operands = ActivationBackwardOperands { activation: Activation::GeluErf, x, grad, sums: false };
        match B::try_activation_backward(operands, &current()) {
            Ok(ActivationBackward { x, .. }) => x,
            Err(ActivationBackwardOperands { x, grad, .. }) => B::gelu_backward(x, grad),
        }
    }

    fn sigmoid(tensor: FloatTensor<Self>) -> FloatTensor<Self> {
        apply::<B>(UnaryOp::Sigmoid, tensor, B::sigmoid)
    }

    fn softmax(tensor: FloatTensor<Self>, dim: usize) -> FloatTensor<Self> {
        let operands = SoftmaxOperands { kind: SoftmaxKind::Plain, x: tensor, dim };
        B::try_softmax(operands, &current()).unwrap_or_else(|operands| B::softmax(operands.x, dim))
    }

    fn log_softmax(tensor: FloatTensor<Self>, dim: usize) -> FloatTensor<Self> {
        let operands = SoftmaxOperands { kind: SoftmaxKind::Log, x: tensor, dim };
        B::try_softmax(operands, &current()).unwrap_or_else(|operands| B::log_softmax(operands.x, dim))
    }

    forward! {
        ActivationOps:
        fn leaky_relu(tensor: FloatTensor<Self>, negative_slope: Scalar) -> FloatTensor<Self>;
        fn relu_backward(output: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self>;
        fn prelu(tensor: FloatTensor<Self>, alpha: FloatTensor<Self>) -> FloatTensor<Self>;
        fn sigmoid_backward(output: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self>;
        fn hard_sigmoid(tensor: FloatTensor<Self>, alpha: Scalar, beta: Scalar) -> FloatTensor<Self>;
        fn log_sigmoid(tensor: FloatTensor<Self>) -> FloatTensor<Self>;
        fn log_sigmoid_backward(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self>;
    }
}
