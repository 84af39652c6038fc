//! The model: vision tower, text decoder and head.

use crate::Result;
use crate::config::Qwen3VlConfig;
use crate::inputs::ModelInputs;
use crate::layers::{Linear, LinearConfig};
use crate::positions::Positions;
use crate::processor::ProcessedImages;
use crate::text::{Cache, DecoderInputs, Features, TextModel, VisualRows, list_text_positions};
use crate::vision::{VisionModel, VisionOutput};
use burn::module::Module;
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Int, Tensor, TensorData};
use burn_kiln_fusion::{FusedOps, KernelConfig, Weight};
use std::sync::Arc;

/// Qwen3-VL, dense or with experts.
///
/// ```no_run
/// use burn_flex::Flex;
/// use qwen3_vl_burn::generate::{GenerateOptions, generate};
/// use qwen3_vl_burn::{LoadOptions, ModelInputs, Qwen3Vl};
///
/// let model = Qwen3Vl::<Flex>::load("Qwen3-VL-2B-Instruct", &Default::default(), LoadOptions::default())?;
/// let prompt = ModelInputs::from_text(vec![9707, 11]);
/// let answer = generate(&model, &prompt, &GenerateOptions::new(16))?;
/// println!("{:?}", answer.tokens);
/// # Ok::<(), qwen3_vl_burn::Error>(())
/// ```
#[derive(Module, Debug)]
pub struct Qwen3Vl<B: Backend> {
    /// Patches to features.
    pub visual: VisionModel<B>,
    /// Token ids and features to hidden rows.
    pub language_model: TextModel<B>,
    /// Hidden rows to logits; `None` where the token embedding serves.
    pub lm_head: Option<Linear<B>>,
    /// The sizes it was made with.
    #[module(skip)]
    config: Arc<Qwen3VlConfig>,
    /// What its kernels may use.
    #[module(skip)]
    kernels: Arc<KernelConfig>,
    /// In what keys and values are kept.
    #[module(skip)]
    cache_dtype: DType,
}

/// The positions of a prompt whose logits are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Logits {
    /// The last one: what comes next.
    #[default]
    Last,
    /// All of them.
    All,
}

/// A prompt that has been through the vision tower and the token embedding.
#[derive(Debug, Clone)]
pub struct PreparedPrompt<B: Backend> {
    inputs: DecoderInputs<B>,
    positions: Positions,
}

impl<B: Backend> PreparedPrompt<B> {
    /// Tokens of the prompt.
    pub fn len(&self) -> usize {
        self.inputs.rows.dims()[1]
    }

    /// Always false: an empty prompt is an error.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The positions of its tokens, and how those of generated tokens go on.
    pub fn positions(&self) -> &Positions {
        &self.positions
    }
}

impl Qwen3VlConfig {
    /// A model whose parameters are lazy: nothing is allocated before they are read or loaded. `self` must be valid
    /// ([`Qwen3VlConfig::validate`]).
    pub fn init<B: Backend>(&self, device: &B::Device) -> Qwen3Vl<B> {
        let text = &self.text;
        let head = LinearConfig::new(text.hidden_size, text.vocab_size);
        Qwen3Vl {
            visual: self.vision.init(device),
            language_model: text.init(device),
            lm_head: (!text.tie_word_embeddings).then(|| head.init(device)),
            config: Arc::new(self.clone()),
            kernels: Arc::new(KernelConfig::default()),
            cache_dtype: DType::F32,
        }
    }
}

impl<B: Backend> Qwen3Vl<B> {
    /// The sizes it was made with.
    pub fn config(&self) -> &Qwen3VlConfig {
        &self.config
    }

    /// Where its weights are.
    pub fn device(&self) -> B::Device {
        self.language_model.norm.weight.lazy_device()
    }

    /// What its kernels may use.
    pub fn kernel_config(&self) -> &KernelConfig {
        &self.kernels
    }

    /// Changes what its kernels may use.
    pub fn with_kernel_config(mut self, kernels: KernelConfig) -> Self {
        self.kernels = Arc::new(kernels);
        self
    }

    /// In what keys and values are kept: f32, or bf16 for a model loaded in bf16.
    pub fn cache_dtype(&self) -> DType {
        self.cache_dtype
    }

    /// Changes in what keys and values are kept: f32, bf16 or f16, as the backend supports.
    pub fn with_cache_dtype(mut self, dtype: DType) -> Self {
        self.cache_dtype = dtype;
        self
    }

    /// An empty cache for `capacity` tokens.
    pub fn new_cache(&self, capacity: usize) -> Cache<B> {
        Cache::new(&self.config.text, capacity, self.cache_dtype)
    }
}

impl<B: FusedOps> Qwen3Vl<B> {
    /// Logits of a prompt, without a cache.
    ///
    /// # Shapes
    /// Output `[1, 1 or length, vocab_size]`.
    ///
    /// # Errors
    /// As [`ModelInputs::validate`].
    pub fn forward(&self, inputs: &ModelInputs, logits: Logits) -> Result<Tensor<B, 3>> {
        Ok(self.prefill(self.prepare(inputs)?, None, logits))
    }

    /// Checks a prompt, encodes its pictures and videos, and embeds its tokens.
    ///
    /// # Errors
    /// As [`ModelInputs::validate`].
    pub fn prepare(&self, inputs: &ModelInputs) -> Result<PreparedPrompt<B>> {
        let layout = inputs.validate(&self.config)?;
        let visual = VisualRows::find(&layout.modalities);
        let (features, deepstack) = Features::split(self.encode(&inputs.images), self.encode(&inputs.videos));
        let rows = visual.replace(self.embed(&inputs.input_ids), &features);
        let positions = layout.positions;
        let inputs = DecoderInputs { rows, positions: positions.ids.clone(), visual, deepstack };
        Ok(PreparedPrompt { inputs, positions })
    }

    /// Runs the vision tower; `None` without a picture. The pixel values must fit the grids.
    pub fn encode(&self, pictures: &ProcessedImages) -> Option<VisionOutput<B>> {
        if pictures.grids.is_empty() {
            return None;
        }
        let width = self.config.vision.patch_dim();
        let shape = [pictures.pixel_values.len() / width, width];
        let patches = TensorData::new(pictures.pixel_values.clone(), shape);
        let patches = Tensor::from_data(patches, &self.device());
        Some(self.visual.forward(patches, &pictures.grids, &self.kernels))
    }

    /// Runs the decoder over a prompt and the head over the positions asked for. An empty cache takes the prompt's keys and
    /// values.
    ///
    /// # Shapes
    /// Output `[1, 1 or length, vocab_size]`.
    ///
    /// # Panics
    /// When the cache has no room for the prompt.
    pub fn prefill(&self, prompt: PreparedPrompt<B>, cache: Option<&mut Cache<B>>, logits: Logits) -> Tensor<B, 3> {
        self.project(self.run(prompt, cache), logits)
    }

    /// Runs the decoder over a prompt. An empty cache takes the prompt's keys and values.
    ///
    /// # Shapes
    /// Output `[1, length, hidden]`, before the final norm.
    ///
    /// # Panics
    /// When the cache has no room for the prompt.
    pub fn run(&self, prompt: PreparedPrompt<B>, cache: Option<&mut Cache<B>>) -> Tensor<B, 3> {
        self.language_model.forward(prompt.inputs, cache, &self.kernels)
    }

    /// Runs the decoder over one token that follows those in the cache, at `position` on all three axes.
    ///
    /// # Shapes
    /// Output `[1, 1, vocab_size]`.
    ///
    /// # Panics
    /// When the cache is full.
    pub fn decode(&self, token: u32, position: i64, cache: &mut Cache<B>) -> Tensor<B, 3> {
        let inputs = DecoderInputs {
            rows: self.embed(&[token]),
            positions: list_text_positions(position, 1),
            visual: VisualRows::default(),
            deepstack: Vec::new(),
        };
        let hidden = self.language_model.forward(inputs, Some(cache), &self.kernels);
        self.project(hidden, Logits::Last)
    }

    /// Appends tokens to a prepared prompt: what computing without a cache needs.
    pub fn extend(&self, prompt: &PreparedPrompt<B>, tokens: &[u32]) -> PreparedPrompt<B> {
        let mut extended = prompt.clone();
        if tokens.is_empty() {
            return extended;
        }
        let start = prompt.len() as i64 + prompt.positions.rope_delta;
        let added = list_text_positions(start, tokens.len());
        for (axis, added) in extended.inputs.positions.iter_mut().zip(&added) {
            axis.extend(added);
        }
        extended.positions.ids = extended.inputs.positions.clone();
        extended.inputs.rows = Tensor::cat(vec![extended.inputs.rows, self.embed(tokens)], 1);
        extended
    }

    /// The output head's weight, `[vocab_size, hidden]`.
    pub fn head(&self) -> Weight<B> {
        match &self.lm_head {
            Some(head) => head.weight(),
            None => self.language_model.embed_tokens.weight(),
        }
    }

    /// Final norm and head.
    ///
    /// # Shapes
    /// `hidden` `[batch, length, hidden]`, output `[batch, 1 or length, vocab_size]`.
    pub fn project(&self, hidden: Tensor<B, 3>, logits: Logits) -> Tensor<B, 3> {
        let length = hidden.dims()[1];
        let hidden = match logits {
            Logits::Last => hidden.narrow(1, length - 1, 1),
            Logits::All => hidden,
        };
        B::norm_linear(hidden, &self.language_model.norm.norm(), &self.head(), None, &self.kernels)
    }

    /// # Shapes
    /// Output `[1, length, hidden]`.
    fn embed(&self, ids: &[u32]) -> Tensor<B, 3> {
        let data: Vec<i64> = ids.iter().map(|&id| i64::from(id)).collect();
        let ids = Tensor::<B, 2, Int>::from_data(TensorData::new(data, [1, ids.len()]), &self.device());
        self.language_model.embed(ids, &self.kernels)
    }
}
