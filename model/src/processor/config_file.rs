//! Reads the settings that a checkpoint brings. Of several files that have them the first counts, alone, as in HF 5:
//!
//! | settings for | are read from |
//! | --- | --- |
//! | pictures | `processor_config.json`, its `image_processor`; `preprocessor_config.json` |
//! | videos | `processor_config.json`, its `video_processor`; `video_preprocessor_config.json`; `preprocessor_config.json` |
//!
//! `save_pretrained` of HF 5 writes the first and leaves older ones of the same folder as they were, so that a
//! fine-tune's limits are in the first. What it has beside those two is not read, also as in HF, with a warning where
//! it looks like settings. Without any file, settings are the released ones.

use std::path::Path;

use serde::de::Error as _;
use serde_json::{Map, Value};

use super::settings::{NAMES, Settings};
use super::{ImageError, PreprocessorConfig, VideoConfig};
use crate::json::parse_json;

impl PreprocessorConfig {
    /// Reads settings for pictures from the text of a `preprocessor_config.json`.
    ///
    /// # Errors
    /// [`ImageError::Json`] (with the name `origin`) for text that is no such file, [`ImageError::Setting`] for a value
    /// that cannot work.
    pub fn from_json(text: &str, origin: impl AsRef<Path>) -> Result<Self, ImageError> {
        Settings(&parse(text, origin.as_ref())?).read_pictures()
    }
}

impl VideoConfig {
    /// Reads settings for videos from the text of a `video_preprocessor_config.json`; `pictures` are the checkpoint's
    /// settings for pictures, which supply what the text leaves out.
    ///
    /// # Errors
    /// As [`PreprocessorConfig::from_json`].
    pub fn from_json(text: &str, origin: impl AsRef<Path>, pictures: &PreprocessorConfig) -> Result<Self, ImageError> {
        Settings(&parse(text, origin.as_ref())?).read_videos(pictures)
    }
}

/// The file of both settings.
const JOINT: &str = "processor_config.json";
/// The file of settings for pictures.
const PICTURES: &str = "preprocessor_config.json";
/// The file of settings for videos.
const VIDEOS: &str = "video_preprocessor_config.json";

/// Settings, and the name of their file.
type Found = (&'static str, Map<String, Value>);

/// Reads both settings from the folder of a checkpoint; absent files mean the released values.
pub(super) fn read_folder(folder: &Path) -> Result<(PreprocessorConfig, VideoConfig), ImageError> {
    let joint = read_object(&folder.join(JOINT))?.unwrap_or_default();
    warn_of_flat(&joint);
    let find = |key: &str, files: &[&'static str]| -> Result<Option<Found>, ImageError> {
        if let Some(nested) = joint.get(key).filter(|nested| !nested.is_null()) {
            warn_of_unread(folder, key, files);
            let source = || serde_json::Error::custom(format!("`{key}` is {nested:.80}, expected an object"));
            let nested =
                nested.as_object().ok_or_else(|| ImageError::Json { path: folder.join(JOINT), source: source() });
            return Ok(Some((JOINT, nested?.clone())));
        }
        for name in files {
            if let Some(object) = read_object(&folder.join(name))? {
                return Ok(Some((name, object)));
            }
        }
        Ok(None)
    };
    let at = |name: &str, error| ImageError::File { path: folder.join(name), source: Box::new(error) };
    let pictures = match find("image_processor", &[PICTURES])? {
        Some((name, object)) => Settings(&object).read_pictures().map_err(|error| at(name, error))?,
        None => PreprocessorConfig::default(),
    };
    let videos = match find("video_processor", &[VIDEOS, PICTURES])? {
        Some((name, object)) => Settings(&object).read_videos(&pictures).map_err(|error| at(name, error))?,
        None => VideoConfig::beside(&pictures),
    };
    Ok((pictures, videos))
}

/// Says that older files beside the joint one are not read.
fn warn_of_unread(folder: &Path, key: &str, files: &[&str]) {
    if let Some(name) = files.iter().find(|name| folder.join(name).exists()) {
        tracing::debug!(dir = %folder.display(), "settings are those under {key} of {JOINT}; {name} is not read");
    }
}

/// Says that settings of the joint file stand where HF doesn't read them.
fn warn_of_flat(joint: &Map<String, Value>) {
    let flat: Vec<&str> = NAMES.into_iter().filter(|name| joint.contains_key(*name)).collect();
    if !flat.is_empty() {
        let names = flat.join("`, `");
        tracing::warn!("{JOINT}: `{names}` are not read: settings belong into its image_processor or video_processor");
    }
}

/// An object: serde would take a list for the fields in order.
fn parse(text: &str, path: &Path) -> Result<Map<String, Value>, ImageError> {
    parse_json(text).map_err(|source| ImageError::Json { path: path.to_owned(), source })
}

/// The object in the file at `path`; `None` where there is no file.
fn read_object(path: &Path) -> Result<Option<Map<String, Value>>, ImageError> {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&text, path).map(Some),
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ImageError::Read { path: path.to_owned(), source }),
    }
}
