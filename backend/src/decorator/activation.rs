//! Activations: those of transformers have kernels.

use super::forward::forward;
use crate::engine::{SoftmaxKind, UnaryOp};
use crate::scope::current;
use crate::{Engine, Kiln};
use burn_backend::Scalar;
use burn_backend::ops::ActivationOps;
use burn_backend::tensor::FloatTensor;

impl<B: Engine> ActivationOps<Self> for Kiln<B> {
    fn relu(tensor: FloatTensor<Self>) -> FloatTensor<Self> {
        B::try_unary(UnaryOp::Relu, tensor, &current()).unwrap_or_else(B::relu)
    }

    fn gelu(tensor: FloatTensor<Self>) -> FloatTensor<Self> {
        B::try_unary(UnaryOp::GeluErf, tensor, &current()).unwrap_or_else(B::gelu)
    }

    fn sigmoid(tensor: FloatTensor<Self>) -> FloatTensor<Self> {
        B::try_unary(UnaryOp::Sigmoid, tensor, &current()).unwrap_or_else(B::sigmoid)
    }

    fn softmax(tensor: FloatTensor<Self>, dim: usize) -> FloatTensor<Self> {
        B::try_softmax(SoftmaxKind::Plain, tensor, dim, &current()).unwrap_or_else(|tensor| B::softmax(tensor, dim))
    }

    fn log_softmax(tensor: FloatTensor<Self>, dim: usize) -> FloatTensor<Self> {
        B::try_softmax(SoftmaxKind::Log, tensor, dim, &current()).unwrap_or_else(|tensor| B::log_softmax(tensor, dim))
    }

    forward! {
        ActivationOps:
        fn leaky_relu(tensor: FloatTensor<Self>, negative_slope: Scalar) -> FloatTensor<Self>;
        fn relu_backward(output: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self>;
        fn prelu(tensor: FloatTensor<Self>, alpha: FloatTensor<Self>) -> FloatTensor<Self>;
        fn gelu_backward(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self>;
        fn sigmoid_backward(output: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self>;
        fn hard_sigmoid(tensor: FloatTensor<Self>, alpha: Scalar, beta: Scalar) -> FloatTensor<Self>;
        fn log_sigmoid(tensor: FloatTensor<Self>) -> FloatTensor<Self>;
        fn log_sigmoid_backward(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self>;
    }
}
