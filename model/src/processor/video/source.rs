//! Where a video comes from.

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::RgbImage;

use crate::processor::ImageSource;
use crate::processor::location::locate_path;

/// Where a video comes from. Copies share the data.
#[derive(Clone, PartialEq, Eq)]
pub enum VideoSource {
    /// A string as messages have it: a path, a `file://` URL or a `data:` URI. It is looked at when the video is
    /// opened.
    Location(String),
    /// A folder of frames (pictures in natural order of their names: `frame2` before `frame10`), an animated GIF, WebP
    /// or PNG, or a video file, for which FFmpeg must be installed. A still picture is a video of one frame.
    Path(PathBuf),
    /// The contents of a file.
    Bytes(Arc<[u8]>),
    /// Frames in order, which count as sampled ([`VideoOptions`](crate::processor::VideoOptions)).
    List(Vec<ImageSource>),
    /// Pixels of all frames in order.
    Frames(Arc<[RgbImage]>),
}

impl VideoSource {
    /// The file or folder, where it is one.
    pub(in crate::processor) fn path(&self) -> Option<Cow<'_, Path>> {
        match self {
            Self::Path(path) => Some(Cow::Borrowed(path)),
            Self::Location(text) => locate_path(text).map(Cow::Owned),
            Self::Bytes(_) | Self::List(_) | Self::Frames(_) => None,
        }
    }
}

impl fmt::Debug for VideoSource {
    /// Sizes in place of contents.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Location(text) => f.debug_tuple("Location").field(&format_args!("{text:.100}")).finish(),
            Self::Path(path) => f.debug_tuple("Path").field(path).finish(),
            Self::Bytes(data) => f.debug_tuple("Bytes").field(&format_args!("{} bytes", data.len())).finish(),
            Self::List(frames) => f.debug_tuple("List").field(frames).finish(),
            Self::Frames(frames) => f.debug_tuple("Frames").field(&format_args!("{} frames", frames.len())).finish(),
        }
    }
}

impl From<&str> for VideoSource {
    fn from(text: &str) -> Self {
        Self::Location(text.to_owned())
    }
}

impl From<String> for VideoSource {
    fn from(text: String) -> Self {
        Self::Location(text)
    }
}

impl From<&Path> for VideoSource {
    fn from(path: &Path) -> Self {
        Self::Path(path.to_owned())
    }
}

impl From<PathBuf> for VideoSource {
    fn from(path: PathBuf) -> Self {
        Self::Path(path)
    }
}

impl From<Vec<u8>> for VideoSource {
    fn from(data: Vec<u8>) -> Self {
        Self::Bytes(data.into())
    }
}

impl From<Vec<ImageSource>> for VideoSource {
    fn from(frames: Vec<ImageSource>) -> Self {
        Self::List(frames)
    }
}

impl From<Vec<RgbImage>> for VideoSource {
    fn from(frames: Vec<RgbImage>) -> Self {
        Self::Frames(frames.into())
    }
}
