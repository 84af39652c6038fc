//! Files that hold several frames: their structure, and the pictures that the frames come to on their canvas.
//!
//! A frame of an animated WebP or PNG is a still picture that lies in a container: it is wrapped as a file of its own
//! for the decoder of stills, and put on the canvas by the rules of its format. Each format is a file that reads the
//! structure and plays the frames ([`Player`]).

mod apng;
mod canvas;
mod gif;
mod png_chunks;
mod timeline;
mod webp;
mod webp_chunks;

use image::error::{DecodingError, ImageFormatHint};
use image::{ImageFormat, RgbImage};

pub(super) use apng::Apng;
pub(super) use gif::Gif;
pub(super) use png_chunks::clean_png;
pub(super) use timeline::Timeline;
pub(super) use webp::Webp;

use super::ImageError;

/// Plays the frames of an animation, in order.
pub(super) trait Player {
    /// Goes on to the next frame, or to the first; `false` after the last.
    ///
    /// # Errors
    /// [`ImageError::Decode`] and those of the limits.
    fn advance(&mut self) -> Result<bool, ImageError>;

    /// What is to be seen: the canvas, transparent pixels blended with white.
    fn show(&self) -> RgbImage;
}

/// The error for a file whose structure breaks the rules of its format.
fn refuse(format: ImageFormat, reason: impl Into<String>) -> ImageError {
    let error = DecodingError::new(ImageFormatHint::Exact(format), reason.into());
    ImageError::Decode(image::ImageError::Decoding(error))
}
