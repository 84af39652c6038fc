//! `--image` and `--video`, and how they are seen.

use clap::Args;
use qwen3_vl_burn::processor::{ImageOptions, ImageSource, MAX_SOURCE_FPS, MIN_SOURCE_FPS, VideoOptions, VideoSource};
use qwen3_vl_burn::prompt::{Content, ImagePart, VideoPart};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// Which pictures and videos, and how many pixels and frames of them.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Pictures and videos")]
pub struct MediaArgs {
    /// Picture to look at (PNG, JPEG, WebP, GIF, BMP; a data: URI will do); may be given several times
    #[arg(long, value_name = "FILE")]
    pub image: Vec<OsString>,
    /// Video to look at: a folder of frames, an animated GIF, WebP or PNG, or whatever the installed ffmpeg reads;
    /// may be given several times
    #[arg(long, value_name = "FILE|FOLDER")]
    pub video: Vec<OsString>,
    /// How much of them.
    #[command(flatten)]
    pub limits: MediaLimits,
}

/// How many pixels and frames the model sees; the checkpoint's settings decide what is not given.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Pictures and videos")]
pub struct MediaLimits {
    /// Fewest pixels of a picture or frame; smaller ones are scaled up
    #[arg(long, value_name = "PIXELS", value_parser = read_count)]
    pub min_pixels: Option<usize>,
    /// Most pixels of a picture or frame; larger ones are scaled down, which saves time and context
    #[arg(long, value_name = "PIXELS", value_parser = read_count)]
    pub max_pixels: Option<usize>,
    /// Frames a second to look at
    #[arg(long, conflicts_with = "frames", value_parser = read_rate)]
    pub fps: Option<f64>,
    /// Frames to look at, in place of --fps
    #[arg(long, value_parser = read_count)]
    pub frames: Option<usize>,
    /// Fewest frames to look at
    #[arg(long, value_parser = read_count)]
    pub min_frames: Option<usize>,
    /// Most frames to look at
    #[arg(long, value_parser = read_count)]
    pub max_frames: Option<usize>,
    /// Frames a second of the video itself, for a folder of frames or a file that tells wrong
    #[arg(long, value_name = "FPS", value_parser = read_rate)]
    pub source_fps: Option<f64>,
}

/// A count of pixels or frames, so that a wrong one is blamed on its option.
fn read_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..) => Ok(count),
        _ => Err("expected a whole number from 1".to_owned()),
    }
}

/// A number of frames a second.
fn read_rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(fps) if (MIN_SOURCE_FPS..=MAX_SOURCE_FPS).contains(&fps) => Ok(fps),
        _ => Err(format!("expected a number from {MIN_SOURCE_FPS} to {MAX_SOURCE_FPS}")),
    }
}

impl MediaLimits {
    /// A picture.
    pub fn image(&self, source: impl AsRef<OsStr>) -> Content {
        let options = ImageOptions { min_pixels: self.min_pixels, max_pixels: self.max_pixels };
        Content::image(ImagePart::from(picture_source(source.as_ref())).with_options(options))
    }

    /// A video.
    pub fn video(&self, source: impl AsRef<OsStr>) -> Content {
        let options = VideoOptions {
            fps: self.fps,
            raw_fps: self.source_fps,
            num_frames: self.frames,
            min_frames: self.min_frames,
            max_frames: self.max_frames,
            min_pixels: self.min_pixels,
            max_pixels: self.max_pixels,
            ..Default::default()
        };
        let source = source.as_ref();
        // What is no Unicode can only be a path.
        let source = source.to_str().map_or_else(|| VideoSource::Path(PathBuf::from(source)), VideoSource::from);
        Content::video(VideoPart::from(source).with_options(options))
    }
}

/// Where a picture of the command line comes from: a path, which may be no Unicode, or what messages can hold.
pub fn picture_source(source: &OsStr) -> ImageSource {
    source.to_str().map_or_else(|| ImageSource::Path(PathBuf::from(source)), ImageSource::from)
}

impl MediaArgs {
    /// The pictures, then the videos.
    pub fn contents(&self) -> Vec<Content> {
        let images = self.image.iter().map(|source| self.limits.image(source));
        images.chain(self.video.iter().map(|path| self.limits.video(path))).collect()
    }
}
