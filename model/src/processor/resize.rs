//! Bicubic resampling with antialias.
//!
//! The filter is the cubic convolution with a = -1/2 (Keys 1981), stretched by the scale when shrinking so that every
//! source pixel counts. It runs along rows, then along columns, in integer arithmetic with an 8-bit picture between the
//! passes: Pillow's scheme, which PyTorch's uint8 resize follows. HF's fast processors use the latter.

use std::borrow::Cow;

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer, pixels::U8x3};
use image::RgbImage;

use super::ImageError;

/// Resamples `picture` to `height` x `width` pixels; a picture of that size already is returned unchanged.
///
/// # Errors
/// [`ImageError::Resize`] when the resampler refuses a buffer (an empty picture).
pub(super) fn resize_picture(picture: &RgbImage, height: usize, width: usize) -> Result<RgbImage, ImageError> {
    // The resampler would do columns first: where the 8-bit picture between the passes saturates, that differs by many
    // levels.
    let rows = resample(picture, picture.height(), width as u32)?;
    resample(&rows, height as u32, width as u32).map(Cow::into_owned)
}

fn resample(picture: &RgbImage, height: u32, width: u32) -> Result<Cow<'_, RgbImage>, ImageError> {
    if picture.dimensions() == (width, height) {
        return Ok(Cow::Borrowed(picture));
    }
    let refuse = |reason: String| {
        let from = (picture.height() as usize, picture.width() as usize);
        ImageError::Resize { from, to: (height as usize, width as usize), reason }
    };
    let source = TypedImageRef::<U8x3>::from_buffer(picture.width(), picture.height(), picture.as_raw())
        .map_err(|error| refuse(error.to_string()))?;
    let mut pixels = RgbImage::new(width, height);
    let mut target =
        TypedImage::<U8x3>::from_buffer(width, height, &mut pixels).map_err(|error| refuse(error.to_string()))?;
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom)).use_alpha(false);
    // Typed: `resize` would compile the resampler for all 13 formats of pixels, more code than the rest of this crate.
    Resizer::new().resize_typed(&source, &mut target, &options).map_err(|error| refuse(error.to_string()))?;
    Ok(Cow::Owned(pixels))
}
