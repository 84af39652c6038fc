//! Checkpoints: safetensors files, mapped and not read, every header checked before it is believed.
//!
//! ```no_run
//! use qwen3_vl_burn::checkpoint::{Checkpoint, expected_tensors};
//! use qwen3_vl_burn::Qwen3VlConfig;
//!
//! let config = Qwen3VlConfig::from_dir("Qwen3-VL-2B-Instruct")?;
//! let checkpoint = Checkpoint::open("Qwen3-VL-2B-Instruct")?.arranged_for(&config)?;
//! checkpoint.check(&expected_tensors(&config))?;
//! # Ok::<(), qwen3_vl_burn::Error>(())
//! ```

pub(crate) mod adapter;
mod arrange;
mod assembly;
mod companions;
mod convert;
mod error;
mod expected;
mod experts;
mod foreign;
mod foreign_format;
mod fp8;
mod head;
mod header;
pub(crate) mod index;
mod load;
mod loader;
mod mapping;
mod merged;
mod names;
mod open;
mod progress;
mod random;
mod report;
mod scales;
mod shards;
mod stored;

pub(crate) use adapter::find_adapter;
pub use adapter::{
    ADAPTER_WEIGHTS, Adapter, AdapterConfig, AdapterError, AdapterTargets, LoraPair, Pattern, PatternError,
    is_adaptable, name_adapter_tensor,
};
pub use companions::copy_companions;
pub use error::CheckpointError;
pub(crate) use expected::{EMBEDDING, HEAD};
pub use expected::{ExpectedTensor, expected_tensors};
pub use foreign_format::ForeignFormat;
pub(crate) use load::put_weight;
pub use loader::Loader;
pub use merged::{MergeReport, MergedCheckpoint};
pub use progress::{BarProgress, LoadProgress, LoadStep, NoProgress, progress_bar};
pub use random::{RandomOptions, write_random, write_random_with};
pub use report::{MisshapedTensor, ShapeReport};
pub(crate) use scales::Scales;
pub(crate) use stored::StoredBytes;

use crate::Result;
use crate::config::Fp8Config;
use assembly::Assembly;
use burn::tensor::DType;
use mapping::MappedFile;
use safetensors::Dtype;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An opened checkpoint: its files mapped, its tensors known by name.
///
/// The files must not change while it, or any tensor from it, is alive. A file that is truncated meanwhile ends the
/// process with SIGBUS; no error can be returned for that.
///
/// A clone shares the mappings.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    dir: PathBuf,
    files: Vec<MappedFile>,
    entries: BTreeMap<String, Entry>,
    /// Arrays of experts that are stored otherwise than they are used.
    assemblies: BTreeMap<String, Assembly>,
    /// How FP8 weights are scaled, if there are any.
    fp8: Option<Fp8Config>,
    /// What is merged into its matrices as they are loaded.
    adapter: Option<Arc<Adapter>>,
}

/// Where a tensor is.
#[derive(Debug, Clone)]
struct Entry {
    /// Its file, an index into `Checkpoint::files`.
    file: usize,
    dtype: Dtype,
    shape: Vec<usize>,
    /// Its bytes in the file.
    range: Range<usize>,
    /// Its name there, where it is known by another.
    stored_name: Option<Box<str>>,
    /// Whether its last size is that of outputs: arrays of experts as released checkpoints have them.
    outputs_last: bool,
}

impl Checkpoint {
    /// The same checkpoint, read with the scales of `quantization` (a configuration's): its FP8 matrices are then
    /// dequantised by [`Checkpoint::tensor_data`], and [`Checkpoint::check`] asks for their scales.
    /// [`Qwen3Vl::load`](crate::Qwen3Vl::load) does this.
    pub fn with_quantization(mut self, quantization: Option<Fp8Config>) -> Self {
        self.fp8 = quantization;
        self
    }

    /// The same checkpoint, into whose matrices `adapter` is merged as they are loaded: `W + s·B·A`, in f32 and rounded
    /// once. [`Adapter::check`] must have found that it fits; tensors by rows and bytes don't have it.
    pub(crate) fn with_adapter(mut self, adapter: Arc<Adapter>) -> Self {
        self.adapter = Some(adapter);
        self
    }

    /// What is merged into the tensor `name`.
    fn pair_of(&self, name: &str) -> Option<&LoraPair> {
        self.adapter.as_ref()?.pair_of(name)
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Names of all stored tensors, sorted: those in the files, or released ones after
    /// [`Checkpoint::arranged_for`].
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Whether there is a tensor `name`, stored or put together out of others.
    pub fn contains(&self, name: &str) -> bool {
        self.entries.contains_key(name) || self.assemblies.contains_key(name)
    }

    /// Bytes of all tensors together.
    pub fn total_bytes(&self) -> u64 {
        self.entries.values().map(|entry| entry.range.len() as u64).sum()
    }

    /// Shape of the tensor `name`.
    ///
    /// # Errors
    /// [`CheckpointError::Unknown`].
    pub fn shape(&self, name: &str) -> Result<&[usize]> {
        match self.assemblies.get(name) {
            Some(assembly) => Ok(&assembly.shape),
            None => Ok(&self.entry(name)?.shape),
        }
    }

    /// Dtype of the tensor `name`: that it is stored in, or bf16 for FP8 that is
    /// [dequantised](Checkpoint::with_quantization).
    ///
    /// # Errors
    /// [`CheckpointError::Unknown`]; [`CheckpointError::StoredDtype`] for any other than f32, bf16, f16 and such FP8.
    pub fn dtype(&self, name: &str) -> Result<DType> {
        Ok(self.stored_dtype(name)?)
    }

    fn stored_dtype(&self, name: &str) -> Result<DType, CheckpointError> {
        if let Some(assembly) = self.assemblies.get(name) {
            let mut dtypes = assembly.sources.iter().map(|source| self.source_dtype(&source.name));
            let first = dtypes.next().unwrap_or(Ok(DType::F32))?;
            // What f32 holds all of, where they differ.
            return dtypes.try_fold(first, |common, dtype| Ok(if dtype? == common { common } else { DType::F32 }));
        }
        self.source_dtype(name)
    }

    /// Dtype of the stored tensor `name`, which may be a source of an array of the same name.
    fn source_dtype(&self, name: &str) -> Result<DType, CheckpointError> {
        let entry = self.entry(name)?;
        match entry.dtype {
            Dtype::F32 => Ok(DType::F32),
            Dtype::BF16 => Ok(DType::BF16),
            Dtype::F16 => Ok(DType::F16),
            Dtype::F8_E4M3 if self.fp8.is_some() && scales::is_matrix(&entry.shape) => Ok(DType::BF16),
            other => Err(CheckpointError::StoredDtype {
                tensor: name.to_owned(),
                file: self.file_of(entry).path().to_owned(),
                found: other.to_string(),
            }),
        }
    }

    /// The bytes of the tensor `name` as they lie in the file, without a copy. They keep the mapping alive.
    ///
    /// # Errors
    /// [`CheckpointError::Unknown`], also for an array of experts that is put together.
    pub fn bytes(&self, name: &str) -> Result<bytes::Bytes> {
        let entry = self.entry(name)?;
        Ok(self.file_of(entry).slice(entry.range.clone()))
    }

    /// Gives the memory of the tensor's pages back to the system; reading it again brings them from the file. For a
    /// tensor that has been copied, converted or packed. Does nothing on systems without `madvise`, or below 64 KiB.
    ///
    /// # Errors
    /// [`CheckpointError::Unknown`].
    pub fn release(&self, name: &str) -> Result<()> {
        for name in self.sources_of(name) {
            let entry = self.entry(name)?;
            self.file_of(entry).release(entry.range.clone());
        }
        Ok(())
    }

    /// Asks the system to fetch the tensor's pages from the file before they are read. Does nothing on systems without
    /// `madvise`.
    ///
    /// # Errors
    /// [`CheckpointError::Unknown`].
    pub fn prefetch(&self, name: &str) -> Result<()> {
        for name in self.sources_of(name) {
            let entry = self.entry(name)?;
            self.file_of(entry).prefetch(entry.range.clone());
        }
        Ok(())
    }

    /// The files.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(MappedFile::path)
    }

    /// Where the tensor `name` is: its file, an index into [`Checkpoint::paths`], and its bytes there.
    pub(crate) fn location(&self, name: &str) -> Result<(usize, Range<u64>)> {
        let entry = self.entry(name)?;
        Ok((entry.file, entry.range.start as u64..entry.range.end as u64))
    }

    /// The stored tensors that the tensor `name` is made of: itself, mostly. Scales are not among them.
    pub(crate) fn sources_of<'a>(&'a self, name: &'a str) -> Vec<&'a str> {
        match self.assemblies.get(name) {
            Some(assembly) => assembly.sources.iter().map(|source| source.name.as_str()).collect(),
            None => vec![name],
        }
    }

    fn entry(&self, name: &str) -> Result<&Entry, CheckpointError> {
        self.entries.get(name).ok_or_else(|| CheckpointError::Unknown { tensor: name.to_owned() })
    }

    fn file_of(&self, entry: &Entry) -> &MappedFile {
        &self.files[entry.file]
    }
}
