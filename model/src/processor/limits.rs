//! How large a picture may be.

use super::ImageError;

/// What a picture may announce in its header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Most pixels along a side.
    pub max_side: u32,
    /// Most pixels in all.
    pub max_pixels: u64,
    /// Most bytes of decoded samples (up to 8 a pixel).
    pub max_bytes: u64,
    /// Most bytes of a file.
    pub max_file_bytes: u64,
}

impl Default for DecodeLimits {
    /// 65,535 a side (what JPEG can express), 178,956,970 pixels (where Pillow calls a picture a bomb), 1 GiB, files of
    /// 256 MiB.
    fn default() -> Self {
        Self { max_side: 65_535, max_pixels: 178_956_970, max_bytes: 1 << 30, max_file_bytes: 1 << 28 }
    }
}

impl DecodeLimits {
    /// Checks what a header announces: sides in pixels and the bytes of all samples.
    ///
    /// # Errors
    /// [`ImageError::Empty`], [`ImageError::TooLarge`], [`ImageError::TooManyBytes`].
    pub(super) fn check(&self, width: u32, height: u32, bytes: u64) -> Result<(), ImageError> {
        let Self { max_side, max_pixels, max_bytes, .. } = *self;
        if width == 0 || height == 0 {
            return Err(ImageError::Empty { height: height as usize, width: width as usize });
        }
        if width.max(height) > max_side || u64::from(width) * u64::from(height) > max_pixels {
            return Err(ImageError::TooLarge { height, width, max_side, max_pixels });
        }
        if bytes > max_bytes {
            return Err(ImageError::TooManyBytes { height, width, bytes, max_bytes });
        }
        Ok(())
    }
}
