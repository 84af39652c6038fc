//! Reads the settings that a checkpoint brings. Of several files that have them the first counts, alone, as in HF 5:
//!
//! | settings for | are read from |
//! | --- | --- |
//! | pictures | `processor_config.json`, its `image_processor`; `preprocessor_config.json` |
//! | videos | `processor_config.json`, its `video_processor`; `video_preprocessor_config.json`; `preprocessor_config.json` |
//!
//! `save_pretrained` of HF 5 writes the first and leaves older ones of the same folder as they were, so that a
//! fine-tune's limits are in the first.
//!
//! Pixel limits come as `size.shortest_edge` / `size.longest_edge`, which are pixel counts despite their names, or in
//! the older spelling `min_pixels` / `max_pixels`, at the top level (where it wins, as in HF) or inside `size`. What a
//! file leaves out has the released value.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::config::require;
use super::{ImageError, PreprocessorConfig, VideoConfig};

/// Bicubic, in Pillow's numbering: the only filter that Qwen3-VL uses.
const BICUBIC: u32 = 3;

/// The keys of a settings file that matter here.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Settings {
    size: Option<Size>,
    min_pixels: Option<usize>,
    max_pixels: Option<usize>,
    patch_size: Option<usize>,
    temporal_patch_size: Option<usize>,
    merge_size: Option<usize>,
    image_mean: Option<Vec<f32>>,
    image_std: Option<Vec<f32>>,
    do_resize: Option<bool>,
    do_rescale: Option<bool>,
    rescale_factor: Option<f64>,
    do_normalize: Option<bool>,
    resample: Option<u32>,
    fps: Option<f64>,
    min_frames: Option<usize>,
    max_frames: Option<usize>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Size {
    #[serde(alias = "min_pixels")]
    shortest_edge: Option<usize>,
    #[serde(alias = "max_pixels")]
    longest_edge: Option<usize>,
}

impl PreprocessorConfig {
    /// Reads settings for pictures from the text of a `preprocessor_config.json`.
    ///
    /// # Errors
    /// [`ImageError::Json`] (with the name `origin`) for text that is no such file, [`ImageError::Setting`] for a value
    /// that cannot work.
    pub fn from_json(text: &str, origin: impl AsRef<Path>) -> Result<Self, ImageError> {
        parse(text, origin.as_ref()).and_then(|settings| read_pictures(settings, Self::default()))
    }
}

impl VideoConfig {
    /// Reads settings for videos from the text of a `video_preprocessor_config.json`; `pictures` are the checkpoint's
    /// settings for pictures, which supply what the text leaves out.
    ///
    /// # Errors
    /// As [`PreprocessorConfig::from_json`].
    pub fn from_json(text: &str, origin: impl AsRef<Path>, pictures: &PreprocessorConfig) -> Result<Self, ImageError> {
        parse(text, origin.as_ref()).and_then(|settings| read_videos(settings, pictures))
    }
}

/// The file of both settings.
const JOINT: &str = "processor_config.json";
/// The file of settings for pictures.
const PICTURES: &str = "preprocessor_config.json";
/// The file of settings for videos.
const VIDEOS: &str = "video_preprocessor_config.json";

/// Reads both settings from the folder of a checkpoint; absent files mean the released values.
pub(super) fn read_folder(folder: &Path) -> Result<(PreprocessorConfig, VideoConfig), ImageError> {
    let joint = read_object(&folder.join(JOINT))?.unwrap_or_default();
    let find = |key: &str, files: &[&str]| -> Result<Settings, ImageError> {
        let json = |name: &str, source| ImageError::Json { path: folder.join(name), source };
        if let Some(nested) = joint.get(key).filter(|nested| !nested.is_null()) {
            warn_of_unread(folder, key, files);
            return read_settings(nested).map_err(|source| json(JOINT, source));
        }
        for name in files {
            if let Some(object) = read_object(&folder.join(name))? {
                return Settings::deserialize(Value::Object(object)).map_err(|source| json(name, source));
            }
        }
        Ok(Settings::default())
    };
    let pictures = read_pictures(find("image_processor", &[PICTURES])?, PreprocessorConfig::default())?;
    let videos = read_videos(find("video_processor", &[VIDEOS, PICTURES])?, &pictures)?;
    Ok((pictures, videos))
}

/// Says that older files beside the joint one are not read.
fn warn_of_unread(folder: &Path, key: &str, files: &[&str]) {
    if let Some(name) = files.iter().find(|name| folder.join(name).exists()) {
        tracing::debug!(dir = %folder.display(), "settings are those under {key} of {JOINT}; {name} is not read");
    }
}

/// Settings that are nested in a file.
fn read_settings(nested: &Value) -> Result<Settings, serde_json::Error> {
    let object: Map<String, Value> = Map::deserialize(nested)?;
    Settings::deserialize(Value::Object(object))
}

fn read_pictures(settings: Settings, absent: PreprocessorConfig) -> Result<PreprocessorConfig, ImageError> {
    if let Some(resample) = settings.resample {
        require(resample == BICUBIC, "resample", resample, "3 (bicubic)")?;
    }
    let size = settings.size.unwrap_or_default();
    let config = PreprocessorConfig {
        min_pixels: settings.min_pixels.or(size.shortest_edge).unwrap_or(absent.min_pixels),
        max_pixels: settings.max_pixels.or(size.longest_edge).unwrap_or(absent.max_pixels),
        patch_size: settings.patch_size.unwrap_or(absent.patch_size),
        temporal_patch_size: settings.temporal_patch_size.unwrap_or(absent.temporal_patch_size),
        merge_size: settings.merge_size.unwrap_or(absent.merge_size),
        image_mean: read_channels("image_mean", settings.image_mean, absent.image_mean)?,
        image_std: read_channels("image_std", settings.image_std, absent.image_std)?,
        do_resize: settings.do_resize.unwrap_or(absent.do_resize),
        do_rescale: settings.do_rescale.unwrap_or(absent.do_rescale),
        rescale_factor: settings.rescale_factor.unwrap_or(absent.rescale_factor),
        do_normalize: settings.do_normalize.unwrap_or(absent.do_normalize),
    };
    config.validate()?;
    Ok(config)
}

fn read_videos(settings: Settings, pictures: &PreprocessorConfig) -> Result<VideoConfig, ImageError> {
    let absent = VideoConfig::beside(pictures);
    let (fps, min_frames, max_frames) = (settings.fps, settings.min_frames, settings.max_frames);
    let config = VideoConfig {
        frames: read_pictures(settings, absent.frames)?,
        fps: fps.unwrap_or(absent.fps),
        min_frames: min_frames.unwrap_or(absent.min_frames),
        max_frames: max_frames.unwrap_or(absent.max_frames),
    };
    config.validate()?;
    Ok(config)
}

fn read_channels(name: &'static str, given: Option<Vec<f32>>, absent: [f32; 3]) -> Result<[f32; 3], ImageError> {
    match given {
        None => Ok(absent),
        Some(given) => {
            let channels = <[f32; 3]>::try_from(given.as_slice());
            channels.map_err(|_| ImageError::Setting { name, value: format!("{given:?}"), expected: "three numbers" })
        }
    }
}

/// Through an object, since serde would take a list for the fields in order.
fn parse<T: for<'de> Deserialize<'de>>(text: &str, path: &Path) -> Result<T, ImageError> {
    serde_json::from_str::<Map<String, Value>>(text)
        .and_then(|object| T::deserialize(Value::Object(object)))
        .map_err(|source| ImageError::Json { path: path.to_owned(), source })
}

/// The object in the file at `path`; `None` where there is no file.
fn read_object(path: &Path) -> Result<Option<Map<String, Value>>, ImageError> {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&text, path).map(Some),
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ImageError::Read { path: path.to_owned(), source }),
    }
}
