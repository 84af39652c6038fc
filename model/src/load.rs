//! A model out of a checkpoint.
//!
//! The configuration is read and validated, every name and shape of the checkpoint compared with what it needs, a model of lazy
//! parameters made, and each parameter given its tensor: one at a time, and, where the backend takes the mapped bytes as they
//! are, without a copy.

use crate::checkpoint::{Checkpoint, EMBEDDING, LoadProgress, LoadStep, NoProgress, StoredBytes, expected_tensors};
use crate::config::Qwen3VlConfig;
use crate::streaming::Limits;
use crate::{Qwen3Vl, Result};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor};
use burn_kiln::OptimizationConfig;
use burn_kiln_fusion::FusedOps;
use kiln_kernels::prefetch::Keep;
use std::path::Path;

/// How a checkpoint is loaded.
pub struct LoadOptions<'a> {
    /// In what weight matrices are held: f32, bf16 or f16; `None`, as they are stored (FP8 as bf16). Norms and biases are always f32: they
    /// are few, and are used as f32.
    pub dtype: Option<DType>,
    /// Is told of every tensor.
    pub progress: Box<dyn LoadProgress + 'a>,
    /// The most bytes that weights may take in memory. Where they take more, layers are read from the checkpoint ahead of their use, at each
    /// pass, and let go of after it. `None` keeps all of them.
    pub memory_limit: Option<u64>,
    /// The most bytes that weights may take of a card's memory. Where they take more, layers stay in the mapped checkpoint and are sent to the
    /// card ahead of their use, at each pass. `None` puts all of them there.
    pub gpu_memory: Option<u64>,
    /// What is kept of the layers that were used; the default, unless it is compared with something.
    pub keep: Keep,
}

impl Default for LoadOptions<'_> {
    fn default() -> Self {
        Self {
            dtype: None,
            progress: Box::new(NoProgress),
            memory_limit: None,
            gpu_memory: None,
            keep: Keep::default(),
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

    /// What `config` says of loading: its limits of host memory and of a card's. The latter is for backends of cards.
    pub fn with_config(mut self, config: &OptimizationConfig) -> Self {
        self.memory_limit = config.streaming.memory_limit.map(|limit| limit.as_u64());
        self.gpu_memory = config.gpu.memory_limit.map(|limit| limit.as_u64());
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
    /// configuration ties the head to the embedding and the checkpoint nevertheless has a head of its own that differs, that head
    /// is used, with a warning, as in HF.
    ///
    /// # Errors
    /// [`ConfigError`](crate::config::ConfigError) and [`CheckpointError`](crate::checkpoint::CheckpointError); among the latter
    /// `BackendDtype` for a dtype that the backend has not. With a memory limit,
    /// [`PrefetchError`](kiln_kernels::prefetch::PrefetchError) where it is too small, saying what would do; with a limit of a card's,
    /// [`CardError`](crate::streaming::CardError) too.
    pub fn load(dir: impl AsRef<Path>, device: &B::Device, options: LoadOptions<'_>) -> Result<Self> {
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
        let checkpoint = checkpoint.clone().with_quantization(config.quantization.take());
        checkpoint.untie_distinct_head(&mut config)?;
        let expected = expected_tensors(&config);
        checkpoint.check(&expected)?;
        let total = expected.iter().map(|tensor| checkpoint.stored_len(&tensor.name)).sum::<Result<u64>>()?;
        let LoadOptions { dtype, mut progress, memory_limit, gpu_memory, keep } = options;
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
        let limits = Limits { memory: memory_limit, card: gpu_memory, keep };
        let model = match crate::streaming::load(&source, limits, device, &mut tell)? {
            Some(model) => model,
            None => source.fill(config.init::<B>(device), "", device, &mut tell)?,
        };
        Ok(model.with_cache_dtype(cache_dtype))
    }
}

/// Path of the one parameter that is held in another shape than it is stored in.
const PATCH_EMBED: &str = "visual.patch_embed.proj.weight";

/// The convolution's stored shape: `[hidden, channels, frames, side, side]`.
fn patch_shape(config: &Qwen3VlConfig) -> [usize; 5] {
    let vision = &config.vision;
    let side = vision.patch_size;
    [vision.hidden_size, vision.in_channels, vision.temporal_patch_size, side, side]
}

/// Where a parameter's path in the module differs from its name in the checkpoint, and why. All other parts are the same: the
/// fields carry HF's names.
const RENAMED: [(&str, &str, &str); 4] = [
    ("visual.", "model.visual.", "HF nests both towers in a base model, and puts the head beside it"),
    ("language_model.", "model.language_model.", "as above"),
    (".mlp.Dense.", ".mlp.", "Burn puts the variant of an enum into the path"),
    (".mlp.Sparse.", ".mlp.", "as above"),
];

/// The checkpoint's name of the parameter at `path`.
fn checkpoint_name(path: &str) -> String {
    RENAMED.iter().fold(path.to_owned(), |name, (module, stored, _reason)| {
        if module.starts_with('.') {
            name.replacen(module, stored, 1)
        } else {
            name.strip_prefix(module).map_or(name.clone(), |rest| format!("{stored}{rest}"))
        }
    })
}

/// Where a module's tensors come from.
pub(crate) struct WeightSource<'a> {
    pub(crate) checkpoint: &'a Checkpoint,
    /// Their bytes: the checkpoint's mapping, or what was read of it.
    pub(crate) bytes: &'a dyn StoredBytes,
    /// The wanted dtype of matrices; `None`, the stored one.
    pub(crate) dtype: Option<DType>,
    pub(crate) config: &'a Qwen3VlConfig,
}

impl WeightSource<'_> {
    /// Gives each parameter of `module`, which stands at `path` in the model, its tensor; `tell` hears of each. Parameters without an element
    /// are left alone.
    pub(crate) fn fill<B: Backend, M: Module<B>>(
        &self,
        module: M,
        path: &str,
        device: &B::Device,
        tell: &mut dyn FnMut(&str) -> Result<()>,
    ) -> Result<M> {
        let path = if path.is_empty() { Vec::new() } else { vec![path.to_owned()] };
        let mut filler = Filler::<B> { source: self, device, tell, path, outcome: Ok(()) };
        let module = module.map(&mut filler);
        filler.outcome.map(|()| module)
    }
}

/// The dtype that a tensor of `rank` dimensions is wanted in: norms and biases are always f32.
pub(crate) fn wanted_dtype(rank: usize, matrices: Option<DType>) -> Option<DType> {
    if rank == 1 { Some(DType::F32) } else { matrices }
}

/// Gives each parameter its tensor.
///
/// Never reads a parameter: reading a lazy one runs its initialiser. After an error the rest stays lazy.
struct Filler<'a, B: Backend> {
    source: &'a WeightSource<'a>,
    device: &'a B::Device,
    tell: &'a mut dyn FnMut(&str) -> Result<()>,
    path: Vec<String>,
    outcome: Result<()>,
}

impl<B: Backend> Filler<'_, B> {
    /// The tensor of the parameter at `path`, of shape `shape`.
    fn read<const D: usize>(&mut self, path: &str, shape: [usize; D]) -> Result<Tensor<B, D>> {
        let WeightSource { checkpoint, bytes, dtype, config } = self.source;
        let name = checkpoint_name(path);
        let dtype = wanted_dtype(D, *dtype);
        let tensor = if path == PATCH_EMBED {
            let stored = patch_shape(config);
            checkpoint.tensor_from::<B, 5>(*bytes, &name, stored, dtype, self.device)?.reshape(shape)
        } else {
            checkpoint.tensor_from(*bytes, &name, shape, dtype, self.device)?
        };
        (self.tell)(&name)?;
        Ok(tensor)
    }
}

impl<B: Backend> ModuleMapper<B> for Filler<'_, B> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let shape = param.lazy_shape();
        if self.outcome.is_err() || shape.num_elements() == 0 {
            return param;
        }
        let path = self.path.join(".");
        match self.read(&path, shape.dims()) {
            Ok(tensor) => {
                let id = param.id;
                param.transform_for_load(tensor, id)
            }
            Err(error) => {
                self.outcome = Err(error);
                param
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::ModuleVisitor;
    use burn_flex::Flex;
    use std::collections::BTreeMap;

    /// Collects names and shapes, without reading a parameter.
    #[derive(Default)]
    struct Lister {
        path: Vec<String>,
        found: BTreeMap<String, Vec<usize>>,
    }

    impl ModuleVisitor<Flex> for Lister {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.to_owned());
        }

        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Flex, D>>) {
            assert!(!param.is_initialized(), "{}", self.path.join("."));
            let path = self.path.join(".");
            self.found.insert(checkpoint_name(&path), param.lazy_shape().to_vec());
        }
    }

    /// The released 2B and 30B-A3B sizes, a tied and an untied head, dense and sparse layers: each parameter has the name and
    /// size of a tensor of the checkpoint, none is left over, and none is allocated.
    #[test]
    fn every_parameter_has_its_tensor() {
        for mixture in [false, true] {
            let config = released_config(mixture);
            let mut lister = Lister::default();
            config.init::<Flex>(&Default::default()).visit(&mut lister);
            let mut expected: BTreeMap<_, _> =
                expected_tensors(&config).into_iter().map(|tensor| (tensor.name, tensor.shape)).collect();
            let patches = expected.get_mut("model.visual.patch_embed.proj.weight").unwrap();
            *patches = vec![patches[0], patches[1..].iter().product()];
            assert_eq!(lister.found, expected);
        }
    }

    fn released_config(mixture: bool) -> Qwen3VlConfig {
        use crate::config::{MoeConfig, TextConfig, VisionConfig};
        let mut text = TextConfig::new(151_936, 2048, 6144, 28, 16, 8, 128, [24, 20, 20], !mixture);
        if mixture {
            text.moe = Some(MoeConfig::new(128, 8, 768).with_mlp_only_layers(vec![3]));
        }
        let vision = VisionConfig::new(24, 1024, 4096, 16, 2048, vec![5, 11, 17]);
        Qwen3VlConfig::new(text, vision, 151_655, 151_656, 151_652, 151_653)
    }
}
