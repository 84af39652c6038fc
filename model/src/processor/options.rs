//! What one picture or video asks for, against the checkpoint's settings.
//!
//! The names are those of HF's and Qwen's message parts. Pixel counts of a video are, as there, those of one frame
//! (`min_pixels`, `max_pixels`) and of all temporal patches together (`total_pixels`):
//!
//! ```text
//! most in a frame   min(max_pixels, max(total_pixels / (frames / temporal), 1.05 min_pixels))
//! ```
//!
//! Source: `fetch_image` and `fetch_video` of qwen-vl-utils 0.0.14.

use serde::{Deserialize, Serialize};

use super::config::MAX_MIN_PIXELS;
use super::number::{read_count, read_counts, read_rate, read_total};
use super::{ImageError, PreprocessorConfig, VideoConfig};

/// Fewest frames a second that a source may claim: one in eleven days.
pub const MIN_SOURCE_FPS: f64 = 1e-6;
/// Most frames a second that a source may claim: high-speed cameras reach it.
pub const MAX_SOURCE_FPS: f64 = 100_000.0;

/// Pixel limits of one picture; what is absent is the checkpoint's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageOptions {
    /// Fewest pixels after resampling.
    #[serde(deserialize_with = "read_count", skip_serializing_if = "Option::is_none")]
    pub min_pixels: Option<usize>,
    /// Most pixels after resampling.
    #[serde(deserialize_with = "read_count", skip_serializing_if = "Option::is_none")]
    pub max_pixels: Option<usize>,
}

/// Sampling and pixel limits of one video; what is absent is the checkpoint's.
///
/// A list of frames ([`VideoSource::List`](super::VideoSource::List)) counts as sampled already: every frame is taken,
/// unless `raw_fps` comes with `fps`, or `num_frames` is given. `sample_fps` says the same of any source, and so does
/// `frames_indices`, which together with `raw_fps` is what HF's `VideoMetadata` tells of frames that were sampled
/// before: frame `i` happened at `frames_indices[i] / raw_fps` seconds (without `raw_fps`, `fps` is the rate of the
/// indices, as in `VideoMetadata`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VideoOptions {
    /// Frames a second to sample. For a list of frames without another rate, the rate that they were sampled at.
    #[serde(deserialize_with = "read_rate", skip_serializing_if = "Option::is_none")]
    pub fps: Option<f64>,
    /// Frames a second of the source, where it doesn't tell or tells wrong.
    #[serde(deserialize_with = "read_rate", skip_serializing_if = "Option::is_none")]
    pub raw_fps: Option<f64>,
    /// Frames a second of frames that are sampled already.
    #[serde(deserialize_with = "read_rate", skip_serializing_if = "Option::is_none")]
    pub sample_fps: Option<f64>,
    /// Frames to sample, in place of `fps`; all of a video that has fewer.
    #[serde(alias = "nframes", deserialize_with = "read_count", skip_serializing_if = "Option::is_none")]
    pub num_frames: Option<usize>,
    /// Fewest frames to sample, if the video has them.
    #[serde(deserialize_with = "read_count", skip_serializing_if = "Option::is_none")]
    pub min_frames: Option<usize>,
    /// Most frames to sample.
    #[serde(deserialize_with = "read_count", skip_serializing_if = "Option::is_none")]
    pub max_frames: Option<usize>,
    /// Fewest pixels of a frame after resampling.
    #[serde(deserialize_with = "read_count", skip_serializing_if = "Option::is_none")]
    pub min_pixels: Option<usize>,
    /// Most pixels of a frame after resampling.
    #[serde(deserialize_with = "read_count", skip_serializing_if = "Option::is_none")]
    pub max_pixels: Option<usize>,
    /// Most pixels of all temporal patches together, each counted as one frame.
    #[serde(deserialize_with = "read_count", skip_serializing_if = "Option::is_none")]
    pub total_pixels: Option<usize>,
    /// For frames that are sampled already, which frames of the source they are: one index for each.
    #[serde(deserialize_with = "read_counts", skip_serializing_if = "Option::is_none")]
    pub frames_indices: Option<Vec<usize>>,
    /// Frames of the source: more than the largest of `frames_indices`, or, without these, as many as are given.
    #[serde(deserialize_with = "read_total", skip_serializing_if = "Option::is_none")]
    pub total_num_frames: Option<usize>,
    /// Whether frames are sampled at all, where the rules above decide otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub do_sample_frames: Option<bool>,
}

impl ImageOptions {
    /// The names of the options, as messages have them.
    pub(crate) const NAMES: [&str; 2] = ["min_pixels", "max_pixels"];

    /// The checkpoint's settings with these limits. A limit given alone moves the other one out of its way.
    ///
    /// # Errors
    /// [`ImageError::Option`] for limits of zero and ones that contradict each other, [`ImageError::Setting`] for ones
    /// that cannot work.
    pub fn apply(&self, config: &PreprocessorConfig) -> Result<PreprocessorConfig, ImageError> {
        for (name, count) in [("min_pixels", self.min_pixels), ("max_pixels", self.max_pixels)] {
            refuse_unless(count != Some(0), name, count, "a positive number")?;
        }
        let (min_pixels, max_pixels) =
            order(("min_pixels", self.min_pixels, config.min_pixels), (self.max_pixels, config.max_pixels))?;
        let least = config.factor().pow(2);
        check_pixels(least, ("min_pixels", self.min_pixels), ("max_pixels", self.max_pixels))?;
        let config = PreprocessorConfig { min_pixels, max_pixels, ..config.clone() };
        config.validate()?;
        Ok(config)
    }
}

impl VideoOptions {
    /// The names of the options, as messages have them.
    pub(crate) const NAMES: [&str; 13] = [
        "fps",
        "raw_fps",
        "sample_fps",
        "num_frames",
        "nframes",
        "min_frames",
        "max_frames",
        "min_pixels",
        "max_pixels",
        "total_pixels",
        "frames_indices",
        "total_num_frames",
        "do_sample_frames",
    ];

    /// The checkpoint's settings with this sampling; pixel limits depend on the number of frames
    /// ([`Self::limit_pixels`]).
    ///
    /// # Errors
    /// [`ImageError::Option`] for options that contradict each other or are out of range.
    pub fn apply(&self, config: &VideoConfig) -> Result<VideoConfig, ImageError> {
        for (name, fps) in [("fps", self.fps), ("raw_fps", self.raw_fps), ("sample_fps", self.sample_fps)] {
            let fits = |fps: &f64| (MIN_SOURCE_FPS..=MAX_SOURCE_FPS).contains(fps);
            refuse_unless(
                fps.as_ref().is_none_or(fits),
                name,
                fps.map(|fps| format!("{fps:?}")),
                "a number from 0.000001 to 100000",
            )?;
        }
        let counts =
            [("num_frames", self.num_frames), ("min_frames", self.min_frames), ("max_frames", self.max_frames)];
        let pixels =
            [("min_pixels", self.min_pixels), ("max_pixels", self.max_pixels), ("total_pixels", self.total_pixels)];
        for (name, count) in counts.into_iter().chain(pixels) {
            refuse_unless(count != Some(0), name, count, "a positive number")?;
        }
        if let (Some(min), Some(max)) = (self.min_pixels, self.max_pixels) {
            refuse_unless(min <= max, "min_pixels", Some(min), "at most max_pixels")?;
        }
        let least = config.frames.factor().pow(2);
        check_pixels(least, ("min_pixels", self.min_pixels), ("max_pixels", self.max_pixels))?;
        let total = self.total_num_frames;
        refuse_unless(total != Some(0), "total_num_frames", total, "a positive number")?;
        let bounds = (("min_frames", self.min_frames, config.min_frames), (self.max_frames, config.max_frames));
        let (min_frames, max_frames) = order(bounds.0, bounds.1)?;
        let num_frames = match (self.num_frames, self.fps) {
            (Some(count), fps) => {
                refuse_unless(fps.is_none(), "num_frames", Some(count), "given without fps")?;
                Some(count)
            }
            (None, Some(_)) => None,
            (None, None) => {
                let bounded = |count: usize| count.max(self.min_frames.unwrap_or(0));
                config.num_frames.map(bounded).map(|count| count.min(self.max_frames.unwrap_or(usize::MAX)))
            }
        };
        let fps = self.fps.unwrap_or(config.fps);
        Ok(VideoConfig { fps, num_frames, min_frames, max_frames, ..config.clone() })
    }

    /// Bounds on the pixels of `frames` frames together, as [`smart_resize_video`](super::smart_resize_video) takes
    /// them.
    ///
    /// Without options these are the checkpoint's. Both are finite and the first is at most the second.
    pub fn limit_pixels(&self, frames: usize, config: &VideoConfig) -> (usize, usize) {
        // A single frame fills a temporal patch.
        let temporal = config.frames.temporal_patch_size;
        let count = frames.max(temporal);
        let total = self.total_pixels.map_or(config.max_pixels(count), |total| total.saturating_mul(temporal));
        let floor = self.min_pixels.map_or(0, |min| ((min as f64 * 1.05) as usize).saturating_mul(count));
        let own = self.max_pixels.map_or(usize::MAX, |max| max.saturating_mul(count));
        let max = own.min(total.max(floor));
        let min = self.min_pixels.map_or(config.frames.min_pixels, |min| min.saturating_mul(count));
        (min.min(max), max)
    }

    /// Frames a second of the source, where the options tell.
    pub(super) fn source_rate(&self, list: bool, config: &VideoConfig) -> Option<f64> {
        if self.frames_indices.is_some() {
            return self.raw_fps.or(self.fps);
        }
        let sampled = if list && !self.samples(list, config) { self.fps } else { None };
        self.sample_fps.or(self.raw_fps).or(sampled)
    }

    /// Whether frames are to be sampled. A rate or number of frames asks for it, whatever the checkpoint's settings
    /// say.
    pub(super) fn samples(&self, list: bool, config: &VideoConfig) -> bool {
        let asked = !list || self.num_frames.is_some() || (self.raw_fps.is_some() && self.fps.is_some());
        let sampled = self.sample_fps.is_some() || self.frames_indices.is_some();
        let usual = config.do_sample_frames || self.fps.is_some() || self.num_frames.is_some();
        self.do_sample_frames.unwrap_or(usual && asked && !sampled)
    }

    /// Checks what the options tell of a source against its number of frames.
    ///
    /// # Errors
    /// [`ImageError::Option`] for indices or a number of frames that cannot be those of `frames` frames.
    pub(super) fn check_frames(&self, frames: usize, list: bool) -> Result<(), ImageError> {
        if let Some(indices) = &self.frames_indices {
            let count = indices.len();
            let many = || Some(format!("{count} indices for {frames} frames"));
            refuse_unless(count == frames, "frames_indices", many(), "one index for each frame given")?;
            let sampling = self.do_sample_frames == Some(true) || self.num_frames.is_some_and(|number| number != count);
            refuse_unless(!sampling, "frames_indices", many(), "given where frames are sampled once more")?;
        }
        let Some(total) = self.total_num_frames else { return Ok(()) };
        match &self.frames_indices {
            Some(indices) => {
                let largest = indices.iter().max().copied().unwrap_or(0);
                let found = Some(format!("{total}, and an index is {largest}"));
                refuse_unless(largest < total, "total_num_frames", found, "more than every index")
            }
            None if list => {
                let found = Some(format!("{total} for {frames} frames"));
                let expected =
                    "the number of frames given, unless frames_indices says which of the source's frames they are";
                refuse_unless(total == frames, "total_num_frames", found, expected)
            }
            None => {
                if total != frames {
                    tracing::warn!("total_num_frames is {total}, and the video has {frames} frames, which count");
                }
                Ok(())
            }
        }
    }
}

/// Checks pixels of a picture or frame that were asked for; `least`: those of a merge block.
fn check_pixels(
    least: usize,
    (lower, min): (&'static str, Option<usize>),
    (upper, max): (&'static str, Option<usize>),
) -> Result<(), ImageError> {
    let many = "at most 2^26 pixels";
    refuse_unless(min.is_none_or(|min| min <= MAX_MIN_PIXELS), lower, min, many)?;
    let room = "room for one merge block (patch_size * merge_size, squared)";
    refuse_unless(max.is_none_or(|max| max >= least), upper, max, room)
}

/// Two bounds, each given or the checkpoint's; `name` is the lower one's.
fn order(
    (name, min, own_min): (&'static str, Option<usize>, usize),
    (max, own_max): (Option<usize>, usize),
) -> Result<(usize, usize), ImageError> {
    match (min, max) {
        (Some(min), Some(max)) => {
            refuse_unless(min <= max, name, Some(min), "at most the upper limit given with it")?;
            Ok((min, max))
        }
        (Some(min), None) => Ok((min, own_max.max(min))),
        (None, Some(max)) => Ok((own_min.min(max), max)),
        (None, None) => Ok((own_min, own_max)),
    }
}

/// Turns a condition into the error that names the option.
fn refuse_unless(
    holds: bool,
    name: &'static str,
    value: Option<impl ToString>,
    expected: &'static str,
) -> Result<(), ImageError> {
    let value = value.map_or_else(|| "absent".to_owned(), |value| value.to_string());
    if holds { Ok(()) } else { Err(ImageError::Option { name, value, expected }) }
}
