//! Files to 8-bit RGB.
//!
//! Whatever the file holds (grey, palette, 16 bits, CMYK) becomes 8-bit RGB; transparent pixels are blended with white;
//! an EXIF orientation is applied; of an animation the first frame counts, and of an animated PNG its default picture.
//! A file that was cut is read where Pillow reads it, with a warning.

use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageFormat, RgbImage};

use super::animated::{Gif, Player, Webp, clean_png};
use super::file::read_file;
use super::format::recognise;
use super::still::{decode_still, flatten};
use super::{DecodeLimits, ImageError, jpeg};

/// Reads and decodes the picture at `path`.
///
/// # Errors
/// [`ImageError::Read`], [`ImageError::NotAFile`], [`ImageError::FileTooLarge`], and those of [`decode_bytes`] in an
/// [`ImageError::File`], which names the file.
pub fn decode_path(path: impl AsRef<Path>, limits: &DecodeLimits) -> Result<RgbImage, ImageError> {
    let path = path.as_ref();
    // Warnings say which file they are about.
    let _span = tracing::error_span!("picture", path = %path.display()).entered();
    read_file(path, limits).and_then(|data| decode_bytes(&data, limits)).map_err(|error| error.at(path))
}

/// Decodes the file held in `data`, whose format is found from its first bytes.
///
/// # Errors
/// [`ImageError::UnknownFormat`], [`ImageError::UnsupportedFormat`], [`ImageError::TooLarge`] and
/// [`ImageError::TooManyBytes`] before decoding; [`ImageError::Decode`] and [`ImageError::Truncated`] for damaged data;
/// [`ImageError::Empty`] for a side of zero.
pub fn decode_bytes(data: &[u8], limits: &DecodeLimits) -> Result<RgbImage, ImageError> {
    let (mut picture, orientation) = decode_whole(data, recognise(data, data.len() as u64)?, limits)?;
    picture.apply_orientation(orientation);
    Ok(flatten(picture))
}

fn decode_whole(
    data: &[u8],
    format: ImageFormat,
    limits: &DecodeLimits,
) -> Result<(DynamicImage, Orientation), ImageError> {
    match format {
        ImageFormat::Jpeg if !jpeg::reaches_end(data) => {
            Err(ImageError::Truncated { format: "JPEG", bytes: data.len(), missing: "without an end-of-image marker" })
        }
        ImageFormat::Png => {
            let (whole, cut) = clean_png(data, limits)?;
            let decoded = decode_still(&whole, format, limits)?;
            if cut {
                let bytes = data.len();
                tracing::warn!("a PNG file ends after {bytes} bytes without its end mark (IEND); it may have been cut");
            }
            Ok(decoded)
        }
        ImageFormat::WebP => match Webp::open(data)? {
            Some(webp) => {
                let mut player = webp.play(data, limits)?;
                player.advance()?;
                Ok((player.picture(), webp.orientation(data)))
            }
            None => decode_still(data, format, limits),
        },
        ImageFormat::Gif => {
            let mut player = Gif::play(data, limits)?;
            if !player.advance()? {
                return Err(ImageError::NoFrames);
            }
            if Gif::open(data).is_cut() {
                tracing::warn!("a GIF file ends after {} bytes without its end mark; it may have been cut", data.len());
            }
            Ok((player.picture(), Orientation::NoTransforms))
        }
        _ => decode_still(data, format, limits),
    }
}
