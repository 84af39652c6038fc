//! One decoder layer.

use super::{LayerContext, Mlp, RouterLogits, TextAttention};
use crate::config::TextConfig;
use crate::layers::{RmsNorm, RmsNormConfig};
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use burn_kiln_fusion::{AddNorm, Epilogue, FusedOps, KvCache};

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

    /// What the router of this layer, number `layer`, says of the rows `x`; `None` where there is no router.
    ///
    /// # Shapes
    /// `x` `[1, length, hidden]`, as [`DecoderLayer::forward`] takes it without a cache.
    pub(super) fn route(
        &self,
        layer: usize,
        x: &Tensor<B, 3>,
        context: &LayerContext<'_, B>,
    ) -> Option<RouterLogits<B>> {
        let Mlp::Sparse(mlp) = &self.mlp else { return None };
        let (norm, config) = (&self.post_attention_layernorm, context.kernels);
        let mixed = self.self_attn.forward(x.clone(), &self.input_layernorm, context, Vec::new());
        let AddNorm { normed, .. } = B::add_norm(mixed, x.clone(), norm.weight.val(), norm.epsilon, config);
        let [batch, length, hidden] = normed.dims();
        let rows = normed.reshape([batch * length, hidden]);
        let logits = <B as FusedOps>::linear(rows, &mlp.gate.weight(), Epilogue::default(), config);
        Some(RouterLogits { layer, top_k: mlp.options.top_k, logits })
    }
}
