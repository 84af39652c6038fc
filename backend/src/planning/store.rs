//! Measured plans in a file, for the machine and the version that measured them.

use super::choice::Choice;
use super::key::PlanKey;
use crate::kernels::gemm::Caches;
use crate::simd::Tier;
use serde::{Deserialize, Serialize};
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

/// The plans of one machine.
#[derive(Debug, Clone, Default)]
pub(super) struct Plans(HashMap<PlanKey, Choice>);

impl Plans {
    pub(super) fn find(&self, key: &PlanKey) -> Option<Choice> {
        self.0.get(key).copied()
    }

    pub(super) fn insert(&mut self, key: PlanKey, choice: Choice) {
        self.0.insert(key, choice);
    }
}

/// What stands in the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    measured_by: String,
    plans: Vec<(PlanKey, Choice)>,
}

/// Version, CPU, caches and tiers: what plans depend on.
fn fingerprint() -> String {
    let caches = Caches::detect();
    let tiers: Vec<String> = Tier::available().iter().map(Tier::to_string).collect();
    format!(
        "burn-kiln {} on {}, L1d {}, L2 {}, L3 {}, {}",
        env!("CARGO_PKG_VERSION"),
        cpu_name(),
        caches.l1d,
        caches.l2,
        caches.l3,
        tiers.join(" ")
    )
}

/// The CPU's name where the system tells it.
fn cpu_name() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split(':').nth(1)).map_or(std::env::consts::ARCH, str::trim).to_owned()
}

/// The file of this machine and version in `folder`, else in the user's cache folder; `None` where there is none.
pub fn plan_file(folder: Option<&Path>) -> Option<PathBuf> {
    let folder = match folder {
        Some(folder) => folder.to_owned(),
        None => dirs::cache_dir()?.join("kiln"),
    };
    let mut hasher = DefaultHasher::new();
    fingerprint().hash(&mut hasher);
    Some(folder.join(format!("plans-{:016x}.json", hasher.finish())))
}

/// The plans of a file; none where there is no file. Plans with sizes that no kernel can have are left out.
pub(super) fn read(path: &Path) -> Result<Plans, StoreError> {
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
    let content: Content =
        serde_json::from_slice(&bytes).map_err(|source| StoreError::Damaged { path: path.into(), source })?;
    let expected = fingerprint();
    if content.measured_by != expected {
        return Err(StoreError::Foreign { path: path.into(), found: content.measured_by, expected });
    }
    Ok(Plans(content.plans.into_iter().filter(|(_, choice)| choice.is_valid()).collect()))
}

/// Writes the plans beside those that another process wrote meanwhile: to a new file, which then takes the old one's place.
pub(super) fn write(path: &Path, plans: &Plans) -> Result<(), StoreError> {
    // A file that is not understood is not overwritten.
    let mut all = read(path)?;
    all.0.extend(plans.0.iter());
    let mut plans: Vec<_> = all.0.into_iter().collect();
    plans.sort_by_key(|(key, _)| (key.shape.n, key.shape.k, key.shape.m));
    let failed = |source| StoreError::Io { path: path.into(), source };
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(failed)?;
    let text =
        serde_json::to_vec(&Content { measured_by: fingerprint(), plans }).map_err(|error| failed(error.into()))?;
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(&text).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}
