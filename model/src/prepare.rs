//! From a prompt's tokens and pixels to rows of the decoder.

use crate::inputs::InputLayout;
use crate::positions::Positions;
use crate::prefix::find_pictures;
use crate::prepared::PreparedPrompt;
use crate::processor::{Grid, ProcessedImages};
use crate::prompt::Modality;
use crate::text::{DecoderInputs, VisualRows, list_text_positions, order_features};
use crate::vision::VisionOutput;
use crate::{ModelInputs, Qwen3Vl, Result};
use burn::tensor::{Tensor, TensorData};
use burn_kiln_fusion::FusedOps;

impl<B: FusedOps> Qwen3Vl<B> {
    /// Checks a prompt, encodes its pictures and videos, and embeds its tokens.
    ///
    /// # Errors
    /// As [`ModelInputs::validate`]; [`Error::Streaming`](crate::Error::Streaming) where weights are not in memory and
    /// cannot be read.
    pub fn prepare(&self, inputs: &ModelInputs) -> Result<PreparedPrompt<B>> {
        self.prepare_end(inputs, &inputs.validate(self.config())?, 0)
    }

    /// As [`Qwen3Vl::prepare`], from token `start` on: what comes before is in a cache. `start` must not be inside a
    /// picture.
    pub(crate) fn prepare_end(
        &self,
        inputs: &ModelInputs,
        layout: &InputLayout,
        start: usize,
    ) -> Result<PreparedPrompt<B>> {
        self.on_stream(|| self.prepare_rows(inputs, layout, start))
    }

    fn prepare_rows(&self, inputs: &ModelInputs, layout: &InputLayout, start: usize) -> Result<PreparedPrompt<B>> {
        let Positions { ids, rope_delta } = &layout.positions;
        let ids = ids.each_ref().map(|axis| axis[start..].to_vec());
        let modalities = &layout.modalities[start..];
        let pictures = find_pictures(inputs, &layout.modalities, self.config());
        let done = |modality| pictures.iter().filter(|p| p.modality == modality && p.span.end <= start).count();
        let images = self.encode_rest(&inputs.images, done(Modality::Image))?;
        let videos = self.encode_rest(&inputs.videos, done(Modality::Video))?;

        let taps = images.iter().chain(&videos).map(|output| output.deepstack.len()).max().unwrap_or(0);
        let tap = |output: &Option<VisionOutput<B>>, tap: usize| output.as_ref().map(|o| o.deepstack[tap].clone());
        let deepstack =
            (0..taps).filter_map(|i| order_features(modalities, tap(&images, i), tap(&videos, i))).collect();
        let merged = |output: Option<VisionOutput<B>>| output.map(|output| output.features);
        let features = order_features(modalities, merged(images), merged(videos));

        let visual = VisualRows::find(modalities);
        let mut rows = self.embed(&inputs.input_ids[start..])?;
        if let Some(features) = features {
            rows = visual.replace(rows, &features);
        }
        Ok(PreparedPrompt {
            inputs: DecoderInputs { rows, lengths: vec![modalities.len()], positions: ids, visual, deepstack },
            next_position: inputs.input_ids.len() as i64 + rope_delta,
        })
    }

    /// Runs the vision tower; `None` without a picture. The pixel values must fit the grids.
    ///
    /// # Errors
    /// [`Error::Streaming`](crate::Error::Streaming) where weights are not in memory and cannot be read.
    pub fn encode(&self, pictures: &ProcessedImages) -> Result<Option<VisionOutput<B>>> {
        self.encode_rest(pictures, 0)
    }

    /// Runs the vision tower over all pictures but the first `done`.
    fn encode_rest(&self, pictures: &ProcessedImages, done: usize) -> Result<Option<VisionOutput<B>>> {
        let (skipped, grids) = pictures.grids.split_at(done);
        if grids.is_empty() {
            return Ok(None);
        }
        let width = self.config().vision.patch_dim();
        let skipped: usize = skipped.iter().map(Grid::patches).sum();
        let pixels = &pictures.pixel_values[skipped * width..];
        let patches = TensorData::new(pixels.to_vec(), [pixels.len() / width, width]);
        let patches = Tensor::from_data(patches, &self.device());
        self.run_tower(patches, grids).map(Some)
    }

    /// Appends tokens to a prepared prompt: what computing without a cache needs.
    ///
    /// # Errors
    /// [`Error::Streaming`](crate::Error::Streaming) where their embeddings are not in memory and cannot be read.
    pub fn extend(&self, prompt: &PreparedPrompt<B>, tokens: &[u32]) -> Result<PreparedPrompt<B>> {
        let mut extended = prompt.clone();
        if tokens.is_empty() {
            return Ok(extended);
        }
        let DecoderInputs { rows, lengths, positions, .. } = &mut extended.inputs;
        for (axis, added) in positions.iter_mut().zip(&list_text_positions(prompt.next_position, tokens.len())) {
            axis.extend(added);
        }
        lengths[0] += tokens.len();
        *rows = Tensor::cat(vec![rows.clone(), self.embed(tokens)?], 1);
        extended.next_position += tokens.len() as i64;
        Ok(extended)
    }
}
