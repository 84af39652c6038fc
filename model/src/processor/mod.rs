//! Pictures and video frames in, patch rows out.
//!
//! A picture comes from an [`ImageSource`], a video from a [`VideoSource`], each with options of its own
//! ([`ImageOptions`], [`VideoOptions`]). A picture goes through five steps, each a file: it is decoded to 8-bit RGB
//! ([`decode_path`], [`decode_bytes`]), its target size is chosen ([`smart_resize`]), it is resampled (bicubic with
//! antialias), each sample is mapped to `(x / 255 - mean) / std`, and the samples are laid out as one row for each
//! patch. [`ImageProcessor`] runs them in order with the settings of a checkpoint ([`PreprocessorConfig`],
//! [`VideoConfig`]). Animations are played by `animated`, frame by frame, as Pillow plays them.
//!
//! What comes out equals what HF transformers' `Qwen2VLImageProcessorFast` and `Qwen3VLVideoProcessor` compute, up to
//! one level of an 8-bit sample where two resamplers round differently (`tests/prompts/processor.rs`).

mod animated;
mod config;
mod config_file;
mod decode;
mod error;
mod file;
mod format;
mod frames;
mod grid;
mod guard;
mod jpeg;
mod limits;
mod location;
mod measure;
mod media;
mod normalize;
mod number;
mod options;
mod patches;
mod pipeline;
mod resize;
mod size;
mod source;
mod still;
mod video;

pub use config::{PreprocessorConfig, VideoConfig};
pub use decode::{decode_bytes, decode_path};
pub use error::ImageError;
use frames::count_samples;
pub use frames::{DEFAULT_SOURCE_FPS, compute_timestamps, sample_frames};
pub use grid::Grid;
pub use limits::DecodeLimits;
pub use location::LocationError;
pub use measure::{MeasuredImage, MeasuredVideo};
pub use media::{ProcessedImage, ProcessedImages, ProcessedMedia, ProcessedVideo};
pub use options::{ImageOptions, MAX_SOURCE_FPS, VideoOptions};
pub use pipeline::ImageProcessor;
pub use size::{MAX_ASPECT_RATIO, smart_resize, smart_resize_video};
pub use source::ImageSource;
pub use video::{VideoError, VideoLimits, VideoSource, VideoTools};
