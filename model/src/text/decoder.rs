//! All decoder layers.

use super::{Cache, DecoderLayer, Features, LayerContext, MultimodalRotary, VisualRows};
use crate::config::TextConfig;
use crate::layers::{Embedding, EmbeddingConfig, RmsNorm, RmsNormConfig};
use burn::module::Module;
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor};
use burn_kiln_fusion::{AttentionOptions, FusedOps, KernelConfig};
use std::sync::Arc;

/// The text decoder without its head.
#[derive(Module, Debug)]
pub struct TextModel<B: Backend> {
    /// A row for each token id; the output head too, where the two are tied.
    pub embed_tokens: Embedding<B>,
    /// Decoder layers.
    pub layers: Vec<DecoderLayer<B>>,
    /// Before the head.
    pub norm: RmsNorm<B>,
    /// Angles of positions.
    #[module(skip)]
    pub rotary: MultimodalRotary,
    /// The sizes it was made with.
    #[module(skip)]
    pub config: Arc<TextConfig>,
}

impl TextConfig {
    /// A decoder whose parameters are lazy.
    pub fn init<B: Backend>(&self, device: &B::Device) -> TextModel<B> {
        TextModel {
            embed_tokens: EmbeddingConfig::new(self.vocab_size, self.hidden_size).init(device),
            layers: (0..self.num_hidden_layers).map(|layer| DecoderLayer::new(self, layer, device)).collect(),
            norm: RmsNormConfig::new(self.hidden_size).with_epsilon(self.rms_norm_eps).init(device),
            rotary: MultimodalRotary::new(self),
            config: Arc::new(self.clone()),
        }
    }
}

/// The rows that a forward pass starts from.
#[derive(Debug, Clone)]
pub struct DecoderInputs<B: Backend> {
    /// `[batch, length, hidden]`, visual rows put in.
    pub rows: Tensor<B, 3>,
    /// Positions along time, height and width, `[length]` each, the same for the whole batch.
    pub positions: [Vec<i64>; 3],
    /// Where DeepStack features are added.
    pub visual: VisualRows,
    /// Feature `i` is added after layer `i`.
    pub deepstack: Vec<Features<B>>,
}

impl<B: FusedOps> TextModel<B> {
    /// The embeddings of token ids.
    ///
    /// # Shapes
    /// `ids` `[batch, length]`, output `[batch, length, hidden]`.
    pub fn embed(&self, ids: Tensor<B, 2, Int>, config: &KernelConfig) -> Tensor<B, 3> {
        self.embed_tokens.forward(ids, config)
    }

    /// Runs all layers. With a cache, its tokens come before those given, and it has them afterwards.
    ///
    /// # Shapes
    /// Output `[batch, length, hidden]`, before the final norm.
    ///
    /// # Panics
    /// When the cache has no room: check [`Cache::capacity`].
    pub fn forward(
        &self,
        inputs: DecoderInputs<B>,
        mut cache: Option<&mut Cache<B>>,
        config: &KernelConfig,
    ) -> Tensor<B, 3> {
        let DecoderInputs { rows: mut x, positions, visual, deepstack } = inputs;
        let rotary = self.rotary.forward(&positions, &x.device());
        let attention = AttentionOptions { causal: true, ..Default::default() };
        let context = LayerContext { rotary: &rotary, attention: &attention, kernels: config };
        for (index, layer) in self.layers.iter().enumerate() {
            x = layer.forward(x, &context, cache.as_deref_mut().map(|cache| cache.layer(index)));
            if let Some(features) = deepstack.get(index) {
                x = visual.add(x, features);
            }
        }
        x
    }
}
