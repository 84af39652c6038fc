//! The weights of a model as a checkpoint in the released layout.

use super::error::RunError;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor, TensorMetadata, read_sync};
use burn_autodiff::Autodiff;
use qwen3_vl_burn::checkpoint::{CheckpointError, copy_companions};
use qwen3_vl_burn::{Qwen3Vl, checkpoint_name};
use safetensors::tensor::{Dtype, View};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

/// The parameter that is a convolution's kernel in checkpoints.
const PATCHES: &str = "model.visual.patch_embed.proj.weight";
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
    write_companions(model, base, dir)
}

fn write_companions<B: Backend>(model: &Qwen3Vl<Autodiff<B>>, base: &Path, dir: &Path) -> Result<(), RunError> {
    copy_companions(base, dir).map_err(|error| match error {
        CheckpointError::Write { path, source } => RunError::Write { path, source },
        other => RunError::Write { path: dir.to_owned(), source: std::io::Error::other(other) },
    })?;
    let path = dir.join("config.json");
    let bytes = std::fs::read(&path).map_err(|source| RunError::Read { path: path.clone(), source })?;
    let mut config: Value = super::manifest::from_bytes(&path, &bytes)?;
    let dtype = match model.language_model.embed_tokens.weight.val().dtype() {
        DType::BF16 => "bfloat16",
        DType::F16 => "float16",
        _ => "float32",
    };
    // Weights that were FP8 are not any more, and those that were loaded in another type are written in it.
    let quantized = config.get("quantization_config").is_some_and(|value| !value.is_null());
    let text = match (quantized, set_dtype(&mut config, dtype)) {
        (true, _) => model.config().to_hf_json(),
        (false, true) => config.to_string(),
        (false, false) => return Ok(()),
    };
    std::fs::write(&path, text).map_err(|source| RunError::Write { path, source })?;
    Ok(())
}

/// Corrects the type that a configuration says that weights have, at any depth; tells whether it was another.
fn set_dtype(config: &mut Value, dtype: &str) -> bool {
    let Value::Object(fields) = config else { return false };
    let mut changed = false;
    for (name, value) in fields {
        match (name.as_str(), &*value) {
            ("dtype" | "torch_dtype", Value::String(said)) if said != dtype => {
                *value = dtype.into();
                changed = true;
            }
            _ => changed |= set_dtype(value, dtype),
        }
    }
    changed
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_configuration_says_how_weights_are_written() {
        let mut config = json!({"torch_dtype": "bfloat16", "text_config": {"dtype": "bfloat16", "dtypes": "bfloat16"}});
        assert!(set_dtype(&mut config, "float32"));
        let expected = json!({"torch_dtype": "float32", "text_config": {"dtype": "float32", "dtypes": "bfloat16"}});
        assert_eq!(config, expected);
        assert!(!set_dtype(&mut config, "float32"));
    }
}
