//! A case: inputs and what HF computes for them, in one safetensors file with pictures beside it.

use crate::Error;
use qwen3_vl_burn::ModelInputs;
use qwen3_vl_burn::processor::{Grid, ProcessedImages};
use safetensors::{Dtype, SafeTensors};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A case of a folder.
pub struct Case {
    /// Its name: the file's without `.safetensors`.
    pub name: String,
    path: PathBuf,
    bytes: Vec<u8>,
}

/// The cases of a folder, by name: every `NAME.safetensors` that is no part of the checkpoint.
///
/// # Errors
/// [`Error::File`], and [`Error::NoCases`] where there is none.
pub fn list_cases(dir: &Path) -> Result<Vec<Case>, Error> {
    let failed = |source| Error::File { path: dir.to_owned(), source };
    let mut cases = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
        let weights = name == "model" || name.starts_with("model-");
        if path.extension().is_some_and(|end| end == "safetensors") && !weights {
            let bytes = std::fs::read(&path).map_err(|source| Error::File { path: path.clone(), source })?;
            cases.push(Case { name, path, bytes });
        }
    }
    if cases.is_empty() {
        return Err(Error::NoCases { path: dir.to_owned() });
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(cases)
}

impl Case {
    /// Reads the case `name` of a folder.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn open(dir: &Path, name: &str) -> Result<Self, Error> {
        let path = dir.join(format!("{name}.safetensors"));
        let bytes = std::fs::read(&path).map_err(|source| Error::File { path: path.clone(), source })?;
        Ok(Self { name: name.to_owned(), path, bytes })
    }

    pub(super) fn error(&self, reason: impl Into<String>) -> Error {
        Error::Case { path: self.path.clone(), reason: reason.into() }
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of tensors that begin with `prefix`, without it.
    pub(super) fn names(&self, prefix: &str) -> Result<BTreeSet<String>, Error> {
        let file = SafeTensors::deserialize(&self.bytes).map_err(|error| self.error(error.to_string()))?;
        Ok(file.names().iter().filter_map(|name| name.strip_prefix(prefix)).map(str::to_owned).collect())
    }

    /// The bytes of a tensor of this dtype; `None` where there is no such tensor.
    fn bytes_of(&self, tensor: &str, dtype: Dtype) -> Result<Option<&[u8]>, Error> {
        let file = SafeTensors::deserialize(&self.bytes).map_err(|error| self.error(error.to_string()))?;
        match file.tensor(tensor) {
            Ok(view) if view.dtype() == dtype => Ok(Some(view.data())),
            Ok(view) => Err(self.error(format!("{tensor} is {:?}, expected {dtype:?}", view.dtype()))),
            Err(_) => Ok(None),
        }
    }

    /// An f32 tensor, flattened.
    pub fn floats(&self, tensor: &str) -> Result<Option<Vec<f32>>, Error> {
        let bytes = self.bytes_of(tensor, Dtype::F32)?;
        Ok(bytes.map(|bytes| bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()))
    }

    /// An i64 tensor, flattened.
    pub fn integers(&self, tensor: &str) -> Result<Option<Vec<i64>>, Error> {
        let bytes = self.bytes_of(tensor, Dtype::I64)?;
        let read = |b: &[u8]| i64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]);
        Ok(bytes.map(|bytes| bytes.chunks_exact(8).map(read).collect()))
    }

    /// The greedy tokens expected: those of the case in `greedy.json` beside it, of which there are more, or
    /// `expect.greedy`.
    pub fn greedy(&self) -> Result<Option<Vec<u32>>, Error> {
        let path = self.path.with_file_name("greedy.json");
        let listed = match std::fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str::<BTreeMap<String, Vec<u32>>>(&text)
                .map_err(|error| Error::Case { path, reason: error.to_string() })?
                .remove(&self.name),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(source) => return Err(Error::File { path, source }),
        };
        if listed.is_some() {
            return Ok(listed);
        }
        let Some(tokens) = self.integers("expect.greedy")? else { return Ok(None) };
        let tokens: Result<_, _> = tokens.into_iter().map(u32::try_from).collect();
        tokens.map(Some).map_err(|_| self.error("expect.greedy holds a number that is no token id"))
    }

    /// Token ids and the pixels given.
    pub fn inputs(&self) -> Result<ModelInputs, Error> {
        let ids = self.integers("input_ids")?.ok_or_else(|| self.error("no tensor input_ids"))?;
        let input_ids: Result<_, _> = ids.iter().map(|&id| u32::try_from(id)).collect();
        Ok(ModelInputs {
            input_ids: input_ids.map_err(|_| self.error("input_ids holds a number that is no token id"))?,
            images: self.pixels("pixel_values", "image_grid_thw")?,
            videos: self.pixels("pixel_values_videos", "video_grid_thw")?,
        })
    }

    fn pixels(&self, pixels: &str, grids: &str) -> Result<ProcessedImages, Error> {
        let Some(grids) = self.integers(grids)? else { return Ok(ProcessedImages::default()) };
        let pixel_values = self.floats(pixels)?.ok_or_else(|| self.error(format!("no tensor {pixels}")))?;
        let side = |side: i64| usize::try_from(side).map_err(|_| self.error(format!("a grid has the side {side}")));
        let grids = (grids.chunks_exact(3))
            .map(|grid| Ok(Grid { t: side(grid[0])?, h: side(grid[1])?, w: side(grid[2])? }))
            .collect::<Result<_, Error>>()?;
        Ok(ProcessedImages { pixel_values, grids })
    }

    /// The pictures beside the case, `NAME.0.png` and on.
    pub fn pictures(&self) -> Vec<PathBuf> {
        let numbered = (0..).map(|i| self.path.with_file_name(format!("{}.{i}.png", self.name)));
        numbered.take_while(|path| path.is_file()).collect()
    }

    /// The frames beside the case, `NAME.frame0.png` or `NAME.frame000.png` and on.
    pub fn frames(&self) -> Vec<PathBuf> {
        let find = |i: usize| {
            [format!("{}.frame{i}.png", self.name), format!("{}.frame{i:03}.png", self.name)]
                .into_iter()
                .map(|name| self.path.with_file_name(name))
                .find(|path| path.is_file())
        };
        (0..).map_while(find).collect()
    }
}
