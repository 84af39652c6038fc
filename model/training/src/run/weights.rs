//! The weights of a model as a checkpoint in the released layout.

use super::error::RunError;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor, TensorMetadata, read_sync};
use burn_autodiff::Autodiff;
use qwen3_vl_burn::{Qwen3Vl, checkpoint_name};
use safetensors::tensor::{Dtype, View};
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The parameter that is a convolution's kernel in checkpoints.
const PATCHES: &str = "model.visual.patch_embed.proj.weight";
/// What a checkpoint has beside its weights.
const COMPANIONS: [&str; 3] = ["json", "jinja", "txt"];
/// Files of these ends are about weights, or belong to an adapter or to a run.
const PASSED_OVER: [&str; 3] = [".index.json", "adapter_config.json", "state.json"];
/// The largest companion: a tokenizer has 11 MB.
const MAX_COMPANION: u64 = 64 << 20;

/// Writes all weights of `model` into `dir` as `model.safetensors`, in the types that they are held in, and beside them
/// the configuration, the tokenizer and the settings of the checkpoint `base`.
///
/// One tensor at a time is copied to the host.
///
/// # Errors
/// [`RunError::Read`], [`RunError::Write`].
pub fn write_weights<B: Backend>(model: &Qwen3Vl<Autodiff<B>>, base: &Path, dir: &Path) -> Result<(), RunError> {
    let vision = &model.config().vision;
    let side = vision.patch_size;
    let kernel = vec![vision.hidden_size, vision.in_channels, vision.temporal_patch_size, side, side];
    let mut collector = Collector::<B> { path: Vec::new(), kernel, tensors: Vec::new() };
    model.visit(&mut collector);
    let path = dir.join("model.safetensors");
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let written = safetensors::serialize_to_file(collector.tensors, Some(metadata), &path);
    written.map_err(|error| RunError::Write { path, source: std::io::Error::other(error.to_string()) })?;
    copy_companions(model, base, dir)
}

fn copy_companions<B: Backend>(model: &Qwen3Vl<Autodiff<B>>, base: &Path, dir: &Path) -> Result<(), RunError> {
    let failed = |source| RunError::Read { path: base.to_owned(), source };
    for entry in std::fs::read_dir(base).map_err(failed)? {
        let from = entry.map_err(failed)?.path();
        let name = from.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let wanted = COMPANIONS.iter().any(|end| from.extension().is_some_and(|extension| extension == *end));
        let size = std::fs::metadata(&from).map_or(0, |metadata| metadata.len());
        if wanted && size <= MAX_COMPANION && !PASSED_OVER.iter().any(|end| name.ends_with(end)) {
            copy(&from, &dir.join(&name))?;
        }
    }
    // Weights that were FP8 are not any more.
    if model.config().quantization.is_none() && is_quantized(&dir.join("config.json"))? {
        let path = dir.join("config.json");
        let text = model.config().to_hf_json().to_string();
        std::fs::write(&path, text).map_err(|source| RunError::Write { path, source })?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<PathBuf, RunError> {
    // Not `fs::copy`: a checkpoint that is read-only would make files that are.
    let bytes = std::fs::read(from).map_err(|source| RunError::Read { path: from.to_owned(), source })?;
    std::fs::write(to, bytes).map_err(|source| RunError::Write { path: to.to_owned(), source })?;
    Ok(to.to_owned())
}

fn is_quantized(path: &Path) -> Result<bool, RunError> {
    let bytes = std::fs::read(path).map_err(|source| RunError::Read { path: path.to_owned(), source })?;
    let config: serde_json::Value = super::manifest::from_bytes(path, &bytes)?;
    Ok(config.get("quantization_config").is_some_and(|value| !value.is_null()))
}

/// Collects every parameter under its name in checkpoints.
struct Collector<B: Backend> {
    path: Vec<String>,
    /// Shape of [`PATCHES`] there.
    kernel: Vec<usize>,
    tensors: Vec<(String, Stored<B>)>,
}

impl<B: Backend> ModuleVisitor<Autodiff<B>> for Collector<B> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Autodiff<B>, D>>) {
        let name = checkpoint_name(&self.path.join("."));
        let tensor = param.val().inner();
        let shape = if name == PATCHES { self.kernel.clone() } else { tensor.dims().to_vec() };
        self.tensors.push((name, Stored { tensor: tensor.into_primitive().tensor(), shape }));
    }
}

/// A tensor that is read from its device when it is written.
struct Stored<B: Backend> {
    tensor: B::FloatTensorPrimitive,
    shape: Vec<usize>,
}

impl<B: Backend> View for Stored<B> {
    fn dtype(&self) -> Dtype {
        match self.tensor.dtype() {
            DType::BF16 => Dtype::BF16,
            DType::F16 => Dtype::F16,
            _ => Dtype::F32,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        match read_sync(B::float_into_data(self.tensor.clone())) {
            Ok(data) => Cow::Owned(data.as_bytes().to_vec()),
            Err(error) => panic!("a weight cannot be read from its device: {error:?}"),
        }
    }

    fn data_len(&self) -> usize {
        self.shape.iter().product::<usize>() * self.tensor.dtype().size()
    }
}
