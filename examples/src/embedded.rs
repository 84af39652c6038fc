//! The checkpoint and the picture inside this program, for a first run without a download.
//!
//! Its weights are random (`make_checkpoint --size tiny` writes them again): it shows that everything works, not what a
//! picture shows.

use crate::Error;
use std::path::Path;

const FILES: [(&str, &[u8]); 5] = [
    ("config.json", include_bytes!("../assets/tiny/config.json")),
    ("model.safetensors", include_bytes!("../assets/tiny/model.safetensors")),
    ("preprocessor_config.json", include_bytes!("../assets/tiny/preprocessor_config.json")),
    ("tokenizer.json", include_bytes!("../assets/tiny/tokenizer.json")),
    ("picture.png", include_bytes!("../assets/picture.png")),
];

/// Writes the checkpoint and `picture.png` into a folder that goes away when the handle is dropped.
///
/// # Errors
/// [`Error::File`] where the temporary folder cannot be written.
pub fn unpack() -> Result<tempfile::TempDir, Error> {
    let failed = |path: &Path, source| Error::File { path: path.to_owned(), source };
    let dir = tempfile::tempdir().map_err(|error| failed(&std::env::temp_dir(), error))?;
    for (name, bytes) in FILES {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).map_err(|error| failed(&path, error))?;
    }
    Ok(dir)
}
