//! Reads a file of a size that its kind can have.

use std::fs::{self, File, Metadata};
use std::io::Read;
use std::path::Path;

use super::format::{HEAD, recognise};
use super::{DecodeLimits, ImageError};

/// Checks that there is a regular file at `path`: not a folder, and not a pipe or device, which may never end.
///
/// # Errors
/// [`ImageError::Read`], [`ImageError::NotAFile`].
pub(super) fn require_file(path: &Path) -> Result<Metadata, ImageError> {
    let found = fs::metadata(path).map_err(|source| ImageError::Read { path: path.to_owned(), source })?;
    if found.is_file() {
        return Ok(found);
    }
    let kind = if found.is_dir() { "a folder" } else { "a pipe or device" };
    Err(ImageError::NotAFile { path: path.to_owned(), found: kind })
}

/// Reads the picture file at `path`. Bytes that begin no picture are not read on.
///
/// # Errors
/// Those of [`require_file`], [`ImageError::FileTooLarge`], [`ImageError::UnknownFormat`],
/// [`ImageError::UnsupportedFormat`].
pub(super) fn read_file(path: &Path, limits: &DecodeLimits) -> Result<Vec<u8>, ImageError> {
    let failed = |source| ImageError::Read { path: path.to_owned(), source };
    let bytes = require_file(path)?.len();
    let max_bytes = limits.max_file_bytes;
    let too_large = |bytes| ImageError::FileTooLarge { path: path.to_owned(), bytes, max_bytes };
    if bytes > max_bytes {
        return Err(too_large(bytes));
    }
    let mut file = File::open(path).map_err(failed)?;
    let mut data = Vec::new();
    file.by_ref().take(HEAD as u64).read_to_end(&mut data).map_err(failed)?;
    recognise(&data, bytes)?;
    // It may have grown since.
    file.take(max_bytes).read_to_end(&mut data).map_err(failed)?;
    if data.len() as u64 > max_bytes {
        return Err(too_large(data.len() as u64));
    }
    Ok(data)
}
