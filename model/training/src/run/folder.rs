//! The folder of a run.
//!
//! ```text
//! OUT/run.json                   what the run is: what trains, on which data, how (marks the folder as a run's own)
//! OUT/metrics.csv, loss.svg      what it measured
//! OUT/checkpoints/step-00000100  weights or adapter, state of the optimiser, place in the data
//! OUT/adapter or OUT/model       the result: of the best evaluation, or of the last step without evaluation data
//! ```
//!
//! A folder below is made under a name that begins with `.writing-`, its files are synced, and it is renamed: what has
//! its name is whole. What a process that was killed has left under such a name is removed by the next.

use super::error::{MANIFEST, RunError};
use super::manifest;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

const CHECKPOINTS: &str = "checkpoints";
const STEP: &str = "step-";
/// Begins the name of what is being written.
const WRITING: &str = ".writing-";
/// Begins the name of what is being replaced.
const OLD: &str = ".old-";
const LOCK: &str = ".lock";

/// A folder that this process alone writes.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// Held while the run lasts.
    _lock: File,
}

impl RunFolder {
    /// Makes the folder of a new run, with its manifest. An empty folder may be there, or that of a run that ended
    /// before its first checkpoint.
    ///
    /// # Errors
    /// [`RunError::NotARun`], [`RunError::Exists`], [`RunError::InUse`], [`RunError::Write`].
    pub fn create(path: &Path, manifest: &impl Serialize) -> Result<Self, RunError> {
        match std::fs::read_dir(path) {
            Ok(mut entries) => {
                let is_run = path.join(MANIFEST).exists();
                // A run that was refused before its manifest was written leaves its lock.
                if !is_run && entries.any(|entry| entry.is_ok_and(|entry| entry.file_name() != LOCK)) {
                    return Err(RunError::NotARun { path: path.to_owned(), manifest: MANIFEST });
                }
                if let Some((step, _)) = list_checkpoints(path)?.pop().filter(|_| is_run) {
                    return Err(RunError::Exists { path: path.to_owned(), step });
                }
                if is_run {
                    check_unused(path, manifest)?;
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                std::fs::create_dir_all(path).map_err(|source| RunError::Write { path: path.to_owned(), source })?;
            }
            Err(source) => return Err(RunError::Read { path: path.to_owned(), source }),
        }
        let folder = Self::lock(path)?;
        replace_file(&path.join(MANIFEST), &manifest::to_bytes(manifest))?;
        Ok(folder)
    }

    /// Opens the folder of a run.
    ///
    /// # Errors
    /// [`RunError::NothingToResume`] where there is none, [`RunError::NotARun`], [`RunError::InUse`],
    /// [`RunError::Read`].
    pub fn open(path: &Path) -> Result<Self, RunError> {
        read_file(path)?;
        let folder = Self::lock(path)?;
        folder.remove_leftovers()?;
        Ok(folder)
    }

    /// Compares the run's manifest with that of what should go on in it. What is below one of the paths `free` may
    /// differ.
    ///
    /// # Errors
    /// [`RunError::Changed`], [`RunError::Damaged`], [`RunError::Read`].
    pub fn check_unchanged<M: Serialize + DeserializeOwned>(
        &self,
        manifest: &M,
        free: &[&str],
    ) -> Result<(), RunError> {
        let differences = manifest::differences(&read_manifest::<M>(&self.path)?, manifest, free);
        if differences.is_empty() {
            return Ok(());
        }
        Err(RunError::Changed { path: self.path.clone(), differences })
    }

    fn lock(path: &Path) -> Result<Self, RunError> {
        let lock = path.join(LOCK);
        let file = File::options().create(true).truncate(false).write(true).open(&lock);
        let file = file.map_err(|source| RunError::Write { path: lock.clone(), source })?;
        match file.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: file }),
            Err(TryLockError::WouldBlock) => Err(RunError::InUse { path: path.to_owned() }),
            // File systems without locks are used without.
            Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => {
                Ok(Self { path: path.to_owned(), _lock: file })
            }
            Err(TryLockError::Error(source)) => Err(RunError::Write { path: lock, source }),
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its checkpoints with their steps, the oldest first.
    ///
    /// # Errors
    /// [`RunError::Read`].
    pub fn checkpoints(&self) -> Result<Vec<(u64, PathBuf)>, RunError> {
        list_checkpoints(&self.path)
    }

    /// Writes the checkpoint of `step`: `fill` is given an empty folder. One of the same step is replaced.
    ///
    /// # Errors
    /// [`RunError::Write`], and what `fill` gives; nothing of the new one stays then.
    pub fn write_checkpoint<E: From<RunError>>(
        &self,
        step: u64,
        fill: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<PathBuf, E> {
        let parent = self.path.join(CHECKPOINTS);
        std::fs::create_dir_all(&parent).map_err(|source| RunError::Write { path: parent.clone(), source })?;
        write_folder(&parent, &format!("{STEP}{step:08}"), fill)
    }

    /// Writes the result, in place of the one before it.
    ///
    /// # Errors
    /// As [`RunFolder::write_checkpoint`].
    pub fn write_result<E: From<RunError>>(
        &self,
        name: &str,
        fill: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<PathBuf, E> {
        write_folder(&self.path, name, fill)
    }

    /// Removes all checkpoints but the last `keep`.
    ///
    /// # Errors
    /// [`RunError::Write`].
    pub fn thin_out(&self, keep: usize) -> Result<(), RunError> {
        let checkpoints = self.checkpoints()?;
        let surplus = checkpoints.len().saturating_sub(keep.max(1));
        checkpoints[..surplus].iter().try_for_each(|(_, path)| remove_folder(path))
    }

    /// Removes what a process that was killed has left half written, and puts back what it was replacing.
    fn remove_leftovers(&self) -> Result<(), RunError> {
        for parent in [self.path.clone(), self.path.join(CHECKPOINTS)] {
            let Ok(entries) = std::fs::read_dir(&parent) else { continue };
            for entry in entries.flatten() {
                let name = entry.file_name();
                let Some(name) = name.to_str().filter(|_| entry.path().is_dir()) else { continue };
                match name.strip_prefix(OLD).map(|name| parent.join(name)) {
                    Some(target) if !target.exists() => rename(&entry.path(), &target)?,
                    None if !name.starts_with(WRITING) => {}
                    _ => remove_folder(&entry.path())?,
                }
            }
        }
        Ok(())
    }
}

/// The manifest of the run in a folder.
///
/// # Errors
/// [`RunError::NothingToResume`] where there is none, [`RunError::NotARun`], [`RunError::Damaged`],
/// [`RunError::Read`].
pub fn read_manifest<M: DeserializeOwned>(path: &Path) -> Result<M, RunError> {
    manifest::from_bytes(&path.join(MANIFEST), &read_file(path)?)
}

fn read_file(path: &Path) -> Result<Vec<u8>, RunError> {
    let manifest = path.join(MANIFEST);
    match std::fs::read(&manifest) {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let is_empty = std::fs::read_dir(path).map_or(true, |mut entries| entries.next().is_none());
            let path = path.to_owned();
            Err(match is_empty {
                true => RunError::NothingToResume { path },
                false => RunError::NotARun { path, manifest: MANIFEST },
            })
        }
        Err(source) => Err(RunError::Read { path: manifest, source }),
    }
}

/// Refuses a folder whose manifest is another program's, and one in which there is more than a run leaves that ended
/// before its first checkpoint: what is there would be replaced.
fn check_unused(path: &Path, manifest: &impl Serialize) -> Result<(), RunError> {
    let keys = |bytes: &[u8]| match serde_json::from_slice(bytes) {
        Ok(serde_json::Value::Object(fields)) => fields.keys().cloned().collect::<Vec<_>>(),
        _ => Vec::new(),
    };
    if keys(&read_file(path)?) != keys(&manifest::to_bytes(manifest)) {
        return Err(RunError::Occupied { path: path.to_owned(), name: MANIFEST.to_owned() });
    }
    let entries = std::fs::read_dir(path).map_err(|source| RunError::Read { path: path.to_owned(), source })?;
    for name in entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()) {
        let left = [LOCK, MANIFEST, CHECKPOINTS, "metrics.csv", "loss.svg"].contains(&name.as_str());
        if !left && !name.starts_with(WRITING) && !name.starts_with(".tmp") {
            return Err(RunError::Occupied { path: path.to_owned(), name });
        }
    }
    Ok(())
}

fn list_checkpoints(path: &Path) -> Result<Vec<(u64, PathBuf)>, RunError> {
    let parent = path.join(CHECKPOINTS);
    let entries = match std::fs::read_dir(&parent) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(RunError::Read { path: parent, source }),
    };
    let mut checkpoints = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| RunError::Read { path: parent.clone(), source })?;
        let name = entry.file_name();
        let step = name.to_str().and_then(|name| name.strip_prefix(STEP)).and_then(|step| step.parse().ok());
        checkpoints.extend(step.map(|step| (step, entry.path())));
    }
    checkpoints.sort();
    Ok(checkpoints)
}

/// Makes the folder `parent/name`, whole or not at all.
fn write_folder<E: From<RunError>>(
    parent: &Path,
    name: &str,
    fill: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<PathBuf, E> {
    let (writing, old) = (parent.join(format!("{WRITING}{name}")), parent.join(format!("{OLD}{name}")));
    let target = parent.join(name);
    remove_folder(&writing)?;
    remove_folder(&old)?;
    let failed = |source| RunError::Write { path: writing.clone(), source };
    std::fs::create_dir(&writing).map_err(failed)?;
    let written = fill(&writing).and_then(|()| Ok(sync_folder(&writing)?));
    if let Err(error) = written {
        // The error that is told is the first one.
        let _ = remove_folder(&writing);
        return Err(error);
    }
    // A folder that has files cannot be replaced by renaming another to its name.
    let replaces = target.exists();
    if replaces {
        rename(&target, &old)?;
    }
    rename(&writing, &target)?;
    sync_entries(parent).map_err(|source| RunError::Write { path: parent.to_owned(), source })?;
    if replaces {
        remove_folder(&old)?;
    }
    Ok(target)
}

fn rename(from: &Path, to: &Path) -> Result<(), RunError> {
    std::fs::rename(from, to).map_err(|source| RunError::Write { path: to.to_owned(), source })
}

fn remove_folder(path: &Path) -> Result<(), RunError> {
    match std::fs::remove_dir_all(path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(RunError::Write { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Brings the files of a folder to the disk. A full disk may show here first.
fn sync_folder(path: &Path) -> Result<(), RunError> {
    let failed = |path: &Path, source| RunError::Write { path: path.to_owned(), source };
    for entry in std::fs::read_dir(path).map_err(|error| failed(path, error))? {
        let file = entry.map_err(|error| failed(path, error))?.path();
        // Windows syncs what was opened for writing only.
        let synced = File::options().write(true).open(&file).and_then(|file| file.sync_all());
        synced.map_err(|error| failed(&file, error))?;
    }
    sync_entries(path).map_err(|error| failed(path, error))
}

/// Brings the names in a folder to the disk, where the system can.
fn sync_entries(path: &Path) -> std::io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

/// Writes a file, whole or not at all.
///
/// # Errors
/// [`RunError::Write`].
pub fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    let failed = |source| RunError::Write { path: path.to_owned(), source };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(parent).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    // The temporary file is its owner's alone; what takes its place may be read as any other.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644)).map_err(failed)?;
    }
    file.persist(path).map_err(|error| failed(error.error)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &RunFolder, step: u64, text: &str) -> Result<PathBuf, RunError> {
        folder.write_checkpoint(step, |dir| {
            std::fs::write(dir.join("a"), text).map_err(|source| RunError::Write { path: dir.to_owned(), source })
        })
    }

    #[test]
    fn a_folder_of_something_else_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("thesis.tex"), "").unwrap();
        assert!(matches!(RunFolder::create(dir.path(), &()), Err(RunError::NotARun { .. })));
        assert!(matches!(RunFolder::open(dir.path()), Err(RunError::NotARun { .. })));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        let missing = dir.path().join("missing");
        assert!(matches!(RunFolder::open(&missing), Err(RunError::NothingToResume { .. })));
        assert!(!missing.exists());
    }

    #[test]
    fn one_run_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/run");
        let folder = RunFolder::create(&path, &()).unwrap();
        assert!(matches!(RunFolder::open(&path), Err(RunError::InUse { .. })));
        write(&folder, 7, "").unwrap();
        drop(folder);
        assert!(matches!(RunFolder::create(&path, &()), Err(RunError::Exists { step: 7, .. })));
        assert!(RunFolder::open(&path).is_ok());
    }

    #[test]
    fn what_has_its_name_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(dir.path(), &()).unwrap();
        for step in [2, 10, 6] {
            write(&folder, step, "old").unwrap();
        }
        // One that fails leaves the one before it.
        let failed = folder.write_checkpoint(10, |dir| {
            std::fs::write(dir.join("a"), "half").unwrap();
            Err(RunError::NothingToResume { path: dir.to_owned() })
        });
        assert!(failed.is_err());
        let steps =
            |folder: &RunFolder| folder.checkpoints().unwrap().into_iter().map(|(step, _)| step).collect::<Vec<_>>();
        assert_eq!(steps(&folder), [2, 6, 10]);
        let (_, last) = folder.checkpoints().unwrap().pop().unwrap();
        assert_eq!(std::fs::read_to_string(last.join("a")).unwrap(), "old");
        write(&folder, 10, "new").unwrap();
        assert_eq!(std::fs::read_to_string(last.join("a")).unwrap(), "new");

        folder.thin_out(2).unwrap();
        assert_eq!(steps(&folder), [6, 10]);
        assert_eq!(std::fs::read_dir(last.parent().unwrap()).unwrap().count(), 2);

        // Killed between two renames, and in the middle of a write.
        let parent = last.parent().unwrap().to_owned();
        std::fs::rename(&last, parent.join(".old-step-00000010")).unwrap();
        std::fs::create_dir(parent.join(".writing-step-00000010")).unwrap();
        drop(folder);
        let folder = RunFolder::open(dir.path()).unwrap();
        assert_eq!(steps(&folder), [6, 10]);
        assert_eq!(std::fs::read_dir(parent).unwrap().count(), 2);
    }
}
