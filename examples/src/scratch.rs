//! The one temporary folder of a program, which goes away however the program ends: also by Ctrl-C.

use crate::Error;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tempfile::TempDir;

static FOLDER: Mutex<Option<TempDir>> = Mutex::new(None);

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

/// Removes the folder with all that is in it.
pub fn remove() {
    drop(lock().take());
}
