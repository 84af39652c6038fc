//! Opening a folder: one file, or shards and their index, into one table of tensors.

use super::adapter::find_adapter;
use super::header::read_header;
use super::index::{INDEX_NAME, Index, SINGLE_NAME};
use super::mapping::MappedFile;
use super::{Checkpoint, CheckpointError, Entry};
use crate::Result;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;
use std::fs;
use std::path::{Path, PathBuf};

impl Checkpoint {
    /// Opens the checkpoint in `dir`: `model.safetensors`, or, where that isn't there, `model.safetensors.index.json`
    /// and its shards. HF looks in the same order.
    ///
    /// Files are mapped and their headers checked (format, sizes, overlaps, ends); no tensor is read.
    ///
    /// # Errors
    /// [`CheckpointError`], naming the file and, where there is one, the tensor.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref().to_owned();
        let (single, index) = (dir.join(SINGLE_NAME), dir.join(INDEX_NAME));
        if is_there(&single) {
            let mut checkpoint = Self::empty(dir);
            checkpoint.add_file(single)?;
            return Ok(checkpoint);
        }
        if is_there(&index) {
            return Ok(Self::open_shards(dir, index)?);
        }
        find_adapter(&dir)?;
        Err(CheckpointError::NotFound { dir }.into())
    }

    fn empty(dir: PathBuf) -> Self {
        Self { dir, files: Vec::new(), entries: BTreeMap::new(), assemblies: BTreeMap::new(), fp8: None, adapter: None }
    }

    fn open_shards(dir: PathBuf, index_path: PathBuf) -> Result<Self, CheckpointError> {
        let index = Index::read(index_path.clone())?;
        let names = index.files();
        let mut checkpoint = Self::empty(dir);
        for name in names {
            let shard = checkpoint.dir.join(name);
            if !is_there(&shard) {
                return Err(CheckpointError::MissingShard { file: index_path, shard: name.to_owned() });
            }
            checkpoint.add_file(shard)?;
        }
        // A tensor that is in a shard and not in the index is kept, as in HF: `check` says whether the model needs it.
        for (tensor, listed) in &index.shards {
            let found = checkpoint.entries.get(tensor).map(|entry| checkpoint.file_of(entry).name());
            if found.as_ref() != Some(listed) {
                return Err(CheckpointError::WrongShard { tensor: tensor.clone(), listed: listed.clone(), found });
            }
        }
        Ok(checkpoint)
    }

    /// Maps a file and adds its tensors.
    fn add_file(&mut self, path: PathBuf) -> Result<(), CheckpointError> {
        let mapped = MappedFile::open(path)?;
        let file = self.files.len();
        for tensor in read_header(mapped.path(), mapped.content())? {
            match self.entries.entry(tensor.name) {
                Slot::Vacant(slot) => {
                    let outputs_last = tensor.shape.len() == 3;
                    let (dtype, shape, range) = (tensor.dtype, tensor.shape, tensor.range);
                    slot.insert(Entry { file, dtype, shape, range, stored_name: None, outputs_last });
                }
                Slot::Occupied(slot) => {
                    return Err(CheckpointError::Duplicate {
                        tensor: slot.key().clone(),
                        first: self.files[slot.get().file].name(),
                        second: mapped.name(),
                    });
                }
            }
        }
        self.files.push(mapped);
        Ok(())
    }
}

/// Whether the folder has an entry at `path`. A link that leads nowhere (a half-finished download) counts: opening it
/// gives an error that names it.
fn is_there(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}
