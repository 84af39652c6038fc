//! Reads the settings that a checkpoint brings.
//!
//! | file | holds |
//! | --- | --- |
//! | `preprocessor_config.json` | settings for pictures |
//! | `video_preprocessor_config.json` | settings for videos |
//! | `processor_config.json` | both, under `image_processor` and `video_processor` (newer checkpoints), where the others are absent |
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

/// Reads both settings from the folder of a checkpoint; absent files mean the released values.
pub(super) fn read_folder(folder: &Path) -> Result<(PreprocessorConfig, VideoConfig), ImageError> {
    let joint = match read_if_present(&folder.join("processor_config.json"))? {
        Some(text) => parse::<Value>(&text, &folder.join("processor_config.json"))?,
        None => Value::Null,
    };
    let find = |name: &str, key: &str| -> Result<Option<Settings>, ImageError> {
        let path = folder.join(name);
        if let Some(text) = read_if_present(&path)? {
            return parse(&text, &path).map(Some);
        }
        let json = |source| ImageError::Json { path: folder.join("processor_config.json"), source };
        joint.get(key).map(|value| Settings::deserialize(value).map_err(json)).transpose()
    };
    let pictures = find("preprocessor_config.json", "image_processor")?.unwrap_or_default();
    let pictures = read_pictures(pictures, PreprocessorConfig::default())?;
    let videos = find("video_preprocessor_config.json", "video_processor")?.unwrap_or_default();
    let videos = read_videos(videos, &pictures)?;
    Ok((pictures, videos))
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

fn read_if_present(path: &Path) -> Result<Option<String>, ImageError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ImageError::Read { path: path.to_owned(), source }),
    }
}
