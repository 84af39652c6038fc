//! What a model is given: plain data on the host, the same for every backend.

mod error;

pub use error::InputError;

use crate::Result;
use crate::config::{Qwen3VlConfig, VisionConfig};
use crate::positions::{Positions, position_ids};
use crate::processor::{Grid, ProcessedImages};
use crate::prompt::{Modality, classify_tokens};

/// Token ids of one prompt and the pixels of its pictures and videos.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelInputs {
    /// Token ids, the pads of pictures and videos already repeated ([`expand_prompt`](crate::prompt::expand_prompt)).
    pub input_ids: Vec<u32>,
    /// The pictures, in the order of their pads.
    pub images: ProcessedImages,
    /// The videos, in the order of their pads.
    pub videos: ProcessedImages,
}

/// Inputs that have been checked against a model: what each token stands for, and its position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputLayout {
    /// What each token stands for.
    pub modalities: Vec<Modality>,
    /// Its positions along time, height and width.
    pub positions: Positions,
}

impl ModelInputs {
    /// A prompt of text alone.
    pub fn from_text(input_ids: Vec<u32>) -> Self {
        Self { input_ids, ..Self::default() }
    }

    /// Checks the inputs against each other and the model, and tells what each token stands for and where it is.
    ///
    /// # Errors
    /// [`InputError`]; [`PromptError`](crate::prompt::PromptError) where pads don't match the grids.
    pub fn validate(&self, config: &Qwen3VlConfig) -> Result<InputLayout> {
        self.check_tokens(config)?;
        check_pixels(Modality::Image, &self.images, &config.vision)?;
        check_pixels(Modality::Video, &self.videos, &config.vision)?;
        let modalities = classify_tokens(&self.input_ids, config.image_token_id, config.video_token_id);
        let merge = config.vision.spatial_merge_size;
        let positions = position_ids(&modalities, &self.images.grids, &self.videos.grids, merge)?;
        Ok(InputLayout { modalities, positions })
    }

    fn check_tokens(&self, config: &Qwen3VlConfig) -> Result<(), InputError> {
        let vocab_size = config.text.vocab_size;
        if self.input_ids.is_empty() {
            return Err(InputError::Empty);
        }
        check_length(self.input_ids.len(), 0, config)?;
        let wrong = self.input_ids.iter().enumerate().find(|&(_, &id)| id as usize >= vocab_size);
        wrong.map_or(Ok(()), |(index, &id)| Err(InputError::TokenId { index, id, vocab_size }))
    }
}

/// Checks that a prompt and what is to be generated fit the context.
///
/// # Errors
/// [`InputError::TooLong`].
pub(crate) fn check_length(prompt: usize, added: usize, config: &Qwen3VlConfig) -> Result<(), InputError> {
    let limit = config.text.context_length();
    if prompt.saturating_add(added) > limit {
        return Err(InputError::TooLong { prompt, added, limit });
    }
    Ok(())
}

/// Checks that there are as many pixel values as the grids have patches; products that overflow count as too many.
fn check_pixels(modality: Modality, pictures: &ProcessedImages, vision: &VisionConfig) -> Result<(), InputError> {
    let patches_of = |grid: &Grid| grid.t.checked_mul(grid.h)?.checked_mul(grid.w);
    let patches = pictures.grids.iter().try_fold(0usize, |sum, grid| sum.checked_add(patches_of(grid)?));
    let expected = patches.and_then(|patches| patches.checked_mul(vision.patch_dim()));
    let found = pictures.pixel_values.len();
    if expected != Some(found) {
        let (patches, expected) = (patches.unwrap_or(usize::MAX), expected.unwrap_or(usize::MAX));
        return Err(InputError::PixelCount { modality, patches, expected, found });
    }
    Ok(())
}
