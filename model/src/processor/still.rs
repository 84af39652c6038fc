//! Decodes a still picture.
//!
//! The header is read first: a picture beyond [`DecodeLimits`] is refused before any of it is decoded.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, RgbImage};

use super::guard::guard_decoder;
use super::{DecodeLimits, ImageError};

/// Decodes a file of this format; returns the picture as it lies in the file, and how it is to be turned.
///
/// # Errors
/// [`ImageError::TooLarge`] and [`ImageError::TooManyBytes`] before decoding, [`ImageError::Decode`] for damaged data,
/// [`ImageError::Empty`] for a side of zero.
pub(super) fn decode_still(
    data: &[u8],
    format: ImageFormat,
    limits: &DecodeLimits,
) -> Result<(DynamicImage, Orientation), ImageError> {
    let mut reader = ImageReader::with_format(Cursor::new(data), format);
    let mut inner = image::Limits::no_limits();
    inner.max_alloc = Some(limits.max_bytes);
    reader.limits(inner);
    let mut decoder = guard_decoder(|| reader.into_decoder())?;

    let (width, height) = decoder.dimensions();
    limits.check(width, height, decoder.total_bytes())?;

    // Damaged metadata is no damage to the picture: it stays as it lies.
    let orientation = guard_decoder(|| decoder.orientation()).unwrap_or(Orientation::NoTransforms);
    Ok((guard_decoder(|| DynamicImage::from_decoder(decoder))?, orientation))
}

/// Converts to 8-bit RGB, blending transparent pixels with white: `(c * a + 255 * (255 - a)) / 255`, rounded.
pub(super) fn flatten(picture: DynamicImage) -> RgbImage {
    if !picture.color().has_alpha() {
        return picture.into_rgb8();
    }
    let picture = picture.into_rgba8();
    let (width, height) = picture.dimensions();
    let samples = picture.pixels().flat_map(|pixel| {
        let [red, green, blue, alpha] = pixel.0.map(u32::from);
        [red, green, blue].map(|sample| ((sample * alpha + 255 * (255 - alpha) + 127) / 255) as u8)
    });
    let mut flat = RgbImage::new(width, height);
    for (target, sample) in flat.iter_mut().zip(samples) {
        *target = sample;
    }
    flat
}
