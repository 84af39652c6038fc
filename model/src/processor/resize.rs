//! Bicubic resampling with antialias.
//!
//! The filter is the cubic convolution with a = -1/2 (Keys 1981), stretched by the scale when shrinking so that every
//! source pixel counts. It runs along rows, then along columns, in integer arithmetic with an 8-bit picture between the
//! passes: Pillow's scheme, which PyTorch's uint8 resize follows. HF's fast processors use the latter.

use std::borrow::Cow;

use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer, images};
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
    let source = images::ImageRef::new(picture.width(), picture.height(), picture.as_raw(), PixelType::U8x3)
        .map_err(|error| refuse(error.to_string()))?;
    let mut target = images::Image::new(width, height, PixelType::U8x3);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom)).use_alpha(false);
    Resizer::new().resize(&source, &mut target, &options).map_err(|error| refuse(error.to_string()))?;
    RgbImage::from_raw(width, height, target.into_vec())
        .map(Cow::Owned)
        .ok_or_else(|| refuse("the target buffer has another size".to_owned()))
}
