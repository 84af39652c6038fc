//! The steps from a picture or video to patch rows, with a checkpoint's settings.

use std::path::Path;

use image::RgbImage;

use super::normalize::{SampleTable, tabulate_samples};
use super::patches::fill_patches;
use super::resize::resize_picture;
use super::{
    DecodeLimits, Grid, ImageError, PreprocessorConfig, VideoConfig, config_file, decode_bytes, decode_path,
    smart_resize, smart_resize_video,
};

/// One picture or video, ready for the vision tower.
#[derive(Clone, Debug, PartialEq)]
pub struct ProcessedImage {
    /// `[grid.patches(), 3 * T * P * P]` floats, row by row.
    pub pixel_values: Vec<f32>,
    /// Patches along time, height and width.
    pub grid: Grid,
}

/// Several pictures, ready for one pass through the vision tower.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProcessedImages {
    /// The rows of all pictures, one picture after the other: `[sum of grid.patches(), 3 * T * P * P]`.
    pub pixel_values: Vec<f32>,
    /// The grid of each picture, in order.
    pub grids: Vec<Grid>,
}

impl FromIterator<ProcessedImage> for ProcessedImages {
    /// Concatenates; the first picture's buffer is taken over, so that one picture is not copied.
    fn from_iter<I: IntoIterator<Item = ProcessedImage>>(pictures: I) -> Self {
        let mut all = Self::default();
        for picture in pictures {
            all.grids.push(picture.grid);
            if all.pixel_values.is_empty() {
                all.pixel_values = picture.pixel_values;
            } else {
                all.pixel_values.extend_from_slice(&picture.pixel_values);
            }
        }
        all
    }
}

/// Turns pictures and videos into patch rows.
#[derive(Clone, Debug)]
pub struct ImageProcessor {
    pictures: PreprocessorConfig,
    videos: VideoConfig,
    limits: DecodeLimits,
    picture_samples: Box<SampleTable>,
    video_samples: Box<SampleTable>,
}

impl ImageProcessor {
    /// Makes a processor with these settings and the default [`DecodeLimits`].
    ///
    /// # Errors
    /// [`ImageError::Setting`] for settings that cannot work.
    pub fn new(pictures: PreprocessorConfig, videos: VideoConfig) -> Result<Self, ImageError> {
        pictures.validate()?;
        videos.validate()?;
        let picture_samples = Box::new(tabulate_samples(&pictures));
        let video_samples = Box::new(tabulate_samples(&videos.frames));
        Ok(Self { pictures, videos, limits: DecodeLimits::default(), picture_samples, video_samples })
    }

    /// Reads the settings from the folder of a checkpoint: `preprocessor_config.json` and `video_preprocessor_config.json`, or
    /// `processor_config.json`. What is absent has the released value.
    ///
    /// # Errors
    /// [`ImageError::Read`], [`ImageError::Json`] or [`ImageError::Setting`] for files that cannot be used.
    pub fn load(folder: impl AsRef<Path>) -> Result<Self, ImageError> {
        let (pictures, videos) = config_file::read_folder(folder.as_ref())?;
        Self::new(pictures, videos)
    }

    /// Replaces the limits on what is decoded.
    pub fn with_limits(mut self, limits: DecodeLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The settings for pictures.
    pub fn picture_config(&self) -> &PreprocessorConfig {
        &self.pictures
    }

    /// The settings for videos.
    pub fn video_config(&self) -> &VideoConfig {
        &self.videos
    }

    /// Decodes and processes the picture at `path`.
    ///
    /// # Errors
    /// Those of [`decode_path`] and [`Self::process`].
    pub fn process_path(&self, path: impl AsRef<Path>) -> Result<ProcessedImage, ImageError> {
        self.process(&decode_path(path, &self.limits)?)
    }

    /// Decodes and processes the picture file held in `data`.
    ///
    /// # Errors
    /// Those of [`decode_bytes`] and [`Self::process`].
    pub fn process_bytes(&self, data: &[u8]) -> Result<ProcessedImage, ImageError> {
        self.process(&decode_bytes(data, &self.limits)?)
    }

    /// Processes one picture; it fills every frame of its only temporal patch.
    ///
    /// # Errors
    /// [`ImageError::Empty`], [`ImageError::AspectRatio`], and [`ImageError::NotDivisible`] when resizing is off.
    pub fn process(&self, picture: &RgbImage) -> Result<ProcessedImage, ImageError> {
        let config = &self.pictures;
        let size = measure(picture);
        let target = if config.do_resize {
            smart_resize(size.0, size.1, config.factor(), config.min_pixels, config.max_pixels)?
        } else {
            require_blocks(size, config.factor())?
        };
        let picture = resize_picture(picture, target.0, target.1)?;
        let frames = vec![&picture; config.temporal_patch_size];
        let (pixel_values, grid) = fill_patches(&frames, config, &self.picture_samples);
        Ok(ProcessedImage { pixel_values, grid })
    }

    /// Processes several pictures and concatenates their rows.
    ///
    /// # Errors
    /// The first error of [`Self::process`].
    pub fn process_all(&self, pictures: &[RgbImage]) -> Result<ProcessedImages, ImageError> {
        pictures.iter().map(|picture| self.process(picture)).collect()
    }

    /// Processes the frames of a video, already sampled ([`super::sample_frames`]), two (`temporal_patch_size`) to a temporal
    /// patch; the last frame is repeated to fill a patch.
    ///
    /// # Errors
    /// [`ImageError::NoFrames`], [`ImageError::FrameSize`] when frames differ in size, and those of [`Self::process`].
    pub fn process_video(&self, frames: &[RgbImage]) -> Result<ProcessedImage, ImageError> {
        let config = &self.videos.frames;
        let expected = measure(frames.first().ok_or(ImageError::NoFrames)?);
        for (index, frame) in frames.iter().enumerate() {
            let found = measure(frame);
            if found != expected {
                return Err(ImageError::FrameSize { index, expected, found });
            }
        }
        let (height, width) = expected;
        let target = if config.do_resize {
            let limits = (config.min_pixels, config.max_pixels);
            smart_resize_video(frames.len(), height, width, config.temporal_patch_size, config.factor(), limits)?
        } else {
            require_blocks(expected, config.factor())?
        };
        let frames: Vec<RgbImage> =
            frames.iter().map(|frame| resize_picture(frame, target.0, target.1)).collect::<Result<_, _>>()?;
        let mut filled: Vec<&RgbImage> = frames.iter().collect();
        let whole = frames.len().next_multiple_of(config.temporal_patch_size);
        filled.resize(whole, &frames[frames.len() - 1]);
        let (pixel_values, grid) = fill_patches(&filled, config, &self.video_samples);
        Ok(ProcessedImage { pixel_values, grid })
    }
}

/// Height and width.
fn measure(picture: &RgbImage) -> (usize, usize) {
    (picture.height() as usize, picture.width() as usize)
}

fn require_blocks(size: (usize, usize), factor: usize) -> Result<(usize, usize), ImageError> {
    let (height, width) = size;
    if height == 0 || width == 0 {
        return Err(ImageError::Empty { height, width });
    }
    if !height.is_multiple_of(factor) || !width.is_multiple_of(factor) {
        return Err(ImageError::NotDivisible { height, width, factor });
    }
    Ok(size)
}
