//! One decoder layer.

use super::{Mlp, TextAttention};
use crate::config::TextConfig;
use crate::layers::{RmsNorm, RmsNormConfig};
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use burn_kiln_fusion::{AttentionOptions, FusedOps, KernelConfig, KvCache, Rotary};

/// What all layers of a forward pass share.
#[derive(Debug)]
pub struct LayerContext<'a, B: FusedOps> {
    /// Angles of the positions of this pass.
    pub rotary: &'a Rotary<B>,
    /// Which keys a query sees.
    pub attention: &'a AttentionOptions<B>,
    /// Rows of each sequence, one behind the other.
    pub lengths: &'a [usize],
    /// What the kernels may use.
    pub kernels: &'a KernelConfig,
}

/// Attention and MLP, each behind an RMS norm and beside a residual.
#[derive(Module, Debug)]
pub struct DecoderLayer<B: Backend> {
    /// Before the attention.
    pub input_layernorm: RmsNorm<B>,
    /// Between tokens.
    pub self_attn: TextAttention<B>,
    /// Before the MLP.
    pub post_attention_layernorm: RmsNorm<B>,
    /// For each token alone.
    pub mlp: Mlp<B>,
}

impl<B: Backend> DecoderLayer<B> {
    pub(crate) fn new(config: &TextConfig, layer: usize, device: &B::Device) -> Self {
        let norm = RmsNormConfig::new(config.hidden_size).with_epsilon(config.rms_norm_eps);
        Self {
            input_layernorm: norm.init(device),
            self_attn: TextAttention::new(config, device),
            post_attention_layernorm: norm.init(device),
            mlp: Mlp::new(config, layer, device),
        }
    }
}

impl<B: FusedOps> DecoderLayer<B> {
    /// Runs the layer. With caches, one for each sequence, their tokens come before those of `x`.
    ///
    /// # Shapes
    /// `x` and output `[1, length, hidden]`.
    pub fn forward(
        &self,
        x: Tensor<B, 3>,
        context: &LayerContext<'_, B>,
        caches: Vec<&mut KvCache<B>>,
    ) -> Tensor<B, 3> {
        let config = context.kernels;
        let mixed = self.self_attn.forward(x.clone(), &self.input_layernorm, context, caches);
        self.mlp.forward(mixed, x, &self.post_attention_layernorm, config)
    }
}
