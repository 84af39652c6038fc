//! Low-rank adapters beside frozen weights.
//!
//! ```text
//! y = x·Wᵀ + b + s · dropout(x)·Aᵀ·Bᵀ        A [rank, in], B [out, rank]
//! ```
//!
//! Source: "LoRA: Low-Rank Adaptation of Large Language Models" (Hu and others 2021, arXiv 2106.09685).

use super::Dropout;
use burn::module::{Initializer, Module, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use burn_kiln_fusion::{Epilogue, FusedOps, KernelConfig, Weight};

/// An adapter of a [`Linear`](super::Linear) layer, in f32 whatever the layer's weight is held in.
#[derive(Module, Debug)]
pub struct Lora<B: Backend> {
    /// `[rank, d_input]`.
    pub a: Param<Tensor<B, 2>>,
    /// `[d_output, rank]`.
    pub b: Param<Tensor<B, 2>>,
    /// What the product is multiplied with.
    pub scale: f64,
    /// Before `A`.
    #[module(skip)]
    pub dropout: Dropout,
}

impl<B: Backend> Lora<B> {
    /// An adapter of these matrices, which train.
    ///
    /// # Shapes
    /// `a` `[rank, d_input]`, `b` `[d_output, rank]`.
    pub fn new(a: Tensor<B, 2>, b: Tensor<B, 2>, scale: f64, dropout: Dropout) -> Self {
        let train = |tensor: Tensor<B, 2>| Param::from_tensor(tensor.require_grad());
        Self { a: train(a), b: train(b), scale, dropout }
    }

    /// Its rank.
    pub fn rank(&self) -> usize {
        self.a.lazy_shape()[0]
    }

    /// An adapter of the same sizes on `T`, its parameters lazy.
    pub(crate) fn init_like<T: Backend<Device = B::Device>>(&self) -> Lora<T> {
        let like = |param: &Param<Tensor<B, 2>>| {
            let [rows, columns] = param.lazy_shape().dims();
            Initializer::Zeros.init([rows, columns], &param.lazy_device())
        };
        Lora { a: like(&self.a), b: like(&self.b), scale: self.scale, dropout: self.dropout.clone() }
    }

    /// `s·B·A`, `[d_output, d_input]`.
    pub(super) fn delta(&self) -> Tensor<B, 2> {
        self.b.val().matmul(self.a.val()).mul_scalar(self.scale)
    }
}

impl<B: FusedOps> Lora<B> {
    /// `base + s · dropout(x)·Aᵀ·Bᵀ`.
    ///
    /// # Shapes
    /// `x` `[.., d_input]`, `base` and output `[.., d_output]`.
    pub(super) fn add<const D: usize>(
        &self,
        x: Tensor<B, D>,
        base: Tensor<B, D>,
        config: &KernelConfig,
    ) -> Tensor<B, D> {
        let [a, b] = [&self.a, &self.b].map(|param| Weight::Plain(param.val()));
        let low = <B as FusedOps>::linear(self.dropout.forward(x), &a, Epilogue::default(), config);
        let epilogue = Epilogue { bias: None, activation: None, residual: Some(base) };
        <B as FusedOps>::linear(low.mul_scalar(self.scale), &b, epilogue, config)
    }
}
