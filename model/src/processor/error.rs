//! What can be wrong with a picture, a video or the settings that process it.

use std::path::{Path, PathBuf};

use thiserror::Error;

use super::article::find_article;
use super::{LocationError, VideoError};

/// Why a picture, a video or a preprocessor configuration was refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ImageError {
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },

    /// A folder, pipe or device where a file is expected.
    #[error("{} is {found}, expected a file", path.display())]
    NotAFile {
        /// Where.
        path: PathBuf,
        /// What is there.
        found: &'static str,
    },

    /// A file beyond the limits; it was not read.
    #[error("{} has {bytes} bytes, more than {max_bytes}", path.display())]
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
        /// Most bytes allowed.
        max_bytes: u64,
    },

    /// A string that names no picture or video.
    #[error(transparent)]
    Location(#[from] LocationError),

    /// The frames of a video could not be had.
    #[error(transparent)]
    Video(#[from] VideoError),

    /// The first bytes belong to no supported format (PNG, JPEG, WebP, GIF, BMP).
    #[error("{bytes} bytes are no PNG, JPEG, WebP, GIF or BMP picture")]
    UnknownFormat {
        /// Length of the data.
        bytes: usize,
    },

    /// A kind of file that is known, and not read.
    #[error("{} {name} file cannot be read as a picture (PNG, JPEG, WebP, GIF or BMP): {advice}", find_article(name))]
    UnsupportedFormat {
        /// What it is.
        name: &'static str,
        /// What to do about it.
        advice: &'static str,
    },

    /// What is wrong with the picture or video in a file.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<ImageError>,
    },

    /// The data is damaged, or uses a feature of its format that the decoder lacks.
    #[error("cannot decode the picture: {0}")]
    Decode(#[source] image::ImageError),

    /// A file ends before its picture does.
    #[error("the {format} data ends after {bytes} bytes, {missing}: the file was cut; get it again")]
    Truncated {
        /// Its format.
        format: &'static str,
        /// Length of the data.
        bytes: usize,
        /// What it ends before.
        missing: &'static str,
    },

    /// A side of the picture is zero.
    #[error("a picture of {height} x {width} (height x width) pixels is empty")]
    Empty {
        /// Height in pixels.
        height: usize,
        /// Width in pixels.
        width: usize,
    },

    /// The header announces a picture beyond the limits; nothing was decoded.
    #[error(
        "a picture of {height} x {width} (height x width) pixels is beyond the limits: {max_side} a side, {max_pixels} in all"
    )]
    TooLarge {
        /// Announced height in pixels.
        height: u32,
        /// Announced width in pixels.
        width: u32,
        /// Most pixels a side.
        max_side: u32,
        /// Most pixels in all.
        max_pixels: u64,
    },

    /// Decoding would take more memory than the limits allow; nothing was decoded.
    #[error(
        "a picture of {height} x {width} (height x width) pixels takes {bytes} bytes decoded, more than {max_bytes}"
    )]
    TooManyBytes {
        /// Announced height in pixels.
        height: u32,
        /// Announced width in pixels.
        width: u32,
        /// Bytes that the decoder would write.
        bytes: u64,
        /// Most bytes allowed.
        max_bytes: u64,
    },

    /// One side is more than [`super::MAX_ASPECT_RATIO`] times the other.
    #[error(
        "a picture of {height} x {width} (height x width) pixels has an aspect ratio of {ratio:.1}, more than {max}"
    )]
    AspectRatio {
        /// Height in pixels.
        height: usize,
        /// Width in pixels.
        width: usize,
        /// Longer side over the shorter one.
        ratio: f64,
        /// The largest ratio allowed.
        max: f64,
    },

    /// Resizing is switched off and the picture doesn't consist of whole merge blocks.
    #[error(
        "without resizing, both sides must be multiples of {factor} pixels; the picture is {height} x {width} (height x width)"
    )]
    NotDivisible {
        /// Height in pixels.
        height: usize,
        /// Width in pixels.
        width: usize,
        /// Side of a merge block in pixels, `patch_size * merge_size`.
        factor: usize,
    },

    /// The resampler refused the picture.
    #[error("cannot resize {from:?} to {to:?} (height, width): {reason}")]
    Resize {
        /// Height and width before.
        from: (usize, usize),
        /// Height and width asked for.
        to: (usize, usize),
        /// What the resampler said.
        reason: String,
    },

    /// A video without frames.
    #[error("a video needs at least one frame")]
    NoFrames,

    /// The frames of a video differ in size.
    #[error("frame {index} is {found:?} (height, width), the first one is {expected:?}")]
    FrameSize {
        /// Index of the frame that differs.
        index: usize,
        /// Height and width of the first frame.
        expected: (usize, usize),
        /// Height and width of this frame.
        found: (usize, usize),
    },

    /// A frame rate that is not a positive, finite number.
    #[error("{fps} frames a second is no frame rate")]
    FrameRate {
        /// The value given.
        fps: f64,
    },

    /// An option of one picture or video has a value that cannot work.
    #[error("option `{name}` of a picture or video is {value}, which is not {expected}")]
    Option {
        /// Name of the option as in messages.
        name: &'static str,
        /// The value found.
        value: String,
        /// What it should be.
        expected: &'static str,
    },

    /// A settings file is not the JSON that it should be.
    #[error("{} holds no preprocessor settings: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },

    /// Settings for other patches than the model's.
    #[error(
        "preprocessor setting `{name}` is {value}, but `{field}` of the model's vision_config is {expected}: \
         the settings are those of another model"
    )]
    OtherPatches {
        /// Name of the setting.
        name: &'static str,
        /// Its value.
        value: usize,
        /// Name of the model's.
        field: &'static str,
        /// Its value.
        expected: usize,
    },

    /// A setting has a value that cannot work.
    #[error("preprocessor setting `{name}` is {value}, which is not {expected}")]
    Setting {
        /// Name of the setting as in `preprocessor_config.json`.
        name: &'static str,
        /// The value found.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
}

impl ImageError {
    /// The same error, with the file that it is about where it doesn't say so.
    pub(super) fn at(self, path: &Path) -> Self {
        if self.names_source() { self } else { Self::File { path: path.to_owned(), source: Box::new(self) } }
    }

    /// Whether it is about the settings of a checkpoint, and about no picture or video.
    pub fn is_about_settings(&self) -> bool {
        match self {
            Self::Json { .. } | Self::Setting { .. } | Self::OtherPatches { .. } => true,
            Self::File { source, .. } => source.is_about_settings(),
            _ => false,
        }
    }

    /// Whether the error says which file or address it is about, or is about an option or setting.
    pub(crate) fn names_source(&self) -> bool {
        match self {
            Self::Read { .. } | Self::NotAFile { .. } | Self::FileTooLarge { .. } | Self::File { .. } => true,
            Self::Option { .. } | Self::Setting { .. } | Self::OtherPatches { .. } => true,
            Self::Json { .. } | Self::FrameRate { .. } => true,
            Self::Location(error) => error.names_source(),
            Self::Video(error) => error.names_source(),
            _ => false,
        }
    }
}
