//! Adapters in PEFT's files.

use super::targets::{PATCHES, choose};
use super::{LoraConfig, LoraError};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, TensorData};
use qwen3_vl_burn::Qwen3Vl;
use qwen3_vl_burn::checkpoint::{ADAPTER_WEIGHTS, AdapterConfig, AdapterTargets, name_adapter_tensor};
use qwen3_vl_burn::config::VisionConfig;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize};
use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::Path;
use tempfile::NamedTempFile;

/// Writes `adapter_config.json` and `adapter_model.safetensors` into the folder `dir`, which is made if need be, so
/// that PEFT loads them: `PeftModel.from_pretrained(base, dir)`. Each file is whole or not there; the settings come
/// last.
///
/// Where targets are names, the settings have these; otherwise the names of all layers that have an adapter.
///
/// # Errors
/// [`LoraError::NotAttached`], [`LoraError::OtherRank`], [`LoraError::Exists`] where the folder has an adapter,
/// [`LoraError::Write`].
pub fn save_adapter<B: Backend>(
    model: &Qwen3Vl<B>,
    config: &LoraConfig,
    dir: impl AsRef<Path>,
) -> Result<(), LoraError> {
    let dir = dir.as_ref();
    let matrices = model.read_adapters();
    if matrices.is_empty() {
        return Err(LoraError::NotAttached);
    }
    let mut settings = config.to_adapter();
    for (module, [a, _]) in &matrices {
        let (expected, _) = settings.rank_and_scale(module)?;
        if a.shape[0] != expected {
            return Err(LoraError::OtherRank { module: module.clone(), found: a.shape[0], expected });
        }
    }
    let modules: Vec<String> = matrices.keys().cloned().collect();
    // A pattern may match modules around the layers too, which PEFT refuses.
    let named = matches!(config.targets, AdapterTargets::Names(_))
        && choose(&config.targets, &modules).is_ok_and(|chosen| chosen.len() == modules.len());
    if !named {
        settings.targets = AdapterTargets::Names(modules);
    }
    let weights = write_tensors(matrices, &model.config().vision);
    let write = |source| LoraError::Write { path: dir.to_owned(), source };
    std::fs::create_dir_all(dir).map_err(write)?;
    let (weights_path, settings_path) = (dir.join(ADAPTER_WEIGHTS), AdapterConfig::file_in(dir));
    for path in [&weights_path, &settings_path] {
        if path.symlink_metadata().is_ok() {
            return Err(LoraError::Exists { path: path.clone() });
        }
    }
    put_file(&weights_path, &weights)?;
    put_file(&settings_path, settings.to_json().as_bytes())
}

/// The safetensors file's bytes.
fn write_tensors(matrices: BTreeMap<String, [TensorData; 2]>, vision: &VisionConfig) -> Vec<u8> {
    let mut tensors = Vec::new();
    for (module, [a, b]) in matrices {
        let [a_shape, b_shape] = stored_shapes(&module, [&a, &b], vision);
        for (side, shape, data) in [('A', a_shape, a), ('B', b_shape, b)] {
            let data = data.convert_dtype(DType::F32);
            tensors.push((name_adapter_tensor(&module, side), shape, data));
        }
    }
    let views = tensors.iter().map(|(name, shape, data)| {
        let view = TensorView::new(Dtype::F32, shape.clone(), data.as_bytes());
        (name.as_str(), view.expect("the data of a tensor has the length of its shape"))
    });
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    serialize(views, Some(metadata)).expect("names of layers are no names of the format")
}

/// The shapes that PEFT has the matrices in: those of a convolution for the patch embedding.
fn stored_shapes(module: &str, [a, b]: [&TensorData; 2], vision: &VisionConfig) -> [Vec<usize>; 2] {
    if module != PATCHES {
        return [a.shape.to_vec(), b.shape.to_vec()];
    }
    let side = vision.patch_size;
    let kernel = [vision.in_channels, vision.temporal_patch_size, side, side];
    [[&a.shape[..1], &kernel].concat(), [&b.shape[..], &[1, 1, 1]].concat()]
}

/// Writes a file under a temporary name and gives it its own, which must be free.
fn put_file(path: &Path, bytes: &[u8]) -> Result<(), LoraError> {
    let failed = |source| LoraError::Write { path: path.to_owned(), source };
    let mut file = start_file(path.parent().unwrap_or(Path::new("."))).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(LoraError::Exists { path: path.to_owned() })
        }
        Err(error) => Err(failed(error.error)),
    }
}

/// A file that gets another name once it is whole; as readable as any other file, which a temporary one is not.
fn start_file(folder: &Path) -> std::io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".adapter-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}
