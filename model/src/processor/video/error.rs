//! What can be wrong with a video besides its frames.

use std::path::PathBuf;
use std::process::ExitStatus;

use thiserror::Error;

/// Why the frames of a video could not be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VideoError {
    /// A kind of file that is known, and no video.
    #[error("{article} {name} file is no video: {advice}")]
    NoVideo {
        /// What it is.
        name: &'static str,
        /// `a` or `an`.
        article: &'static str,
        /// What to do about it.
        advice: &'static str,
    },

    /// A folder without pictures.
    #[error("{} holds no frame (PNG, JPEG, WebP, GIF or BMP files)", path.display())]
    EmptyFolder {
        /// The folder.
        path: PathBuf,
    },

    /// FFmpeg isn't installed.
    #[error(
        "cannot find `{}`, which reads video files: install FFmpeg (apt install ffmpeg, brew install ffmpeg, winget install \
         ffmpeg) or set its path; or give the video as a folder of frames, or an animated GIF, WebP or PNG",
        program.display()
    )]
    ToolMissing {
        /// The program looked for.
        program: PathBuf,
    },

    /// FFmpeg is there and cannot be started.
    #[error("cannot start `{}`: {source}", program.display())]
    ToolStart {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },

    /// FFmpeg ended with an error.
    #[error("`{}` cannot read {}: {status}: {stderr}", program.display(), path.display())]
    ToolFailed {
        /// The program.
        program: PathBuf,
        /// The video.
        path: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// The end of what it wrote to standard error.
        stderr: String,
    },

    /// FFmpeg took too long and was stopped.
    #[error("`{}` was stopped after {seconds} s on {}: {stderr}", program.display(), path.display())]
    ToolTimeout {
        /// The program.
        program: PathBuf,
        /// The video.
        path: PathBuf,
        /// The time allowed, in seconds.
        seconds: f64,
        /// The end of what it wrote to standard error.
        stderr: String,
    },

    /// FFmpeg wrote something else than was asked for.
    #[error("`{}` on {} wrote {found}, expected {expected}", program.display(), path.display())]
    ToolOutput {
        /// The program.
        program: PathBuf,
        /// The video.
        path: PathBuf,
        /// What was expected.
        expected: &'static str,
        /// What was found.
        found: String,
    },

    /// A file without a video stream.
    #[error("{} has no video stream", path.display())]
    NoStream {
        /// The file.
        path: PathBuf,
    },

    /// The file ends before a frame that it announced.
    #[error("the video ends after {found} of the {expected} frames that were asked for")]
    FrameCount {
        /// Frames asked for.
        expected: usize,
        /// Frames that came.
        found: usize,
    },

    /// A frame beyond the limits; it was not decoded.
    #[error("a frame of {height} x {width} (height x width) pixels is more than {max_pixels} pixels")]
    FrameTooLarge {
        /// Height in pixels.
        height: u64,
        /// Width in pixels.
        width: u64,
        /// Most pixels of a frame.
        max_pixels: u64,
    },

    /// More frames than the limits allow.
    #[error("{frames} frames to process are more than {max_frames}: lower fps, num_frames or max_frames")]
    TooManyFrames {
        /// Frames to be processed.
        frames: usize,
        /// Most frames allowed.
        max_frames: usize,
    },

    /// The frames would take more memory than the limits allow.
    #[error(
        "{frames} frames of {height} x {width} (height x width) pixels take {bytes} bytes, more than {max_bytes}: lower \
         max_pixels, total_pixels or max_frames"
    )]
    TooManyBytes {
        /// Frames to be held.
        frames: usize,
        /// Height after resampling.
        height: usize,
        /// Width after resampling.
        width: usize,
        /// Bytes that they take.
        bytes: u64,
        /// Most bytes allowed.
        max_bytes: u64,
    },

    /// A video held in memory could not be written where FFmpeg can read it.
    #[error("cannot write a temporary file: {source}")]
    TemporaryFile {
        /// What the system said.
        source: std::io::Error,
    },
}

impl VideoError {
    /// Whether the error says which file it is about, or is about none.
    pub(in crate::processor) fn names_source(&self) -> bool {
        use VideoError::{FrameCount, FrameTooLarge, NoVideo, TooManyBytes, TooManyFrames};
        !matches!(
            self,
            NoVideo { .. } | FrameCount { .. } | FrameTooLarge { .. } | TooManyBytes { .. } | TooManyFrames { .. }
        )
    }
}
