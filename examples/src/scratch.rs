//! The one temporary folder of a program, which goes away however the program ends: also by Ctrl-C.

use crate::Error;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tempfile::TempDir;

static FOLDER: Mutex<Option<TempDir>> = Mutex::new(None);

/// A folder elsewhere that is not finished yet.
static UNFINISHED: Mutex<Option<PathBuf>> = Mutex::new(None);

fn lock() -> MutexGuard<'static, Option<TempDir>> {
    FOLDER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The folder, made at the first call. Temporary files of the library go there too from then on.
///
/// # Errors
/// [`Error::File`] where the system's temporary folder cannot be written.
pub fn open() -> Result<PathBuf, Error> {
    let mut folder = lock();
    if let Some(folder) = &*folder {
        return Ok(folder.path().to_owned());
    }
    let parent = std::env::temp_dir();
    let made = tempfile::Builder::new().prefix("kiln-").tempdir_in(&parent);
    let made = made.map_err(|source| Error::File { path: parent, source })?;
    // Whoever chose another place before is right.
    let _ = tempfile::env::override_temp_dir(made.path());
    Ok(folder.insert(made).path().to_owned())
}

/// Removes `folder`, which is being written, too where Ctrl-C ends the program.
pub fn remove_with_it(folder: &Path) {
    *UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner) = Some(folder.to_owned());
}

/// Removes the folder with all that is in it, and an unfinished one. Whatever cannot be removed stays: the program
/// ends.
pub fn remove() {
    drop(lock().take());
    if let Some(folder) = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let _ = std::fs::remove_dir_all(folder);
    }
}
