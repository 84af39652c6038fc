//! How much of a video is taken into memory.

use crate::processor::ImageError;

use super::VideoError;

/// Bounds on a video, checked before its frames are decoded.
///
/// A frame is resampled as soon as it is decoded, so that one frame of the source's size is held at a time, and the
/// sampled ones in the size that the model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VideoLimits {
    /// Most pixels of a frame in the source.
    pub max_frame_pixels: u64,
    /// Most frames to be processed.
    pub max_frames: usize,
    /// Most bytes of resampled frames, 3 a pixel.
    pub max_bytes: u64,
}

impl Default for VideoLimits {
    /// 8192 x 8192 pixels, 16,384 frames, 1 GiB.
    fn default() -> Self {
        Self { max_frame_pixels: 1 << 26, max_frames: 1 << 14, max_bytes: 1 << 30 }
    }
}

impl VideoLimits {
    /// Checks the size of a frame before it is decoded.
    ///
    /// # Errors
    /// [`ImageError::Empty`], [`VideoError::FrameTooLarge`].
    pub(super) fn check_frame(&self, height: u64, width: u64) -> Result<(), ImageError> {
        if height == 0 || width == 0 {
            return Err(ImageError::Empty { height: height as usize, width: width as usize });
        }
        let max_pixels = self.max_frame_pixels;
        if height.checked_mul(width).is_none_or(|pixels| pixels > max_pixels) {
            return Err(VideoError::FrameTooLarge { height, width, max_pixels }.into());
        }
        Ok(())
    }

    /// Checks the number of frames before they are decoded.
    ///
    /// # Errors
    /// [`ImageError::NoFrames`], [`VideoError::TooManyFrames`].
    pub(in crate::processor) fn check_count(&self, frames: usize) -> Result<(), ImageError> {
        match frames {
            0 => Err(ImageError::NoFrames),
            frames if frames > self.max_frames => {
                Err(VideoError::TooManyFrames { frames, max_frames: self.max_frames }.into())
            }
            _ => Ok(()),
        }
    }

    /// Checks what the resampled frames will take.
    ///
    /// # Errors
    /// [`VideoError::TooManyBytes`].
    pub(super) fn check_bytes(&self, frames: usize, height: usize, width: usize) -> Result<(), ImageError> {
        let bytes = [frames, height, width].iter().fold(3u64, |product, &n| product.saturating_mul(n as u64));
        if bytes > self.max_bytes {
            return Err(VideoError::TooManyBytes { frames, height, width, bytes, max_bytes: self.max_bytes }.into());
        }
        Ok(())
    }
}
