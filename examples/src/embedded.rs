//! The checkpoint and the picture inside this program, for a first run without a download.
//!
//! Its weights are random (`make_checkpoint --size tiny` writes them again): it shows that everything works, not what a
//! picture shows.

use crate::{Error, scratch};
use std::path::{Path, PathBuf};

const FILES: [(&str, &[u8]); 5] = [
    ("config.json", include_bytes!("../assets/tiny/config.json")),
    ("model.safetensors", include_bytes!("../assets/tiny/model.safetensors")),
    ("preprocessor_config.json", include_bytes!("../assets/tiny/preprocessor_config.json")),
    ("tokenizer.json", include_bytes!("../assets/tiny/tokenizer.json")),
    ("picture.png", include_bytes!("../assets/picture.png")),
];

/// Writes the checkpoint and `picture.png` into a folder that goes away when the program ends ([`scratch`]).
///
/// # Errors
/// [`Error::File`] where the temporary folder cannot be written.
pub fn unpack() -> Result<PathBuf, Error> {
    let failed = |path: &Path, source| Error::File { path: path.to_owned(), source };
    let dir = scratch::open()?;
    for (name, bytes) in FILES {
        let path = dir.join(name);
        std::fs::write(&path, bytes).map_err(|error| failed(&path, error))?;
    }
    Ok(dir)
}
