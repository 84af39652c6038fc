//! A batch as the passes take it: rows of all samples behind each other.

use super::StepError;
use crate::data::{Batch, IGNORED};
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};
use qwen3_vl_burn::Qwen3VlConfig;
use qwen3_vl_burn::processor::Grid;
use qwen3_vl_burn::prompt::Modality;
use qwen3_vl_burn::text::VisualRows;

/// Everything that a pass needs to know of a batch, on the host.
pub(super) struct Inputs {
    /// Token ids, `[length]`.
    pub ids: Vec<i64>,
    /// Rows of each sample.
    pub lengths: Vec<usize>,
    /// Positions along time, height and width.
    pub positions: [Vec<i64>; 3],
    /// Where the rows of pictures are.
    pub visual: VisualRows,
    /// Pictures and videos of all samples; `None` without one.
    pub pictures: Option<Pictures>,
    /// Rows that predict a target, ascending.
    pub rows: Vec<i64>,
    /// What they predict.
    pub targets: Vec<i64>,
}

/// What the tower gets: of each sample its pictures, then its videos.
pub(super) struct Pictures {
    /// Rows of patches, flattened.
    pub pixels: Vec<f32>,
    /// Their grids.
    pub grids: Vec<Grid>,
    /// For each visual row the feature that it gets, where that is not the one of the same number.
    pub order: Option<Vec<i64>>,
}

impl Inputs {
    /// Checks the samples and lays them out.
    pub fn new(batch: &Batch, config: &Qwen3VlConfig) -> Result<Self, StepError> {
        if batch.samples.is_empty() {
            return Err(StepError::EmptyBatch);
        }
        let merge = config.vision.spatial_merge_size;
        let mut joined = Self {
            ids: Vec::new(),
            lengths: Vec::new(),
            positions: Default::default(),
            visual: VisualRows::default(),
            pictures: None,
            rows: Vec::new(),
            targets: Vec::new(),
        };
        let mut pictures = Pictures { pixels: Vec::new(), grids: Vec::new(), order: None };
        let mut order = Vec::new();
        for sample in &batch.samples {
            let inputs = &sample.inputs;
            let layout = inputs
                .validate(config)
                .map_err(|error| StepError::Inputs { source_of: sample.source.clone(), error: Box::new(error) })?;
            let start = joined.ids.len();
            joined.push_targets(sample, start, config.text.vocab_size)?;
            joined.ids.extend(inputs.input_ids.iter().map(|&id| i64::from(id)));
            joined.lengths.push(inputs.input_ids.len());
            for (axis, added) in joined.positions.iter_mut().zip(&layout.positions.ids) {
                axis.extend(added);
            }
            joined.visual.append(&VisualRows::find(&layout.modalities), start);
            // Features come pictures first; rows come as the prompt has them.
            let images: usize = inputs.images.grids.iter().map(|grid| grid.tokens(merge)).sum();
            let (mut image, mut video) = (order.len() as i64, (order.len() + images) as i64);
            for modality in &layout.modalities {
                let next = match modality {
                    Modality::Text => continue,
                    Modality::Image => &mut image,
                    Modality::Video => &mut video,
                };
                order.push(*next);
                *next += 1;
            }
            for source in [&inputs.images, &inputs.videos] {
                pictures.pixels.extend_from_slice(&source.pixel_values);
                pictures.grids.extend_from_slice(&source.grids);
            }
        }
        if !pictures.grids.is_empty() {
            let in_order = order.iter().enumerate().all(|(row, &feature)| row as i64 == feature);
            pictures.order = (!in_order).then_some(order);
            joined.pictures = Some(pictures);
        }
        Ok(joined)
    }

    /// Position `i` predicts label `i + 1`, inside of the sample.
    fn push_targets(&mut self, sample: &crate::data::Sample, start: usize, vocab_size: usize) -> Result<(), StepError> {
        let (labels, tokens) = (sample.labels.len(), sample.len());
        if labels != tokens {
            return Err(StepError::Labels { source_of: sample.source.clone(), labels, tokens });
        }
        for (index, &label) in sample.labels.iter().enumerate().skip(1) {
            if label == IGNORED {
                continue;
            }
            if usize::try_from(label).map_or(true, |label| label >= vocab_size) {
                return Err(StepError::Label { source_of: sample.source.clone(), index, label, vocab_size });
            }
            self.rows.push((start + index - 1) as i64);
            self.targets.push(label);
        }
        Ok(())
    }

    /// Rows of all samples.
    pub fn length(&self) -> usize {
        self.ids.len()
    }
}

/// Indices on a device.
pub(super) fn upload<B: Backend>(values: Vec<i64>, device: &B::Device) -> Tensor<B, 1, Int> {
    let length = values.len();
    Tensor::from_data(TensorData::new(values, [length]), device)
}
