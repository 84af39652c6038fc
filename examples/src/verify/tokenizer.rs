//! Finds the tokenizer, compressed or not.

use crate::Error;
use qwen3_vl_burn::prompt::Tokenizer;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Most bytes of a `tokenizer.json`; Qwen's has 11 MB.
const MAX_BYTES: u64 = 1 << 28;

/// Reads a tokenizer from a file (`.json` or `.json.gz`) or from the folder that holds `tokenizer.json` or
/// `tokenizer.json.gz`.
///
/// # Errors
/// [`Error::File`] for a file that is missing or no gzip file, [`Error::Case`] for one beyond 256 MiB, [`Error::Model`]
/// for one that is no tokenizer.
pub(super) fn load_tokenizer(path: &Path) -> Result<Tokenizer, Error> {
    let path = find_file(path);
    let failed = |source| Error::File { path: path.clone(), source };
    let file = File::open(&path).map_err(failed)?;
    let reader: Box<dyn Read> = match path.extension() {
        Some(end) if end == "gz" => Box::new(flate2::read::GzDecoder::new(file)),
        _ => Box::new(file),
    };
    let mut data = Vec::new();
    reader.take(MAX_BYTES + 1).read_to_end(&mut data).map_err(failed)?;
    if data.len() as u64 > MAX_BYTES {
        return Err(Error::Case { path, reason: format!("more than {MAX_BYTES} bytes are no tokenizer") });
    }
    Ok(Tokenizer::from_bytes(&data, path)?)
}

fn find_file(path: &Path) -> PathBuf {
    let compressed = path.join("tokenizer.json.gz");
    match path.is_dir() {
        false => path.to_owned(),
        true if !path.join("tokenizer.json").is_file() && compressed.is_file() => compressed,
        true => path.join("tokenizer.json"),
    }
}
