//! Measured plans in a file, for the machine or device and the version that measured them.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::HashMap;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// The largest file that is read, bytes: some ten thousand plans.
const LARGEST_FILE: u64 = 4 << 20;

/// Why kept plans cannot be used, or kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be read or written.
    #[error("the plans in {path} cannot be read or written")]
    Io {
        /// Where it is.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is no file of plans.
    #[error(
        "{path} holds no plans (damaged, or another program's): remove it, or name another folder in planning.folder"
    )]
    Damaged {
        /// Where it is.
        path: PathBuf,
        /// Where the text is wrong.
        source: serde_json::Error,
    },
    /// The file is too large to be one of plans.
    #[error(
        "{path} is larger than any file of plans ({limit} bytes): remove it, or name another folder in planning.folder"
    )]
    Size {
        /// Where it is.
        path: PathBuf,
        /// The largest, bytes.
        limit: u64,
    },
    /// The plans are another machine's or version's.
    #[error("the plans in {path} were measured by {found}, and this is {expected}")]
    Foreign {
        /// Where it is.
        path: PathBuf,
        /// Who measured them.
        found: String,
        /// Who reads them.
        expected: String,
    },
}

/// The plans of one machine or device.
#[derive(Debug, Clone)]
pub struct Plans<K, C>(HashMap<K, C>);

impl<K, C> Default for Plans<K, C> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash, C: Copy> Plans<K, C> {
    /// The plan of `key`.
    pub fn find(&self, key: &K) -> Option<C> {
        self.0.get(key).copied()
    }

    /// Keeps a plan.
    pub fn insert(&mut self, key: K, choice: C) {
        self.0.insert(key, choice);
    }
}

/// What stands in the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content<K, C> {
    measured_by: String,
    plans: Vec<(K, C)>,
}

/// The file of what `measured_by` measured, in `folder`, else in the user's cache folder; `None` where there is none.
pub fn find_file(folder: Option<&Path>, stem: &str, measured_by: &str) -> Option<PathBuf> {
    let folder = match folder {
        Some(folder) => folder.to_owned(),
        None => dirs::cache_dir()?.join("kiln"),
    };
    let mut hasher = DefaultHasher::new();
    measured_by.hash(&mut hasher);
    Some(folder.join(format!("{stem}-{:016x}.json", hasher.finish())))
}

/// The plans of a file; none where there is no file. Their sizes are those of the file, which may hold anything.
pub fn read<K, C>(path: &Path, measured_by: &str) -> Result<Plans<K, C>, StoreError>
where
    K: Eq + Hash + DeserializeOwned,
    C: DeserializeOwned,
{
    let failed = |source| StoreError::Io { path: path.into(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Plans::default()),
        Err(error) => return Err(failed(error)),
    };
    let mut bytes = Vec::new();
    if file.take(LARGEST_FILE + 1).read_to_end(&mut bytes).map_err(failed)? as u64 > LARGEST_FILE {
        return Err(StoreError::Size { path: path.into(), limit: LARGEST_FILE });
    }
    let content: Content<K, C> =
        serde_json::from_slice(&bytes).map_err(|source| StoreError::Damaged { path: path.into(), source })?;
    if content.measured_by != measured_by {
        let expected = measured_by.to_owned();
        return Err(StoreError::Foreign { path: path.into(), found: content.measured_by, expected });
    }
    Ok(Plans(content.plans.into_iter().collect()))
}

/// Writes the plans beside those that another process wrote meanwhile: to a new file, which then takes the old one's
/// place.
pub fn write<K, C>(path: &Path, measured_by: &str, plans: &Plans<K, C>) -> Result<(), StoreError>
where
    K: Clone + Eq + Hash + Serialize + DeserializeOwned,
    C: Copy + Serialize + DeserializeOwned,
{
    // A file that is not understood is not overwritten.
    let mut all: Plans<K, C> = read(path, measured_by)?;
    all.0.extend(plans.0.iter().map(|(key, choice)| (key.clone(), *choice)));
    let mut plans: Vec<_> = all.0.into_iter().collect();
    plans.sort_by_cached_key(|(key, _)| serde_json::to_string(key).unwrap_or_default());
    let failed = |source| StoreError::Io { path: path.into(), source };
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(failed)?;
    let text = serde_json::to_vec(&Content { measured_by: measured_by.to_owned(), plans })
        .map_err(|error| failed(error.into()))?;
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(&text).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}
