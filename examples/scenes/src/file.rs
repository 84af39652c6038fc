//! Files that are there whole or not at all.

use std::path::Path;

use image::{DynamicImage, ImageFormat};

use crate::error::SceneError;

/// Writes a file under a temporary name beside it and renames it.
///
/// # Errors
/// [`SceneError::File`].
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), SceneError> {
    let wrong = |source| SceneError::File { path: path.to_owned(), source };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(name);
    std::fs::write(&part, bytes).map_err(wrong)?;
    std::fs::rename(&part, path).map_err(wrong)
}

/// Writes a picture as PNG, whole or not at all.
///
/// # Errors
/// [`SceneError::File`], [`SceneError::Picture`].
pub fn write_png(path: &Path, picture: &DynamicImage) -> Result<(), SceneError> {
    let mut bytes = Vec::new();
    picture
        .write_to(&mut std::io::Cursor::new(&mut bytes), ImageFormat::Png)
        .map_err(|source| SceneError::Picture { path: path.to_owned(), source })?;
    write(path, &bytes)
}
