//! Measured choices in memory, as their files have them.

use super::store::{Plans, read, write};
use serde::{Serialize, de::DeserializeOwned};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// The files that this process has read, each once, and what it has measured since.
#[derive(Debug)]
pub struct PlanCache<K, C>(Mutex<HashMap<PathBuf, Plans<K, C>>>);

/// Where a choice comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// From a file.
    File,
    /// It was measured now.
    Measured,
}

impl<K, C> Default for PlanCache<K, C> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K, C> PlanCache<K, C> {
    /// Forgets what files hold; the files stay.
    pub fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl<K, C> PlanCache<K, C>
where
    K: Clone + Eq + Hash + Serialize + DeserializeOwned,
    C: Copy + Serialize + DeserializeOwned,
{
    /// The choice for `key` in the file at `path` of `measured_by`, if `is_valid` takes it; else what `measure` gives,
    /// which is written there. Without a path it is measured and not kept. A file that cannot be used is left alone,
    /// with a warning.
    ///
    /// One measures at a time: two would disturb each other's clocks.
    pub fn find_or_measure(
        &self,
        (path, measured_by): (Option<PathBuf>, &str),
        key: &K,
        is_valid: impl FnOnce(&C) -> bool,
        measure: impl FnOnce() -> C,
    ) -> (C, Origin) {
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(path) = path else { return (measure(), Origin::Measured) };
        let kept = match files.entry(path.clone()) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(read(&path, measured_by).unwrap_or_else(|error| {
                tracing::warn!(%error, "what was measured before is measured again");
                Plans::default()
            })),
        };
        if let Some(choice) = kept.find(key).filter(is_valid) {
            return (choice, Origin::File);
        }
        let choice = measure();
        kept.insert(key.clone(), choice);
        if let Err(error) = write(&path, measured_by, kept) {
            tracing::warn!(%error, "what was measured is not kept");
        }
        (choice, Origin::Measured)
    }
}
