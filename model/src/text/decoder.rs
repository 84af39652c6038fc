//! All decoder layers.

use super::{Cache, DecoderLayer, LayerContext, MultimodalRotary, RouterLogits, VisualRows};
use crate::Result;
use crate::config::TextConfig;
use crate::layers::{Embedding, EmbeddingConfig, RmsNorm, RmsNormConfig};
use crate::streaming::{PartKind, StreamedWeights, Use};
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
    /// The layers that are not in `layers`, and the table where `embed_tokens` has no rows.
    #[module(skip)]
    pub(crate) stream: Option<Arc<StreamedWeights>>,
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
            stream: None,
        }
    }
}

/// The rows that a forward pass starts from: one sequence, or several of any lengths behind each other. No row is
/// padding: only the attention tells sequences apart.
#[derive(Debug, Clone)]
pub struct DecoderInputs<B: Backend> {
    /// `[1, length, hidden]`, the rows of all sequences, visual ones put in.
    pub rows: Tensor<B, 3>,
    /// Rows of each sequence; their sum is `length`.
    pub lengths: Vec<usize>,
    /// Positions along time, height and width, `[length]` each.
    pub positions: [Vec<i64>; 3],
    /// Where DeepStack features are added.
    pub visual: VisualRows,
    /// Features of all visual rows, `[visual rows, hidden]`; feature `i` is added after layer `i`.
    pub deepstack: Vec<Tensor<B, 2>>,
}

impl<B: Backend> TextModel<B> {
    /// Number of layers, in memory or not.
    fn depth(&self) -> usize {
        if self.stream.is_some() { self.config.num_hidden_layers } else { self.layers.len() }
    }

    /// Layer `index`, read where it is not in memory.
    fn layer(&self, index: usize, device: &B::Device) -> Result<Use<'_, DecoderLayer<B>>> {
        let Some(stream) = &self.stream else { return Ok(Use::Pinned(&self.layers[index])) };
        stream.part(PartKind::Layer(index), &self.layers, device)
    }

    /// Leaves the table no rows.
    pub(crate) fn hollow_table(&mut self, device: &B::Device) {
        self.embed_tokens = EmbeddingConfig::new(0, self.config.hidden_size).init(device);
    }
}

impl<B: FusedOps> TextModel<B> {
    /// The embeddings of token ids, where the table is in memory.
    ///
    /// # Shapes
    /// `ids` `[batch, length]`, output `[batch, length, hidden]`.
    pub fn embed(&self, ids: Tensor<B, 2, Int>, config: &KernelConfig) -> Tensor<B, 3> {
        self.embed_tokens.forward(ids, config)
    }

    /// Runs all layers. With caches, one for each sequence, their tokens come before those given, and they have them
    /// afterwards.
    ///
    /// # Shapes
    /// Output `[1, length, hidden]`, before the final norm.
    ///
    /// # Errors
    /// [`Error::Streaming`](crate::Error::Streaming) where a layer is not in memory and cannot be read.
    ///
    /// # Panics
    /// When there are caches, but not one for each sequence, or one has no room: check [`Cache::capacity`].
    pub fn forward(
        &self,
        inputs: DecoderInputs<B>,
        caches: &mut [&mut Cache<B>],
        config: &KernelConfig,
    ) -> Result<Tensor<B, 3>> {
        self.run(inputs, caches, config, |_, _, _, _| {})
    }

    /// What the routers of all layers that have one say of these rows.
    ///
    /// # Errors
    /// As [`TextModel::forward`].
    pub(crate) fn route(&self, inputs: DecoderInputs<B>, config: &KernelConfig) -> Result<Vec<RouterLogits<B>>> {
        let mut routed = Vec::new();
        self.run(inputs, &mut [], config, |index, layer, x, context| routed.extend(layer.route(index, x, context)))?;
        Ok(routed)
    }

    /// Runs all layers; `look` sees each of them, and its input, before it runs.
    fn run(
        &self,
        inputs: DecoderInputs<B>,
        caches: &mut [&mut Cache<B>],
        config: &KernelConfig,
        mut look: impl FnMut(usize, &DecoderLayer<B>, &Tensor<B, 3>, &LayerContext<'_, B>),
    ) -> Result<Tensor<B, 3>> {
        let DecoderInputs { rows: mut x, lengths, positions, visual, deepstack } = inputs;
        assert!(caches.is_empty() || caches.len() == lengths.len(), "one cache for each sequence");
        let device = x.device();
        let rotary = self.rotary.forward(&positions, &lengths, &device);
        let attention = AttentionOptions { causal: true, ..Default::default() };
        let context = LayerContext { rotary: &rotary, attention: &attention, lengths: &lengths, kernels: config };
        for index in 0..self.depth() {
            let layer = self.layer(index, &device)?;
            look(index, &layer, &x, &context);
            x = layer.forward(x, &context, caches.iter_mut().map(|cache| cache.layer(index)).collect());
            self.stream.as_ref().map_or(Ok(()), |stream| stream.check_experts())?;
            if let Some(features) = deepstack.get(index) {
                x = visual.add(x, features);
            }
        }
        Ok(x)
    }
}
