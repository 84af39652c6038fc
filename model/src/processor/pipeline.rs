//! The steps from a picture or video to patch rows, with a checkpoint's settings.

use std::path::Path;

use image::RgbImage;

use super::frames::resolve_fps;
use super::normalize::{SampleTable, tabulate_samples};
use super::patches::fill_patches;
use super::resize::resize_picture;
use super::size::choose_size;
use super::video::{FrameFitter, OpenVideo, Opening};
use super::{
    DecodeLimits, ImageError, ImageOptions, ImageSource, PreprocessorConfig, ProcessedImage, ProcessedImages,
    ProcessedVideo, VideoConfig, VideoError, VideoLimits, VideoOptions, VideoSource, VideoTools, compute_timestamps,
    config_file, count_samples, decode_bytes, decode_path, sample_frames,
};

/// Turns pictures and videos into patch rows.
#[derive(Clone, Debug)]
pub struct ImageProcessor {
    pictures: PreprocessorConfig,
    videos: VideoConfig,
    opening: Opening,
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
        Ok(Self { pictures, videos, opening: Opening::default(), picture_samples, video_samples })
    }

    /// Reads the settings from the folder of a checkpoint: `preprocessor_config.json` and
    /// `video_preprocessor_config.json`, or `processor_config.json`. What is absent has the released value.
    ///
    /// # Errors
    /// [`ImageError::Read`], [`ImageError::Json`] or [`ImageError::Setting`] for files that cannot be used.
    pub fn load(folder: impl AsRef<Path>) -> Result<Self, ImageError> {
        let (pictures, videos) = config_file::read_folder(folder.as_ref())?;
        Self::new(pictures, videos)
    }

    /// Replaces the limits on what is decoded.
    pub fn with_limits(mut self, limits: DecodeLimits) -> Self {
        self.opening.pictures = limits;
        self
    }

    /// Replaces the limits on what is taken of videos.
    pub fn with_video_limits(mut self, limits: VideoLimits) -> Self {
        self.opening.limits = limits;
        self
    }

    /// Replaces the programs that read video files.
    pub fn with_video_tools(mut self, tools: VideoTools) -> Self {
        self.opening.tools = tools;
        self
    }

    /// How files are opened.
    pub(super) fn opening(&self) -> &Opening {
        &self.opening
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
        self.process(&decode_path(path, &self.opening.pictures)?)
    }

    /// Decodes and processes the picture file held in `data`.
    ///
    /// # Errors
    /// Those of [`decode_bytes`] and [`Self::process`].
    pub fn process_bytes(&self, data: &[u8]) -> Result<ProcessedImage, ImageError> {
        self.process(&decode_bytes(data, &self.opening.pictures)?)
    }

    /// Decodes and processes a picture, with limits of its own.
    ///
    /// # Errors
    /// Those of [`ImageSource::decode`], [`ImageOptions::apply`] and [`Self::process`].
    pub fn process_source(&self, source: &ImageSource, options: &ImageOptions) -> Result<ProcessedImage, ImageError> {
        let config = options.apply(&self.pictures)?;
        let fit = || self.fit_picture(&*source.decode(&self.opening.pictures)?, &config);
        fit().map_err(|error| match source.path() {
            Some(path) => error.at(&path),
            None => error,
        })
    }

    /// Processes one picture; it fills every frame of its only temporal patch.
    ///
    /// # Errors
    /// [`ImageError::Empty`], [`ImageError::AspectRatio`], and [`ImageError::NotDivisible`] when resizing is off.
    pub fn process(&self, picture: &RgbImage) -> Result<ProcessedImage, ImageError> {
        self.fit_picture(picture, &self.pictures)
    }

    fn fit_picture(&self, picture: &RgbImage, config: &PreprocessorConfig) -> Result<ProcessedImage, ImageError> {
        let target = choose_size(config, picture.height() as usize, picture.width() as usize)?;
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

    /// Processes the frames of a video, already sampled ([`super::sample_frames`]), two (`temporal_patch_size`) to a
    /// temporal patch; the last frame is repeated to fill a patch.
    ///
    /// # Errors
    /// [`ImageError::NoFrames`], [`ImageError::FrameSize`] when frames differ in size, [`ImageError::Video`] beyond the
    /// [`VideoLimits`], and those of [`Self::process`].
    pub fn process_video(&self, frames: &[RgbImage]) -> Result<ProcessedImage, ImageError> {
        let config = &self.videos.frames;
        let pixels = (config.min_pixels, config.max_pixels);
        let mut fitter = FrameFitter::new(config, &self.opening.limits, pixels, frames.len())?;
        frames.iter().try_for_each(|frame| fitter.push(frame))?;
        fitter.finish(&self.video_samples)
    }

    /// Opens a video, samples its frames, and processes them.
    ///
    /// Without a frame rate from the video or the options, [`super::DEFAULT_SOURCE_FPS`] is assumed, with a warning.
    ///
    /// # Errors
    /// Those of [`VideoOptions::apply`], [`Self::process_video`], and of a source that cannot be read
    /// ([`ImageError::Video`], [`ImageError::Decode`], [`ImageError::Read`], ..), in an [`ImageError::File`] where it
    /// is a file; [`ImageError::Option`] for indices or a number of frames that the source cannot have.
    pub fn process_video_source(
        &self,
        source: &VideoSource,
        options: &VideoOptions,
    ) -> Result<ProcessedVideo, ImageError> {
        let path = source.path();
        // Warnings say which file they are about.
        let _span = path.as_ref().map(|path| tracing::error_span!("video", path = %path.display()).entered());
        self.process_frames(source, options).map_err(|error| match &path {
            Some(path) => error.at(path),
            None => error,
        })
    }

    fn process_frames(&self, source: &VideoSource, options: &VideoOptions) -> Result<ProcessedVideo, ImageError> {
        let config = options.apply(&self.videos)?;
        let list = matches!(source, VideoSource::List(_));
        let mut video = OpenVideo::open(source, &self.opening)?;
        loop {
            let Sampling { indices, fps, pixels } = self.sample_video(&video, list, options, &config)?;
            let mut fitter = FrameFitter::new(&config.frames, &self.opening.limits, pixels, indices.len())?;
            match video.read(&indices, &mut |frame| fitter.push(frame)) {
                Ok(()) => {}
                Err(ImageError::Video(VideoError::FrameCount { .. })) if video.recount()? => continue,
                Err(error) => return Err(error),
            }
            let happened = options.frames_indices.as_deref().unwrap_or(&indices);
            let timestamps = compute_timestamps(happened, fps, config.frames.temporal_patch_size)?;
            return Ok(ProcessedVideo { pixels: fitter.finish(&self.video_samples)?, timestamps });
        }
    }

    /// Chooses the frames of an open video.
    ///
    /// # Errors
    /// [`ImageError::Option`] for indices or a number of frames that the video cannot have, [`ImageError::FrameRate`],
    /// and those of the limits.
    pub(super) fn sample_video(
        &self,
        video: &OpenVideo<'_>,
        list: bool,
        options: &VideoOptions,
        config: &VideoConfig,
    ) -> Result<Sampling, ImageError> {
        options.check_frames(video.count(), list)?;
        // A single frame needs no rate.
        let alone = video.count() == 1 && options.frames_indices.is_none();
        let fps = options.source_rate(list).or_else(|| video.fps()).or(alone.then_some(1.0));
        let fps = Some(resolve_fps(fps)?);
        let indices: Vec<usize> = if options.samples(list) {
            self.opening.limits.check_count(count_samples(video.count(), fps, config)?)?;
            sample_frames(video.count(), fps, config)?
        } else {
            self.opening.limits.check_count(video.count())?;
            (0..video.count()).collect()
        };
        let pixels = options.limit_pixels(indices.len(), &config.frames);
        Ok(Sampling { indices, fps, pixels })
    }
}

/// The frames chosen of a video.
pub(super) struct Sampling {
    /// Which ones, in order.
    pub indices: Vec<usize>,
    /// Frames a second of the source.
    pub fps: Option<f64>,
    /// Bounds on the pixels of all of them together.
    pub pixels: (usize, usize),
}
