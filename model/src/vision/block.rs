//! One block of the tower.

use super::VisionAttention;
use crate::config::{HiddenAct, VisionConfig};
use crate::layers::{LayerNorm, LayerNormConfig, Linear, LinearConfig, run_plain_mlp};
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use burn_kiln_fusion::{Activation, AttentionOptions, FusedOps, KernelConfig, Rotary};

/// `fc2(activation(fc1(x)))`.
#[derive(Module, Debug)]
pub struct VisionMlp<B: Backend> {
    /// `hidden` to `intermediate`.
    pub linear_fc1: Linear<B>,
    /// `intermediate` to `hidden`.
    pub linear_fc2: Linear<B>,
    /// Between the two; [`HiddenAct::GeluTanh`] in every released checkpoint.
    #[module(skip)]
    pub activation: HiddenAct,
}

impl<B: Backend> VisionMlp<B> {
    fn new(config: &VisionConfig, device: &B::Device) -> Self {
        let (hidden, intermediate) = (config.hidden_size, config.intermediate_size);
        Self {
            linear_fc1: LinearConfig::new(hidden, intermediate).with_bias(true).init(device),
            linear_fc2: LinearConfig::new(intermediate, hidden).with_bias(true).init(device),
            activation: config.hidden_act,
        }
    }
}

impl<B: FusedOps> VisionMlp<B> {
    /// `fc2(activation(fc1(x))) + residual`.
    ///
    /// # Shapes
    /// `x`, `residual` and output `[batch, patches, hidden]`.
    pub fn forward(&self, x: Tensor<B, 3>, residual: Tensor<B, 3>, config: &KernelConfig) -> Tensor<B, 3> {
        let activation = match self.activation {
            HiddenAct::Silu => Activation::Silu,
            HiddenAct::GeluTanh => Activation::GeluTanh,
            HiddenAct::Gelu => Activation::GeluErf,
        };
        run_plain_mlp(x, [&self.linear_fc1, &self.linear_fc2], activation, Some(residual), config)
    }
}

/// Attention and MLP, each behind a layer norm and beside a residual.
#[derive(Module, Debug)]
pub struct VisionBlock<B: Backend> {
    /// Before the attention.
    pub norm1: LayerNorm<B>,
    /// Before the MLP.
    pub norm2: LayerNorm<B>,
    /// Within each frame.
    pub attn: VisionAttention<B>,
    /// For each patch alone.
    pub mlp: VisionMlp<B>,
}

impl<B: Backend> VisionBlock<B> {
    pub(crate) fn new(config: &VisionConfig, device: &B::Device) -> Self {
        let norm = LayerNormConfig::new(config.hidden_size);
        Self {
            norm1: norm.init(device),
            norm2: norm.init(device),
            attn: VisionAttention::new(config, device),
            mlp: VisionMlp::new(config, device),
        }
    }
}

impl<B: FusedOps> VisionBlock<B> {
    /// Runs the block.
    ///
    /// # Shapes
    /// `x` and output `[batch, patches, hidden]`.
    pub fn forward(
        &self,
        x: Tensor<B, 3>,
        rotary: &Rotary<B>,
        options: &AttentionOptions<B>,
        config: &KernelConfig,
    ) -> Tensor<B, 3> {
        let x = self.attn.forward(x, &self.norm1, rotary, options, config);
        let normed = self.norm2.forward(x.clone(), config);
        self.mlp.forward(normed, x, config)
    }
}
