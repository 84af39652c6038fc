//! `--draw`: where a drawing goes, checked before anything is computed, and written as a whole or not at all.

use crate::Error;
use image::{ImageFormat, RgbImage};
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::Path;
use tempfile::NamedTempFile;

/// Refuses a file that could not be written: one that is there already, unless `force` says to overwrite it, one that
/// is no `.png`, and one in a folder that is missing or takes no files.
///
/// # Errors
/// [`Error::Exists`], [`Error::DrawTarget`].
pub fn check_target(path: &Path, force: bool) -> Result<(), Error> {
    let refuse = |reason: String| Err(Error::DrawTarget { path: path.to_owned(), reason });
    if !path.extension().is_some_and(|end| end.eq_ignore_ascii_case("png")) {
        return refuse("a drawing is a PNG file: give it a name that ends in .png".to_owned());
    }
    let found = match path.metadata() {
        Ok(found) => Some(found),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return refuse(describe(&error)),
    };
    if found.as_ref().is_some_and(|found| found.is_dir()) {
        return refuse("it is a folder".to_owned());
    }
    if found.is_some() {
        if !force {
            return Err(Error::Exists { path: path.to_owned() });
        }
        if let Err(error) = OpenOptions::new().write(true).open(path) {
            return refuse(error.to_string());
        }
    }
    match start_file(find_folder(path)) {
        Ok(_) => Ok(()),
        Err(error) => refuse(format!("{}: {}", find_folder(path).display(), describe(&error))),
    }
}

/// Writes a picture as PNG, beside its place first: what is there stays as it is unless all of the new one is written.
///
/// # Errors
/// [`Error::Draw`].
pub fn write_drawing(path: &Path, picture: &RgbImage) -> Result<(), Error> {
    let failed = |reason: String| Error::Draw { path: path.to_owned(), reason };
    let mut png = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut png, ImageFormat::Png).map_err(|error| failed(error.to_string()))?;
    let file = start_file(find_folder(path)).map_err(|error| failed(describe(&error)))?;
    std::fs::write(file.path(), png.get_ref()).map_err(|error| failed(describe(&error)))?;
    file.persist(path).map(drop).map_err(|error| failed(describe(&error.error)))
}

/// What the system says, without the name of a temporary file, which means nothing to anybody.
fn describe(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" at path ").next().unwrap_or(&text).to_owned()
}

/// A file that gets another name once it is whole; as readable as any other file, which a temporary one is not.
fn start_file(folder: &Path) -> std::io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".kiln-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

fn find_folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}
