//! A checkpoint with an adapter merged in, written in the released layout.
//!
//! ```text
//! base    config.json, tokenizer and template files    copied
//!         each file of weights                         written anew: the same tensors by their released names, in their
//!                                                      dtypes; adapted ones W + s·B·A
//! ```
//!
//! All of it is written into a folder beside its place, which gets its name when everything is there.

use super::companions::copy_companions;
use super::index::{INDEX_NAME, SINGLE_NAME};
use super::{Adapter, AdapterError, Checkpoint, CheckpointError, Entry, LoadProgress, LoadStep, expected_tensors};
use crate::Result;
use crate::config::Qwen3VlConfig;
use safetensors::tensor::{Dtype, View};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// A merge that can be done: everything was checked, and nothing is written yet.
#[derive(Debug)]
pub struct MergedCheckpoint {
    checkpoint: Checkpoint,
    adapter: Arc<Adapter>,
    out: PathBuf,
    /// Beside `out`; removed with this value, unless all is written.
    staging: TempDir,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MergeReport {
    /// Weights that the adapter changed.
    pub merged: usize,
    /// All tensors.
    pub tensors: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Files of weights.
    pub files: usize,
}

impl MergedCheckpoint {
    /// Opens the checkpoint in `base` and the adapter in `adapter`, and compares one with the other.
    ///
    /// # Errors
    /// [`CheckpointError::Exists`] where there is something at `out`; those of [`Qwen3Vl::load`](crate::Qwen3Vl::load)
    /// and of [`Adapter::open`]; [`AdapterError::MergeFp8`] for weights that are stored as FP8, which sums cannot be
    /// written as; [`CheckpointError::Write`] where the folder of `out` takes nothing.
    pub fn prepare(base: impl AsRef<Path>, adapter: impl AsRef<Path>, out: impl Into<PathBuf>) -> Result<Self> {
        let out = out.into();
        if out.symlink_metadata().is_ok() {
            return Err(CheckpointError::Exists { path: out }.into());
        }
        let mut config = Qwen3VlConfig::from_dir(base.as_ref())?;
        config.validate()?;
        let checkpoint = Checkpoint::open(base)?.with_quantization(config.quantization.take());
        let checkpoint = checkpoint.arranged_for(&config)?;
        checkpoint.untie_distinct_head(&mut config)?;
        let expected = expected_tensors(&config);
        checkpoint.check(&expected)?;
        let adapter = Adapter::open(adapter)?;
        adapter.check(&expected)?;
        for (module, _) in adapter.pairs() {
            let tensor = format!("{module}.weight");
            if checkpoint.is_fp8(&tensor) {
                return Err(AdapterError::MergeFp8 { tensor }.into());
            }
        }
        let adapter = Arc::new(adapter);
        let staging = make_staging(&out).map_err(|source| CheckpointError::Write { path: out.clone(), source })?;
        let checkpoint = checkpoint.with_adapter(adapter.clone());
        Ok(Self { checkpoint, adapter, out, staging })
    }

    /// The folder that is written into before it gets its name. A program that ends in between leaves it.
    pub fn staging(&self) -> &Path {
        self.staging.path()
    }

    /// Writes it, telling `progress` of every tensor.
    ///
    /// # Errors
    /// [`CheckpointError::Write`]; [`CheckpointError::OutOfRange`] for a sum that the weight's dtype cannot hold; then
    /// nothing is left.
    pub fn write(self, progress: &mut dyn LoadProgress) -> Result<MergeReport> {
        let Self { checkpoint, adapter, out, staging } = &self;
        let total = checkpoint.total_bytes();
        let told = RefCell::new(Told { progress, done: 0, total, failed: None });
        let mut weight_map = Map::new();
        for (number, file) in checkpoint.files.iter().enumerate() {
            let name = file.name();
            let entries = checkpoint.entries.iter().filter(|(_, entry)| entry.file == number);
            weight_map.extend(entries.clone().map(|(tensor, _)| (tensor.clone(), Value::String(name.clone()))));
            let views = entries.map(|(tensor, entry)| {
                (tensor.as_str(), MergedTensor { checkpoint, name: tensor, entry, told: &told })
            });
            let path = staging.path().join(&name);
            // HF asks for the format.
            let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
            let written = safetensors::serialize_to_file(views, Some(metadata), &path);
            if let Some(error) = told.borrow_mut().failed.take() {
                return Err(error);
            }
            written.map_err(|error| failed(&path, io::Error::other(error.to_string())))?;
            // On the disk before its folder has its name.
            fs::File::open(&path).and_then(|file| file.sync_all()).map_err(|error| failed(&path, error))?;
        }
        let files = checkpoint.files.len();
        if files > 1 || checkpoint.files.iter().any(|file| file.name() != SINGLE_NAME) {
            let index = json!({ "metadata": { "total_size": total }, "weight_map": weight_map });
            let path = staging.path().join(INDEX_NAME);
            fs::write(&path, format!("{index:#}\n")).map_err(|error| failed(&path, error))?;
        }
        copy_companions(checkpoint.dir(), staging.path())?;
        let report =
            MergeReport { merged: adapter.pairs().count(), tensors: checkpoint.entries.len(), bytes: total, files };
        if out.symlink_metadata().is_ok() {
            return Err(CheckpointError::Exists { path: out.clone() }.into());
        }
        fs::rename(staging.path(), out).map_err(|error| failed(out, error))?;
        Ok(report)
    }
}

fn failed(path: &Path, source: io::Error) -> CheckpointError {
    CheckpointError::Write { path: path.to_owned(), source }
}

/// A folder beside `out`, as readable as any other.
fn make_staging(out: &Path) -> io::Result<TempDir> {
    let name = out.file_name().ok_or_else(|| io::Error::other("it has no name of its own"))?;
    let parent = match out.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent)?;
    let mut builder = tempfile::Builder::new();
    let prefix = format!(".{}.", name.to_string_lossy());
    builder.prefix(&prefix).suffix(".part");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o777));
    }
    builder.tempdir_in(parent)
}

/// Who is told how much is written, and what went wrong.
struct Told<'a> {
    progress: &'a mut dyn LoadProgress,
    done: u64,
    total: u64,
    failed: Option<crate::Error>,
}

/// A tensor that is merged when it is written.
struct MergedTensor<'a, 'p> {
    checkpoint: &'a Checkpoint,
    name: &'a str,
    entry: &'a Entry,
    told: &'a RefCell<Told<'p>>,
}

impl MergedTensor<'_, '_> {
    fn read(&self) -> Result<Vec<u8>> {
        let bytes = match self.checkpoint.pair_of(self.name) {
            Some(_) => self.checkpoint.tensor_data(self.name, &self.entry.shape, None)?.into_bytes().to_vec(),
            None => self.checkpoint.bytes(self.name)?.to_vec(),
        };
        self.checkpoint.release(self.name)?;
        Ok(bytes)
    }
}

impl View for MergedTensor<'_, '_> {
    fn dtype(&self) -> Dtype {
        self.entry.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.entry.shape
    }

    /// After an error the rest is not read: the file is thrown away.
    fn data(&self) -> Cow<'_, [u8]> {
        let mut told = self.told.borrow_mut();
        let told = &mut *told;
        if told.failed.is_some() {
            return Cow::Borrowed(&[]);
        }
        match self.read() {
            Ok(bytes) => {
                told.done += bytes.len() as u64;
                told.progress.advance(LoadStep { done: told.done, total: told.total, tensor: self.name });
                Cow::Owned(bytes)
            }
            Err(error) => {
                told.failed = Some(error);
                Cow::Borrowed(&[])
            }
        }
    }

    fn data_len(&self) -> usize {
        self.entry.range.len()
    }
}
