//! A model out of a checkpoint.
//!
//! The configuration is read and validated, every name and shape of the checkpoint compared with what it needs, a model
//! of lazy parameters made, and each parameter given its tensor: one at a time, and, where the backend takes the mapped
//! bytes as they are, without a copy.

use crate::checkpoint::{
    Adapter, AdapterError, Checkpoint, EMBEDDING, ExpectedTensor, LoadProgress, LoadStep, NoProgress, expected_tensors,
    find_adapter,
};
use crate::config::Qwen3VlConfig;
use crate::fill::WeightSource;
use crate::streaming::Limits;
use crate::{Qwen3Vl, Result};
use burn::tensor::DType;
use burn_kiln::OptimizationConfig;
use burn_kiln_fusion::FusedOps;
use kiln_kernels::prefetch::Keep;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a checkpoint is loaded.
pub struct LoadOptions<'a> {
    /// In what weight matrices are held: f32, bf16 or f16; `None`, as they are stored (FP8 as bf16). Norms and biases
    /// are always f32: they are few, and are used as f32.
    pub dtype: Option<DType>,
    /// Is told of every tensor.
    pub progress: Box<dyn LoadProgress + 'a>,
    /// The most bytes that weights may take in memory. Where they take more, layers are read from the checkpoint ahead
    /// of their use, at each pass, and let go of after it. `None` keeps all of them.
    pub memory_limit: Option<u64>,
    /// The most bytes that weights may take of a card's memory. Where they take more, layers stay in the mapped
    /// checkpoint and are sent to the card ahead of their use, at each pass. `None` puts all of them there.
    pub gpu_memory: Option<u64>,
    /// Whether layers that are not kept are read, or sent to the card, ahead of their use: `streaming.read_ahead` of a
    /// configuration ([`LoadOptions::with_config`]). Off, whoever asks for one waits for its read.
    pub read_ahead: bool,
    /// What is kept of the layers that were used; the default, unless it is compared with something.
    pub keep: Keep,
    /// Folder of a PEFT adapter that is merged into the weights; see [`crate::checkpoint::Adapter`].
    pub adapter: Option<PathBuf>,
}

impl Default for LoadOptions<'_> {
    fn default() -> Self {
        Self {
            dtype: None,
            progress: Box::new(NoProgress),
            memory_limit: None,
            gpu_memory: None,
            read_ahead: true,
            keep: Keep::default(),
            adapter: None,
        }
    }
}

impl<'a> LoadOptions<'a> {
    /// Weight matrices in `dtype`.
    pub fn with_dtype(mut self, dtype: DType) -> Self {
        self.dtype = Some(dtype);
        self
    }

    /// At most `bytes` of weights in memory; see [`crate::streaming`].
    pub fn with_memory_limit(mut self, bytes: u64) -> Self {
        self.memory_limit = Some(bytes);
        self
    }

    /// At most `bytes` of weights on a card; see [`crate::streaming`].
    pub fn with_gpu_memory(mut self, bytes: u64) -> Self {
        self.gpu_memory = Some(bytes);
        self
    }

    /// Merges the PEFT adapter in the folder `dir` into the weights as they are loaded: `W + s·B·A` in f32, rounded
    /// once to what the weight is held in. The model is then as fast as without it.
    pub fn with_adapter(mut self, dir: impl Into<PathBuf>) -> Self {
        self.adapter = Some(dir.into());
        self
    }

    /// What `config` says of loading: its limits of host memory and of a card's, and whether reads go ahead of use. The
    /// limit of a card is for backends of cards.
    pub fn with_config(mut self, config: &OptimizationConfig) -> Self {
        self.memory_limit = config.streaming.memory_limit.map(|limit| limit.as_u64());
        self.gpu_memory = config.gpu.memory_limit.map(|limit| limit.as_u64());
        self.read_ahead = config.streaming.read_ahead;
        self
    }

    /// Tells `progress` of every tensor.
    pub fn with_progress(mut self, progress: impl LoadProgress + 'a) -> Self {
        self.progress = Box::new(progress);
        self
    }
}

impl<B: FusedOps> Qwen3Vl<B> {
    /// Loads the checkpoint in the folder `dir`: `config.json` and `model.safetensors`, or its shards.
    ///
    /// FP8 weights are dequantised, one tensor at a time, to bf16 unless the options ask for another dtype. Where the
    /// configuration ties the head to the embedding and the checkpoint nevertheless has a head of its own that differs,
    /// that head is used, with a warning, as in HF. Names and layouts of experts that other tools and versions of HF
    /// write are read ([`Checkpoint::arranged_for`]), and surplus tensors passed over ([`Checkpoint::check`]).
    ///
    /// # Errors
    /// [`AdapterError`] of an adapter; [`ConfigError`](crate::config::ConfigError) and
    /// [`CheckpointError`](crate::checkpoint::CheckpointError); among
    /// the latter `BackendDtype` for a dtype that the backend has not. With a memory limit,
    /// [`PrefetchError`](kiln_kernels::prefetch::PrefetchError) where it is too small, saying what would do; with a
    /// limit of a card's, [`CardError`](crate::streaming::CardError) too.
    pub fn load(dir: impl AsRef<Path>, device: &B::Device, options: LoadOptions<'_>) -> Result<Self> {
        if find_adapter(dir.as_ref())? && options.adapter.is_none() {
            // HF would load it on top.
            let dir = dir.as_ref().display();
            tracing::warn!(%dir, "the folder has a PEFT adapter too: it is not loaded, unless it is given as one (--adapter)");
        }
        let config = Qwen3VlConfig::from_dir(dir.as_ref())?;
        let checkpoint = Checkpoint::open(dir)?;
        Self::load_checkpoint(&config, &checkpoint, device, options)
    }

    /// Loads an opened checkpoint. Tensors that are the mapping itself keep it alive.
    ///
    /// # Errors
    /// As [`Qwen3Vl::load`].
    pub fn load_checkpoint(
        config: &Qwen3VlConfig,
        checkpoint: &Checkpoint,
        device: &B::Device,
        options: LoadOptions<'_>,
    ) -> Result<Self> {
        config.validate()?;
        let mut config = config.clone();
        // In memory the weights are what they are dequantised to.
        let checkpoint = checkpoint.clone().with_quantization(config.quantization.take()).arranged_for(&config)?;
        checkpoint.untie_distinct_head(&mut config)?;
        let expected = expected_tensors(&config);
        checkpoint.check(&expected)?;
        let checkpoint = match &options.adapter {
            Some(dir) => checkpoint.with_adapter(open_adapter(dir, &expected, &options)?),
            None => checkpoint,
        };
        let total = expected.iter().map(|tensor| checkpoint.stored_len(&tensor.name)).sum::<Result<u64>>()?;
        let LoadOptions { dtype, mut progress, memory_limit, gpu_memory, read_ahead, keep, .. } = options;
        let mut done = 0;
        let mut tell = |name: &str| {
            done += checkpoint.stored_len(name)?;
            progress.advance(LoadStep { done, total, tensor: name });
            Ok(())
        };
        let source = WeightSource { checkpoint: &checkpoint, bytes: &checkpoint, dtype, config: &config };
        let cache_dtype = match dtype.map_or_else(|| checkpoint.dtype(EMBEDDING), Ok)? {
            DType::BF16 => DType::BF16,
            _ => DType::F32,
        };
        let limits = Limits { memory: memory_limit, card: gpu_memory, read_ahead, keep };
        let model = match crate::streaming::load(&source, limits, device, &mut tell)? {
            Some(model) => model,
            None => source.fill(config.init::<B>(device), "", device, &mut tell)?,
        };
        Ok(model.with_cache_dtype(cache_dtype))
    }
}

/// The adapter in `dir`, for a model of these tensors.
fn open_adapter(dir: &Path, expected: &[ExpectedTensor], options: &LoadOptions<'_>) -> Result<Arc<Adapter>> {
    let adapter = Adapter::open(dir)?;
    adapter.check(expected)?;
    // Its rows may be read from the files.
    let limited = options.memory_limit.is_some() || options.gpu_memory.is_some();
    if limited && adapter.pair("lm_head").is_some() {
        return Err(AdapterError::LimitedHead { dir: dir.to_owned() }.into());
    }
    Ok(Arc::new(adapter))
}
