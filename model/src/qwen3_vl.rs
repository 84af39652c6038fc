//! The model: vision tower, text decoder and head.

use crate::Result;
use crate::config::Qwen3VlConfig;
use crate::inputs::ModelInputs;
use crate::layers::{DropoutPass, Linear, LinearConfig};
use crate::prepared::PreparedPrompt;
use crate::processor::Grid;
use crate::streaming::{StreamReport, StreamedWeights};
use crate::text::{Cache, DecoderInputs, RouterLogits, TextModel, VisualRows};
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
    /// In which pass the dropout of its adapters is.
    #[module(skip)]
    dropout_pass: DropoutPass,
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
            dropout_pass: DropoutPass::default(),
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

    /// Changes in what keys and values are kept: f32, bf16 or f16, as the backend supports. The vision tower, which
    /// keeps none, may round its own to the same type while it computes.
    pub fn with_cache_dtype(mut self, dtype: DType) -> Self {
        self.cache_dtype = dtype;
        self.visual.kv_dtype = dtype;
        self
    }

    /// In which pass the dropout of its adapters is: [`DropoutPass::begin`] starts one. Without, nothing is dropped.
    pub fn dropout_pass(&self) -> &DropoutPass {
        &self.dropout_pass
    }

    pub(crate) fn set_dropout_pass(&mut self, pass: DropoutPass) {
        self.dropout_pass = pass;
    }

    /// How a model with a [memory limit](crate::LoadOptions::with_memory_limit) gets on; `None` where all weights are
    /// in memory.
    pub fn streaming(&self) -> Option<StreamReport> {
        self.stream().map(|stream| stream.report())
    }

    pub(crate) fn stream(&self) -> Option<&Arc<StreamedWeights>> {
        self.language_model.stream.as_ref()
    }

    /// Gives it the weights that are not in its module.
    pub(crate) fn set_stream(&mut self, stream: &Arc<StreamedWeights>) {
        self.language_model.stream = Some(stream.clone());
        self.visual.stream = Some(stream.clone());
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
    /// As [`ModelInputs::validate`] and [`Qwen3Vl::prefill`].
    pub fn forward(&self, inputs: &ModelInputs, logits: Logits) -> Result<Tensor<B, 3>> {
        self.prefill(vec![self.prepare(inputs)?], &mut [], logits)
    }

    /// Runs the decoder over prompts of any lengths, side by side and without padding, and the head over the positions
    /// asked for. Each prompt gets what it would get alone, to rounding. Caches, one for each prompt, take their keys
    /// and values.
    ///
    /// # Shapes
    /// Output `[prompts, 1, vocab_size]` for [`Logits::Last`]; `[1, length, vocab_size]`, the rows of all prompts
    /// behind each other, for [`Logits::All`].
    ///
    /// # Errors
    /// [`Error::Streaming`](crate::Error::Streaming) where weights are not in memory and cannot be read. Caches may
    /// have tokens in some of their layers then.
    ///
    /// # Panics
    /// Without a prompt, or when there are caches, but not one for each prompt or one without room for it.
    pub fn prefill(
        &self,
        prompts: Vec<PreparedPrompt<B>>,
        caches: &mut [&mut Cache<B>],
        logits: Logits,
    ) -> Result<Tensor<B, 3>> {
        self.on_stream(|| {
            let inputs = PreparedPrompt::join(prompts);
            let lengths = inputs.lengths.clone();
            let hidden = self.run_decoder(inputs, caches)?;
            match logits {
                Logits::Last => self.project(take_last(hidden, &lengths)),
                Logits::All => self.project(hidden),
            }
        })
    }

    /// Runs the decoder over prompts side by side, without a cache.
    ///
    /// # Shapes
    /// Output `[1, length, hidden]`, the rows of all prompts behind each other, before the final norm.
    ///
    /// # Errors
    /// As [`Qwen3Vl::prefill`].
    ///
    /// # Panics
    /// Without a prompt.
    pub fn run(&self, prompts: Vec<PreparedPrompt<B>>) -> Result<Tensor<B, 3>> {
        self.on_stream(|| self.run_decoder(PreparedPrompt::join(prompts), &mut []))
    }

    /// What the routers of a mixture of experts say of each token of a prompt, layer by layer; nothing for a dense
    /// model. It runs the decoder, and its attention twice.
    ///
    /// # Errors
    /// As [`Qwen3Vl::forward`].
    pub fn route(&self, inputs: &ModelInputs) -> Result<Vec<RouterLogits<B>>> {
        let prompt = self.prepare(inputs)?;
        self.on_stream(|| self.run_pass(|| self.language_model.route(prompt.inputs, &self.kernels)))
    }

    /// Runs the decoder over one token of each of several sequences. Token `i` follows those in `caches[i]`, at
    /// position `tokens[i].1` on all three axes.
    ///
    /// # Shapes
    /// Output `[tokens, 1, vocab_size]`.
    ///
    /// # Errors
    /// As [`Qwen3Vl::prefill`].
    ///
    /// # Panics
    /// Without a token, when there isn't one cache for each, or when one is full.
    pub fn decode(&self, tokens: &[(u32, i64)], caches: &mut [&mut Cache<B>]) -> Result<Tensor<B, 3>> {
        assert_eq!(tokens.len(), caches.len(), "one cache for each token");
        let (ids, positions): (Vec<u32>, Vec<i64>) = tokens.iter().copied().unzip();
        self.on_stream(|| {
            let inputs = DecoderInputs {
                rows: self.embed(&ids)?,
                lengths: vec![1; ids.len()],
                positions: [positions.clone(), positions.clone(), positions],
                visual: VisualRows::default(),
                deepstack: Vec::new(),
            };
            let hidden = self.run_decoder(inputs, caches)?;
            self.project(hidden.swap_dims(0, 1))
        })
    }

    /// The output head's weight, `[vocab_size, hidden]`; without rows where it is [streamed](crate::streaming).
    pub fn head(&self) -> Weight<B> {
        match &self.lm_head {
            Some(head) => head.weight(),
            None => self.language_model.embed_tokens.weight(),
        }
    }

    /// Final norm and head.
    ///
    /// # Shapes
    /// `hidden` `[batch, length, hidden]`, output `[batch, length, vocab_size]`.
    ///
    /// # Errors
    /// As [`Qwen3Vl::prefill`].
    pub fn project(&self, hidden: Tensor<B, 3>) -> Result<Tensor<B, 3>> {
        let norm = self.language_model.norm.norm();
        self.run_pass(|| match self.stream().filter(|stream| stream.streams_head()) {
            None => Ok(B::norm_linear(hidden, &norm, &self.head(), None, &self.kernels)),
            Some(stream) => {
                let mut logits = Vec::new();
                stream.for_each_head_piece(&self.device(), |piece| {
                    logits.push(B::norm_linear(hidden.clone(), &norm, &Weight::Plain(piece), None, &self.kernels));
                })?;
                Ok(if logits.len() == 1 { logits.remove(0) } else { Tensor::cat(logits, 2) })
            }
        })
    }

    /// # Shapes
    /// Output `[1, length, hidden]`.
    pub(crate) fn embed(&self, ids: &[u32]) -> Result<Tensor<B, 3>> {
        self.run_pass(|| {
            let rows = self.stream().map_or(Ok(None), |stream| stream.embed(ids, &self.device(), &self.kernels))?;
            Ok(rows.unwrap_or_else(|| {
                let data: Vec<i64> = ids.iter().map(|&id| i64::from(id)).collect();
                let ids = Tensor::<B, 2, Int>::from_data(TensorData::new(data, [1, ids.len()]), &self.device());
                self.language_model.embed(ids, &self.kernels)
            }))
        })
    }

    /// All layers, their plain Burn ops under the model's configuration too.
    fn run_decoder(&self, inputs: DecoderInputs<B>, caches: &mut [&mut Cache<B>]) -> Result<Tensor<B, 3>> {
        self.run_pass(|| self.language_model.forward(inputs, caches, &self.kernels))
    }

    /// The vision tower, its plain Burn ops under the model's configuration too.
    pub(crate) fn run_tower(&self, patches: Tensor<B, 2>, grids: &[Grid]) -> Result<VisionOutput<B>> {
        self.run_pass(|| self.visual.forward(patches, grids, &self.kernels))
    }

    /// Runs a pass with plain Burn ops under the model's configuration, and on a card whose memory is limited, alone.
    fn run_pass<T>(&self, pass: impl FnOnce() -> T) -> T {
        let pass = || B::scope(&self.kernels, pass);
        match self.stream() {
            Some(stream) => stream.run_pass(pass),
            None => pass(),
        }
    }

    /// Runs passes and what makes their inputs on the stream of work of weights that a card gets.
    pub(crate) fn on_stream<T>(&self, work: impl FnOnce() -> T) -> T {
        match self.stream() {
            Some(stream) => stream.on_stream(work),
            None => work(),
        }
    }
}

/// The last row of each sequence.
///
/// # Shapes
/// `hidden` `[1, length, hidden]`, output `[sequences, 1, hidden]`.
fn take_last<B: Backend>(hidden: Tensor<B, 3>, lengths: &[usize]) -> Tensor<B, 3> {
    let mut end = 0;
    let rows = lengths.iter().map(|length| {
        end += length;
        hidden.clone().narrow(1, end - 1, 1)
    });
    Tensor::cat(rows.collect(), 0)
}
