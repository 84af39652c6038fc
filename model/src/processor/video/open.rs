//! Finds out what a video is, so that frames can be counted before any is decoded.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use image::RgbImage;

use super::animation::Animation;
use super::ffmpeg::Container;
use super::folder::list_frames;
use super::{VideoError, VideoLimits, VideoSource, VideoTools};
use crate::processor::file::{read_file, require_file};
use crate::processor::format::{HEAD, check_video};
use crate::processor::location::{Location, locate};
use crate::processor::{DecodeLimits, ImageError, ImageSource};

/// How a video is opened.
#[derive(Clone, Debug, Default)]
pub(in crate::processor) struct Opening {
    pub pictures: DecodeLimits,
    pub limits: VideoLimits,
    pub tools: VideoTools,
}

/// A video whose frames can be counted and read.
pub(in crate::processor) struct OpenVideo<'a> {
    frames: Frames<'a>,
    opening: &'a Opening,
    /// Holds a video file that came in memory.
    _file: Option<tempfile::NamedTempFile>,
}

enum Frames<'a> {
    Decoded(&'a [RgbImage]),
    Listed(&'a [ImageSource]),
    Found(Vec<ImageSource>),
    Animation(Animation),
    Container(Container),
}

impl<'a> OpenVideo<'a> {
    /// Opens a video and counts its frames.
    ///
    /// # Errors
    /// Those of a folder, a file or FFmpeg's tools that cannot be used ([`ImageError::Video`], [`ImageError::Read`],
    /// ..).
    pub fn open(source: &'a VideoSource, opening: &'a Opening) -> Result<Self, ImageError> {
        let mut file = None;
        let frames = match source {
            VideoSource::Frames(frames) => Frames::Decoded(frames),
            VideoSource::List(frames) => Frames::Listed(frames),
            VideoSource::Path(path) => open_path(path, opening)?,
            VideoSource::Bytes(data) => open_bytes(data, opening, &mut file)?,
            VideoSource::Location(text) => match locate(text)? {
                Location::Path(path) => open_path(&path, opening)?,
                Location::Data(data) => open_bytes(&data.into(), opening, &mut file)?,
            },
        };
        Ok(Self { frames, opening, _file: file })
    }

    /// Number of frames.
    pub fn count(&self) -> usize {
        match &self.frames {
            Frames::Decoded(frames) => frames.len(),
            Frames::Listed(frames) => frames.len(),
            Frames::Found(frames) => frames.len(),
            Frames::Animation(animation) => animation.timeline().frames(),
            Frames::Container(container) => container.frames,
        }
    }

    /// Frames a second, where the video tells.
    pub fn fps(&self) -> Option<f64> {
        match &self.frames {
            Frames::Animation(animation) => animation.timeline().fps(),
            Frames::Container(container) => container.fps,
            Frames::Decoded(_) | Frames::Listed(_) | Frames::Found(_) => None,
        }
    }

    /// Counts again where the count can be wrong; returns whether that may help.
    pub fn recount(&mut self) -> Result<bool, ImageError> {
        match &mut self.frames {
            Frames::Container(container) => container.recount(&self.opening.limits),
            Frames::Animation(animation) => Ok(animation.recount()),
            _ => Ok(false),
        }
    }

    /// Decodes the frames at `indices` (in order, below [`Self::count`]) and hands each to `sink`.
    ///
    /// # Errors
    /// Those of decoding, and those of `sink`.
    pub fn read(
        &self,
        indices: &[usize],
        sink: &mut dyn FnMut(&RgbImage) -> Result<(), ImageError>,
    ) -> Result<(), ImageError> {
        let Opening { pictures, limits, .. } = self.opening;
        let mut decode = |files: &[ImageSource]| -> Result<(), ImageError> {
            indices.iter().try_for_each(|&index| sink(files[index].decode(pictures)?.as_ref()))
        };
        match &self.frames {
            Frames::Listed(files) => decode(files),
            Frames::Found(files) => decode(files),
            Frames::Decoded(frames) => indices.iter().try_for_each(|&index| sink(&frames[index])),
            Frames::Animation(animation) => animation.read(indices, (pictures, limits), sink),
            Frames::Container(container) => container.read(indices, limits, sink),
        }
    }
}

fn open_path<'a>(path: &Path, opening: &Opening) -> Result<Frames<'a>, ImageError> {
    if path.is_dir() {
        let frames = list_frames(path)?;
        return Ok(Frames::Found(frames.into_iter().map(ImageSource::Path).collect()));
    }
    require_file(path)?;
    let failed = |source| ImageError::Read { path: path.to_owned(), source };
    let mut head = Vec::with_capacity(HEAD);
    std::fs::File::open(path).map_err(failed)?.take(HEAD as u64).read_to_end(&mut head).map_err(failed)?;
    if is_picture(&head) {
        return open_picture(read_file(path, &opening.pictures)?.into());
    }
    check_video(&head)?;
    Container::open(path, &opening.tools, &opening.limits).map(Frames::Container)
}

fn open_bytes<'a>(
    data: &Arc<[u8]>,
    opening: &Opening,
    file: &mut Option<tempfile::NamedTempFile>,
) -> Result<Frames<'a>, ImageError> {
    if is_picture(data) {
        return open_picture(data.clone());
    }
    check_video(&data[..data.len().min(HEAD)])?;
    let failed = |source| VideoError::TemporaryFile { source };
    let temporary = tempfile::NamedTempFile::new().map_err(failed)?;
    std::fs::write(temporary.path(), data).map_err(failed)?;
    let container = Container::open(temporary.path(), &opening.tools, &opening.limits)?;
    *file = Some(temporary);
    Ok(Frames::Container(container))
}

fn open_picture<'a>(data: Arc<[u8]>) -> Result<Frames<'a>, ImageError> {
    Ok(match Animation::open(&data)? {
        Some(animation) => Frames::Animation(animation),
        None => Frames::Found(vec![ImageSource::Bytes(data)]),
    })
}

fn is_picture(data: &[u8]) -> bool {
    use image::ImageFormat::{Bmp, Gif, Jpeg, Png, WebP};
    matches!(image::guess_format(data), Ok(Bmp | Gif | Jpeg | Png | WebP))
}
