//! Videos: a folder or list of frames, an animated GIF, WebP or PNG, any file that FFmpeg reads, or frames in memory.
//!
//! A video is opened, which counts its frames; frames are sampled by index ([`sample_frames`](super::sample_frames));
//! only those are decoded, one at a time, and each is resampled at once ([`FrameFitter`]).

mod animation;
mod child;
mod error;
mod ffmpeg;
mod fit;
mod folder;
mod limits;
mod open;
mod ppm;
mod source;

pub use error::VideoError;
pub use ffmpeg::VideoTools;
pub(super) use fit::FrameFitter;
pub use limits::VideoLimits;
pub(super) use open::{OpenVideo, Opening};
pub use source::VideoSource;
