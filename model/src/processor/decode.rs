//! Files to 8-bit RGB.
//!
//! The header is read first: a picture beyond [`DecodeLimits`] is refused before any of it is decoded. Whatever the
//! file holds (grey, palette, 16 bits, CMYK) becomes 8-bit RGB; transparent pixels are blended with white; an EXIF
//! orientation is applied; of an animation the first frame counts.

use std::io::Cursor;
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, RgbImage};

use super::file::read_file;
use super::guard::guard_decoder;
use super::{DecodeLimits, ImageError, jpeg};

/// Reads and decodes the picture at `path`.
///
/// # Errors
/// [`ImageError::Read`], [`ImageError::NotAFile`], [`ImageError::FileTooLarge`], and those of [`decode_bytes`].
pub fn decode_path(path: impl AsRef<Path>, limits: &DecodeLimits) -> Result<RgbImage, ImageError> {
    decode_bytes(&read_file(path.as_ref(), limits)?, limits)
}

/// Decodes the file held in `data`, whose format is found from its first bytes.
///
/// # Errors
/// [`ImageError::UnknownFormat`], [`ImageError::TooLarge`] and [`ImageError::TooManyBytes`] before decoding;
/// [`ImageError::Decode`] and [`ImageError::Truncated`] for damaged data; [`ImageError::Empty`] for a side of zero.
pub fn decode_bytes(data: &[u8], limits: &DecodeLimits) -> Result<RgbImage, ImageError> {
    let format = image::guess_format(data).map_err(|_| ImageError::UnknownFormat { bytes: data.len() })?;
    if format == ImageFormat::Jpeg && !jpeg::reaches_end(data) {
        return Err(ImageError::Truncated { bytes: data.len() });
    }
    let mut reader = ImageReader::with_format(Cursor::new(data), format);
    let mut inner = image::Limits::no_limits();
    inner.max_alloc = Some(limits.max_bytes);
    reader.limits(inner);
    let mut decoder = guard_decoder(|| reader.into_decoder())?;

    let (width, height) = decoder.dimensions();
    limits.check(width, height, decoder.total_bytes())?;

    // Damaged metadata is no damage to the picture: it stays as it lies.
    let orientation = guard_decoder(|| decoder.orientation()).unwrap_or(Orientation::NoTransforms);
    let mut picture = guard_decoder(|| DynamicImage::from_decoder(decoder))?;
    picture.apply_orientation(orientation);
    Ok(flatten(picture))
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
