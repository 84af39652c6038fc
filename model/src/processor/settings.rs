//! Reads the settings for pictures and videos from a JSON object, as HF 5's classes do.
//!
//! | key | absent | null |
//! | --- | --- | --- |
//! | `size`, pictures | 3,136 to 1,003,520 pixels, the default of HF's class | the same |
//! | `size`, videos | 131,072 to 786,432 pixels, the default of HF's class | an error |
//! | `fps` | 2 | every frame is taken, up to `max_frames` |
//! | `do_resize`, `do_rescale`, `do_normalize`, `do_sample_frames` | true | false |
//! | `min_pixels`, `max_pixels`, `num_frames`, `cap_pixels_per_frame` | not set | not set |
//! | others | the released value | an error |
//!
//! Pixel limits are `size.shortest_edge` and `size.longest_edge`, which are pixel counts despite their names. For
//! pictures `min_pixels` and `max_pixels` go before them; inside `size` they are read too, though HF refuses them
//! there. Source: HF transformers 5.24, `Qwen2VLImageProcessor`, `Qwen3VLVideoProcessor` and their base classes.

use serde_json::{Map, Value};

use super::config::require;
use super::{ImageError, PreprocessorConfig, VideoConfig};

/// Bicubic, in Pillow's numbering: the only filter that Qwen3-VL uses.
const BICUBIC: usize = 3;
/// What HF's classes have where a file has no `size`.
const PICTURE_SIZE: (usize, usize) = (3_136, 1_003_520);
const VIDEO_SIZE: (usize, usize) = (131_072, 786_432);
/// HF's default of `max_video_tokens`.
const MAX_VIDEO_TOKENS: usize = 768;
/// Characters of a value that an error repeats.
const SHOWN: usize = 80;

const COUNT: &str = "a whole number";
const EDGES: &str = "an object with shortest_edge and longest_edge, which are pixel counts";

/// Keys of settings, by which an object is known to hold some.
pub(super) const NAMES: [&str; 22] = [
    "size",
    "min_pixels",
    "max_pixels",
    "patch_size",
    "temporal_patch_size",
    "merge_size",
    "image_mean",
    "image_std",
    "do_resize",
    "do_rescale",
    "rescale_factor",
    "do_normalize",
    "do_convert_rgb",
    "do_sample_frames",
    "resample",
    "fps",
    "num_frames",
    "min_frames",
    "max_frames",
    "cap_pixels_per_frame",
    "max_video_tokens",
    "image_processor_type",
];

/// An object of settings.
pub(super) struct Settings<'a>(pub &'a Map<String, Value>);

impl Settings<'_> {
    /// Settings for pictures.
    ///
    /// # Errors
    /// [`ImageError::Setting`] with the key and its value.
    pub fn read_pictures(&self) -> Result<PreprocessorConfig, ImageError> {
        let absent = PreprocessorConfig::default();
        let (min, max) = (self.read_count("min_pixels")?, self.read_count("max_pixels")?);
        let size = if self.0.get("size").is_none_or(Value::is_null) { Some(PICTURE_SIZE) } else { None };
        let config = self.read_shared(absent, (min, max), size)?;
        config.validate()?;
        Ok(config)
    }

    /// Settings for videos; `pictures` supply patches and normalisation that are left out.
    ///
    /// # Errors
    /// As [`Self::read_pictures`].
    pub fn read_videos(&self, pictures: &PreprocessorConfig) -> Result<VideoConfig, ImageError> {
        let absent = VideoConfig::beside(pictures);
        let size = if self.0.contains_key("size") { None } else { Some(VIDEO_SIZE) };
        if let Some(name) = ["min_pixels", "max_pixels"].into_iter().find(|name| self.0.get(*name).is_some_and(is_set))
        {
            tracing::warn!("`{name}` is not read for videos, as in HF: their limits are those of `size`");
        }
        let frames = self.read_shared(absent.frames, (None, None), size)?;
        let max_frames = self.require_count("max_frames", absent.max_frames)?;
        let every = matches!(self.0.get("fps"), Some(Value::Null));
        let num_frames = self.read_count("num_frames")?;
        if let Some(count) = num_frames.filter(|_| !every) {
            tracing::warn!(
                "`num_frames` is {count}, and `fps` is set too: {count} frames are sampled (HF refuses videos)"
            );
        }
        let capped = self.read_flag("cap_pixels_per_frame", false)?;
        let most = self.require_count("max_video_tokens", MAX_VIDEO_TOKENS)?;
        let config = VideoConfig {
            frames,
            fps: if every { absent.fps } else { self.require_number("fps", absent.fps)? },
            num_frames: num_frames.or(every.then_some(max_frames)),
            min_frames: self.require_count("min_frames", absent.min_frames)?,
            max_frames,
            do_sample_frames: self.read_flag("do_sample_frames", absent.do_sample_frames)?,
            max_frame_tokens: capped.then_some(most),
        };
        config.validate()?;
        Ok(config)
    }

    /// What pictures and frames have in common. `limits`: pixels that go before `size`, which is `size` where the
    /// object has none.
    fn read_shared(
        &self,
        absent: PreprocessorConfig,
        limits: (Option<usize>, Option<usize>),
        size: Option<(usize, usize)>,
    ) -> Result<PreprocessorConfig, ImageError> {
        let do_resize = self.read_flag("do_resize", absent.do_resize)?;
        let size = match size {
            Some(size) => size,
            // Without resampling there are no limits.
            None if !do_resize => (absent.min_pixels, absent.max_pixels),
            None => self.read_size(limits)?,
        };
        let resample = self.require_count("resample", BICUBIC)?;
        require(resample == BICUBIC, "resample", resample, "3 (bicubic)")?;
        Ok(PreprocessorConfig {
            min_pixels: limits.0.unwrap_or(size.0),
            max_pixels: limits.1.unwrap_or(size.1),
            patch_size: self.require_count("patch_size", absent.patch_size)?,
            temporal_patch_size: self.require_count("temporal_patch_size", absent.temporal_patch_size)?,
            merge_size: self.require_count("merge_size", absent.merge_size)?,
            image_mean: self.read_channels("image_mean", absent.image_mean)?,
            image_std: self.read_channels("image_std", absent.image_std)?,
            do_resize,
            do_rescale: self.read_flag("do_rescale", absent.do_rescale)?,
            rescale_factor: self.require_number("rescale_factor", absent.rescale_factor)?,
            do_normalize: self.read_flag("do_normalize", absent.do_normalize)?,
        })
    }

    /// The two edges; one that `limits` replace may be missing.
    fn read_size(&self, limits: (Option<usize>, Option<usize>)) -> Result<(usize, usize), ImageError> {
        let value = self.0.get("size").unwrap_or(&Value::Null);
        let wrong = || refuse("size", value, EDGES);
        let object = value.as_object().ok_or_else(wrong)?;
        let known = ["shortest_edge", "longest_edge", "min_pixels", "max_pixels"];
        if object.iter().any(|(name, value)| is_set(value) && !known.contains(&name.as_str())) {
            return Err(wrong());
        }
        let edge = |name: &str, alias: &str, limit: Option<usize>| {
            let given = [name, alias].into_iter().filter_map(|name| object.get(name)).find(|value| is_set(value));
            given.map_or(limit, whole).ok_or_else(wrong)
        };
        Ok((edge("shortest_edge", "min_pixels", limits.0)?, edge("longest_edge", "max_pixels", limits.1)?))
    }

    /// `None` where it is absent or null.
    fn read_count(&self, name: &'static str) -> Result<Option<usize>, ImageError> {
        let given = self.0.get(name).filter(|value| is_set(value));
        given.map(|value| whole(value).ok_or_else(|| refuse(name, value, COUNT))).transpose()
    }

    fn require_count(&self, name: &'static str, absent: usize) -> Result<usize, ImageError> {
        self.0.get(name).map_or(Ok(absent), |value| whole(value).ok_or_else(|| refuse(name, value, COUNT)))
    }

    fn require_number(&self, name: &'static str, absent: f64) -> Result<f64, ImageError> {
        self.0.get(name).map_or(Ok(absent), |value| value.as_f64().ok_or_else(|| refuse(name, value, "a number")))
    }

    fn read_flag(&self, name: &'static str, absent: bool) -> Result<bool, ImageError> {
        match self.0.get(name) {
            None => Ok(absent),
            Some(Value::Null) => Ok(false),
            Some(value) => value.as_bool().ok_or_else(|| refuse(name, value, "true or false")),
        }
    }

    /// Three numbers, or one for all three.
    fn read_channels(&self, name: &'static str, absent: [f32; 3]) -> Result<[f32; 3], ImageError> {
        let Some(value) = self.0.get(name) else { return Ok(absent) };
        let wrong = || refuse(name, value, "three numbers");
        let number = |value: &Value| value.as_f64().map(|number| number as f32);
        match value {
            Value::Array(values) => {
                let read: Option<Vec<f32>> = values.iter().map(number).collect();
                read.and_then(|read| read.try_into().ok()).ok_or_else(wrong)
            }
            value => number(value).map(|number| [number; 3]).ok_or_else(wrong),
        }
    }
}

fn is_set(value: &Value) -> bool {
    !value.is_null()
}

/// A whole number that is not negative; `50176.0` is one.
fn whole(value: &Value) -> Option<usize> {
    // Below 2^53, where every whole number is an f64.
    let number = |number: f64| (0.0..9e15).contains(&number) && number.fract() == 0.0;
    value.as_u64().map(|count| count as usize).or_else(|| value.as_f64().filter(|&n| number(n)).map(|n| n as usize))
}

fn refuse(name: &'static str, value: &Value, expected: &'static str) -> ImageError {
    let mut value = value.to_string();
    if let Some((end, _)) = value.char_indices().nth(SHOWN) {
        value.truncate(end);
        value += "..";
    }
    ImageError::Setting { name, value, expected }
}
