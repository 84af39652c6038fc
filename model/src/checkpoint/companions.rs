//! What a checkpoint has beside its weights.

use super::CheckpointError;
use std::fs;
use std::io::Error;
use std::path::Path;

/// Endings of the files that are copied: settings, tokenizers, templates, and what people wrote.
const COPIED: [&str; 6] = ["json", "jinja", "txt", "model", "gz", "md"];

/// Files that are about weights, or belong to an adapter or to a run of training.
const PASSED_OVER: [&str; 2] = [".index.json", "state.json"];

/// The largest that is copied: a tokenizer has 11 MB.
const MAX_BYTES: u64 = 64 << 20;

/// Copies what is no weight from the folder of one checkpoint to that of another: settings, tokenizer, template,
/// licence.
///
/// # Errors
/// [`CheckpointError::Write`], naming the file that cannot be read or written.
pub fn copy_companions(from: &Path, to: &Path) -> Result<(), CheckpointError> {
    let failed = |path: &Path, source: Error| CheckpointError::Write { path: path.to_owned(), source };
    for entry in fs::read_dir(from).map_err(|error| failed(from, error))? {
        let path = entry.map_err(|error| failed(from, error))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        let wanted = COPIED.contains(&ending) || name.starts_with("LICENSE");
        // A link of the Hub's cache leads to a file.
        let fits = path.metadata().is_ok_and(|found| found.is_file() && found.len() <= MAX_BYTES);
        let other = name.starts_with("adapter_") || PASSED_OVER.iter().any(|end| name.ends_with(end));
        if wanted && fits && !other {
            let target = to.join(name);
            // Not `fs::copy`: a checkpoint that is read-only would make files that are.
            let bytes = fs::read(&path).map_err(|error| failed(&path, error))?;
            fs::write(&target, bytes).map_err(|error| failed(&target, error))?;
        }
    }
    Ok(())
}
