//! Norms over the last dimension.

use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use burn_kiln_fusion::{FusedOps, KernelConfig, Norm, NormKind};

/// Size of an [`RmsNorm`].
#[derive(Config, Debug)]
pub struct RmsNormConfig {
    /// Length of a row.
    pub hidden: usize,
    /// Added to the mean square.
    #[config(default = 1e-6)]
    pub epsilon: f64,
}

impl RmsNormConfig {
    /// A norm with weight 1.
    pub fn init<B: Backend>(&self, device: &B::Device) -> RmsNorm<B> {
        RmsNorm { weight: Initializer::Ones.init([self.hidden], device), epsilon: self.epsilon }
    }
}

/// `x / √(mean(x²) + epsilon) · weight`.
#[derive(Module, Debug)]
pub struct RmsNorm<B: Backend> {
    /// `[hidden]`.
    pub weight: Param<Tensor<B, 1>>,
    /// Added to the mean square.
    pub epsilon: f64,
}

impl<B: FusedOps> RmsNorm<B> {
    /// Normalises each row.
    ///
    /// # Shapes
    /// `x` and output `[.., hidden]`.
    pub fn forward<const D: usize>(&self, x: Tensor<B, D>, config: &KernelConfig) -> Tensor<B, D> {
        B::rms_norm(x, self.weight.val(), self.epsilon, config)
    }

    /// The weights as ops that fuse a norm take them.
    pub fn norm(&self) -> Norm<B> {
        Norm { kind: NormKind::Rms, gamma: self.weight.val(), beta: None, epsilon: self.epsilon }
    }
}

/// Size of a [`LayerNorm`].
#[derive(Config, Debug)]
pub struct LayerNormConfig {
    /// Length of a row.
    pub hidden: usize,
    /// Added to the variance.
    #[config(default = 1e-6)]
    pub epsilon: f64,
}

impl LayerNormConfig {
    /// A norm with weight 1 and bias 0.
    pub fn init<B: Backend>(&self, device: &B::Device) -> LayerNorm<B> {
        LayerNorm {
            weight: Initializer::Ones.init([self.hidden], device),
            bias: Initializer::Zeros.init([self.hidden], device),
            epsilon: self.epsilon,
        }
    }
}

/// `(x - mean(x)) / √(var(x) + epsilon) · weight + bias`, biased variance.
#[derive(Module, Debug)]
pub struct LayerNorm<B: Backend> {
    /// `[hidden]`.
    pub weight: Param<Tensor<B, 1>>,
    /// `[hidden]`.
    pub bias: Param<Tensor<B, 1>>,
    /// Added to the variance.
    pub epsilon: f64,
}

impl<B: FusedOps> LayerNorm<B> {
    /// Normalises each row.
    ///
    /// # Shapes
    /// `x` and output `[.., hidden]`.
    pub fn forward<const D: usize>(&self, x: Tensor<B, D>, config: &KernelConfig) -> Tensor<B, D> {
        <B as FusedOps>::layer_norm(x, self.weight.val(), Some(self.bias.val()), self.epsilon, config)
    }

    /// The weights as ops that fuse a norm take them.
    pub fn norm(&self) -> Norm<B> {
        Norm { kind: NormKind::Layer, gamma: self.weight.val(), beta: Some(self.bias.val()), epsilon: self.epsilon }
    }
}
