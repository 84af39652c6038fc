//! Bicubic resampling with antialias.
//!
//! The filter is the cubic convolution with a = -1/2 (Keys 1981), stretched by the scale when shrinking so that every source
//! pixel counts. It runs along rows, then along columns, in integer arithmetic with an 8-bit picture between the passes: Pillow's
//! scheme, which PyTorch's uint8 resize follows. HF's fast processors use the latter.

use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer, images};
use image::RgbImage;

use super::ImageError;

/// Resamples `picture` to `height` x `width` pixels; a picture of that size already is returned unchanged.
///
/// # Errors
/// [`ImageError::Resize`] when the resampler refuses a buffer (an empty picture).
pub(super) fn resize_picture(picture: &RgbImage, height: usize, width: usize) -> Result<RgbImage, ImageError> {
    let (source_width, source_height) = picture.dimensions();
    let from = (source_height as usize, source_width as usize);
    if from == (height, width) {
        return Ok(picture.clone());
    }
    let refuse = |reason: String| ImageError::Resize { from, to: (height, width), reason };
    let source = images::ImageRef::new(source_width, source_height, picture.as_raw(), PixelType::U8x3)
        .map_err(|error| refuse(error.to_string()))?;
    let mut target = images::Image::new(width as u32, height as u32, PixelType::U8x3);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom)).use_alpha(false);
    Resizer::new().resize(&source, &mut target, &options).map_err(|error| refuse(error.to_string()))?;
    RgbImage::from_raw(width as u32, height as u32, target.into_vec())
        .ok_or_else(|| refuse("the target buffer has another size".to_owned()))
}
