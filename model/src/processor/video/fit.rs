//! Frames to patch rows, one frame at a time.

use image::RgbImage;

use super::VideoLimits;
use crate::processor::normalize::SampleTable;
use crate::processor::patches::fill_patches;
use crate::processor::resize::resize_picture;
use crate::processor::size::require_blocks;
use crate::processor::{ImageError, PreprocessorConfig, ProcessedImage, smart_resize_video};

/// Resamples the frames of a video as they come and lays them out at the end.
pub(in crate::processor) struct FrameFitter<'a> {
    config: &'a PreprocessorConfig,
    limits: &'a VideoLimits,
    /// Bounds on the pixels of all frames together.
    pixels: (usize, usize),
    /// Frames that will come.
    count: usize,
    /// Height and width of the first frame, and what frames are resampled to.
    size: Option<((usize, usize), (usize, usize))>,
    frames: Vec<RgbImage>,
}

impl<'a> FrameFitter<'a> {
    /// Prepares for `count` frames, whose pixels together are to be within `pixels`.
    ///
    /// # Errors
    /// [`ImageError::NoFrames`], [`VideoError::TooManyFrames`](super::VideoError::TooManyFrames).
    pub fn new(
        config: &'a PreprocessorConfig,
        limits: &'a VideoLimits,
        pixels: (usize, usize),
        count: usize,
    ) -> Result<Self, ImageError> {
        limits.check_count(count)?;
        Ok(Self { config, limits, pixels, count, size: None, frames: Vec::new() })
    }

    /// Takes the next frame.
    ///
    /// # Errors
    /// [`ImageError::FrameSize`] for one of another size than the first, and those of [`smart_resize_video`] and the
    /// limits.
    pub fn push(&mut self, frame: &RgbImage) -> Result<(), ImageError> {
        let found = (frame.height() as usize, frame.width() as usize);
        let (expected, target) = match self.size {
            Some(size) => size,
            None => *self.size.insert((found, self.choose_target(found)?)),
        };
        if found != expected {
            return Err(ImageError::FrameSize { index: self.frames.len(), expected, found });
        }
        self.frames.push(resize_picture(frame, target.0, target.1)?);
        Ok(())
    }

    /// Height and width that frames are resampled to.
    ///
    /// # Errors
    /// [`ImageError::NoFrames`] before the first frame.
    pub fn target(&self) -> Result<(usize, usize), ImageError> {
        self.size.map(|(_, target)| target).ok_or(ImageError::NoFrames)
    }

    fn choose_target(&self, (height, width): (usize, usize)) -> Result<(usize, usize), ImageError> {
        self.limits.check_frame(height as u64, width as u64)?;
        let config = self.config;
        let target = if config.do_resize {
            smart_resize_video(self.count, height, width, config.temporal_patch_size, config.factor(), self.pixels)?
        } else {
            require_blocks((height, width), config.factor())?
        };
        self.limits.check_bytes(self.count, target.0, target.1)?;
        Ok(target)
    }

    /// Lays the frames out, `temporal_patch_size` to a temporal patch; the last frame is repeated to fill a patch.
    ///
    /// # Errors
    /// [`ImageError::NoFrames`].
    pub fn finish(self, table: &SampleTable) -> Result<ProcessedImage, ImageError> {
        let last = self.frames.last().ok_or(ImageError::NoFrames)?;
        let mut filled: Vec<&RgbImage> = self.frames.iter().collect();
        filled.resize(self.frames.len().next_multiple_of(self.config.temporal_patch_size), last);
        let (pixel_values, grid) = fill_patches(&filled, self.config, table);
        Ok(ProcessedImage { pixel_values, grid })
    }
}
