//! How pictures and videos are prepared for a checkpoint.

use super::ImageError;

/// Largest `patch_size`, `temporal_patch_size` or `merge_size` that is taken for a setting and not for damage.
const MAX_PATCH: usize = 1 << 10;

/// Largest lower limit on pixels: a smaller picture is scaled up to it, so it bounds what a tiny picture can cost.
pub(super) const MAX_MIN_PIXELS: usize = 1 << 26;

/// Settings for pictures, from `preprocessor_config.json`.
///
/// The default is what the released Qwen3-VL checkpoints have.
#[derive(Clone, Debug, PartialEq)]
pub struct PreprocessorConfig {
    /// Fewest pixels of a resampled picture (`size.shortest_edge`; 65,536).
    pub min_pixels: usize,
    /// Most pixels of a resampled picture (`size.longest_edge`; 16,777,216).
    pub max_pixels: usize,
    /// Side of a patch in pixels (16).
    pub patch_size: usize,
    /// Frames in a temporal patch (2).
    pub temporal_patch_size: usize,
    /// Side in patches of the square that becomes one token (2).
    pub merge_size: usize,
    /// Mean of red, green and blue, on the scale after rescaling (0.5).
    pub image_mean: [f32; 3],
    /// Standard deviation of red, green and blue, on the scale after rescaling (0.5).
    pub image_std: [f32; 3],
    /// Whether pictures are resampled; otherwise their sides must be multiples of [`Self::factor`].
    pub do_resize: bool,
    /// Whether samples are multiplied by `rescale_factor`.
    pub do_rescale: bool,
    /// From 8-bit samples to 0..1 (1 / 255).
    pub rescale_factor: f64,
    /// Whether mean and standard deviation are applied.
    pub do_normalize: bool,
}

impl Default for PreprocessorConfig {
    fn default() -> Self {
        Self {
            min_pixels: 65_536,
            max_pixels: 16_777_216,
            patch_size: 16,
            temporal_patch_size: 2,
            merge_size: 2,
            image_mean: [0.5; 3],
            image_std: [0.5; 3],
            do_resize: true,
            do_rescale: true,
            rescale_factor: 1.0 / 255.0,
            do_normalize: true,
        }
    }
}

impl PreprocessorConfig {
    /// Side of a merge block in pixels, `patch_size * merge_size`.
    pub fn factor(&self) -> usize {
        self.patch_size * self.merge_size
    }

    /// Floats in a patch row, `3 * temporal_patch_size * patch_size^2`.
    pub fn row_len(&self) -> usize {
        3 * self.temporal_patch_size * self.patch_size * self.patch_size
    }

    /// Checks that the settings can work.
    ///
    /// # Errors
    /// [`ImageError::Setting`] with the name and value of the first that cannot.
    pub fn validate(&self) -> Result<(), ImageError> {
        for (name, value) in [
            ("patch_size", self.patch_size),
            ("temporal_patch_size", self.temporal_patch_size),
            ("merge_size", self.merge_size),
        ] {
            require((1..=MAX_PATCH).contains(&value), name, value, "in 1..=1024")?;
        }
        let (min, max) = (self.min_pixels, self.max_pixels);
        require((1..=MAX_MIN_PIXELS).contains(&min), "size.shortest_edge", min, "a pixel count in 1..=2^26")?;
        require(max >= min, "size.longest_edge", max, "a pixel count of at least size.shortest_edge")?;
        let block = self.factor() * self.factor();
        require(max >= block, "size.longest_edge", max, "room for one merge block (patch_size * merge_size, squared)")?;
        for value in self.image_mean {
            require(value.is_finite(), "image_mean", value, "finite")?;
        }
        for value in self.image_std {
            require(value.is_finite() && value > 0.0, "image_std", value, "positive and finite")?;
        }
        let factor = self.rescale_factor;
        require(factor.is_finite() && factor > 0.0, "rescale_factor", factor, "positive and finite")
    }
}

/// Settings for videos, from `video_preprocessor_config.json`.
#[derive(Clone, Debug, PartialEq)]
pub struct VideoConfig {
    /// How frames are prepared; its pixel limits bound all frames of a video together (4,096 to 25,165,824).
    pub frames: PreprocessorConfig,
    /// Frames a second that are sampled (2).
    pub fps: f64,
    /// Frames that are sampled in place of `fps`; all of a video that has fewer (`None`).
    pub num_frames: Option<usize>,
    /// Fewest frames that are sampled, if the video has them (4).
    pub min_frames: usize,
    /// Most frames that are sampled (768).
    pub max_frames: usize,
    /// Whether frames are sampled at all, where a video doesn't ask for it (true).
    pub do_sample_frames: bool,
    /// Most tokens of a frame: `max_video_tokens`, where `cap_pixels_per_frame` is set (`None`).
    pub max_frame_tokens: Option<usize>,
}

impl Default for VideoConfig {
    fn default() -> Self {
        Self::beside(&PreprocessorConfig::default())
    }
}

impl VideoConfig {
    /// The released video settings for a checkpoint that has settings for pictures only: its patches and normalisation.
    pub fn beside(pictures: &PreprocessorConfig) -> Self {
        let frames = PreprocessorConfig { min_pixels: 4_096, max_pixels: 25_165_824, ..pictures.clone() };
        Self {
            frames,
            fps: 2.0,
            num_frames: None,
            min_frames: 4,
            max_frames: 768,
            do_sample_frames: true,
            max_frame_tokens: None,
        }
    }

    /// Most pixels of `count` frames together:
    ///
    /// ```text
    /// max_pixels, or with max_frame_tokens
    /// count max(min(max_frame_tokens factor^2, max_pixels / count), 1.05 min_pixels)
    /// ```
    ///
    /// Source: `resize` of HF transformers' Qwen3-VL video processor.
    pub fn max_pixels(&self, count: usize) -> usize {
        let PreprocessorConfig { min_pixels, max_pixels, .. } = self.frames;
        let Some(tokens) = self.max_frame_tokens else { return max_pixels };
        let cap = tokens.saturating_mul(self.frames.factor().pow(2)).min(max_pixels / count.max(1));
        cap.max((min_pixels as f64 * 1.05) as usize).saturating_mul(count)
    }

    /// Checks that the settings can work.
    ///
    /// # Errors
    /// [`ImageError::Setting`] with the name and value of the first that cannot.
    pub fn validate(&self) -> Result<(), ImageError> {
        self.frames.validate()?;
        require(self.fps.is_finite() && self.fps > 0.0, "fps", self.fps, "positive and finite")?;
        require(self.num_frames != Some(0), "num_frames", 0, "a positive number")?;
        require(self.max_frame_tokens != Some(0), "max_video_tokens", 0, "a positive number")?;
        require(self.min_frames > 0, "min_frames", self.min_frames, "a positive number")?;
        require(self.max_frames >= self.min_frames, "max_frames", self.max_frames, "at least min_frames")
    }
}

/// Turns a condition into the error that names the setting.
pub(super) fn require(
    holds: bool,
    name: &'static str,
    value: impl ToString,
    expected: &'static str,
) -> Result<(), ImageError> {
    if holds { Ok(()) } else { Err(ImageError::Setting { name, value: value.to_string(), expected }) }
}
