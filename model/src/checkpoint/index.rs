//! `model.safetensors.index.json`: which shard holds which tensor.

use super::header::{MAX_HEADER_BYTES, MAX_NAME_BYTES, MAX_TENSORS};
use super::{CheckpointError, mapping::MappedFile};
use crate::json::parse_json;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Component, Path, PathBuf};

/// Name of a checkpoint that is one file.
pub(crate) const SINGLE_NAME: &str = "model.safetensors";
/// Name of the index in a checkpoint's folder.
pub(crate) const INDEX_NAME: &str = "model.safetensors.index.json";

/// An index: from each tensor to the name of its shard.
#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) shards: BTreeMap<String, String>,
}

impl Index {
    /// Reads the index at `path` and checks the file names in it.
    ///
    /// `metadata.total_size` is ignored, as HF ignores it: tools that split or tie checkpoints leave it wrong.
    pub(crate) fn read(path: PathBuf) -> Result<Self, CheckpointError> {
        let mapped = MappedFile::open(path)?;
        let (file, content) = (mapped.path(), mapped.content());
        if content.len() as u64 > MAX_HEADER_BYTES {
            return Err(CheckpointError::TooLarge {
                file: file.to_owned(),
                what: "the index's length in bytes",
                found: content.len() as u64,
                limit: MAX_HEADER_BYTES,
            });
        }
        let raw: RawIndex = parse_json(content)
            .map_err(|error| CheckpointError::Index { file: file.to_owned(), reason: error.to_string() })?;
        let shards = raw.weight_map.0;
        if shards.is_empty() {
            return Err(CheckpointError::Index { file: file.to_owned(), reason: "its weight_map is empty".into() });
        }
        for (tensor, name) in &shards {
            if !is_plain_name(name) {
                let (tensor, name) = (tensor.clone(), name.clone());
                return Err(CheckpointError::ShardName { file: file.to_owned(), tensor, name });
            }
        }
        Ok(Self { shards })
    }

    /// Names of the shards, sorted, each once.
    pub(crate) fn files(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.shards.values().map(String::as_str).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// Whether `name` is one plain file name on every system: no folder, no parent, no drive, not empty.
fn is_plain_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    let single = matches!((components.next(), components.next()), (Some(Component::Normal(_)), None));
    single && !name.contains(['/', '\\', ':', '\0'])
}

#[derive(Deserialize)]
struct RawIndex {
    weight_map: WeightMap,
}

struct WeightMap(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for WeightMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WeightMapVisitor;

        impl<'de> Visitor<'de> for WeightMapVisitor {
            type Value = WeightMap;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object from tensor names to file names")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WeightMap, A::Error> {
                let mut shards = BTreeMap::new();
                while let Some(tensor) = map.next_key::<String>()? {
                    if shards.len() == MAX_TENSORS {
                        return Err(A::Error::custom(format!("it lists more than {MAX_TENSORS} tensors")));
                    }
                    if tensor.len() > MAX_NAME_BYTES {
                        return Err(A::Error::custom(format!("a tensor's name is longer than {MAX_NAME_BYTES} bytes")));
                    }
                    if shards.contains_key(&tensor) {
                        map.next_value::<IgnoredAny>()?;
                        return Err(A::Error::custom(format!("tensor `{tensor}` is listed twice")));
                    }
                    let name: String =
                        map.next_value().map_err(|error| A::Error::custom(format!("tensor `{tensor}`: {error}")))?;
                    if name.len() > MAX_NAME_BYTES {
                        return Err(A::Error::custom(format!("a file's name is longer than {MAX_NAME_BYTES} bytes")));
                    }
                    shards.insert(tensor, name);
                }
                Ok(WeightMap(shards))
            }
        }

        deserializer.deserialize_map(WeightMapVisitor)
    }
}
