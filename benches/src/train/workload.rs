//! The sample that every engine trains on. Its numbers follow from formulas, so that engines in other languages make
//! the same.

use super::args::Args;
use qwen3_vl_burn::processor::{Grid, ProcessedImages};
use qwen3_vl_burn::{ModelInputs, Qwen3VlConfig};
use qwen3_vl_train::data::{Batch, IGNORED, Sample, Source};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;

/// Learning rate of every step.
pub const LEARNING_RATE: f64 = 1e-5;

/// Gradients are clipped to this norm.
pub const CLIP: f64 = 1.0;

/// One sample.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    side: usize,
    merge: usize,
    patch_dim: usize,
    /// Tokens of text: all are targets.
    text: usize,
    marks: [u32; 3],
    ids: u32,
    rank: u32,
}

impl Workload {
    /// For a checkpoint of this configuration. The picture's side is rounded up to whole tokens.
    ///
    /// # Errors
    /// Where the picture leaves no room for text.
    pub fn new(args: &Args, config: &Qwen3VlConfig) -> super::Result<Self> {
        let vision = &config.vision;
        let unit = vision.patch_size * vision.spatial_merge_size;
        let side = (args.image_px as usize).div_ceil(unit) * vision.spatial_merge_size;
        let picture = if side > 0 { (side / vision.spatial_merge_size).pow(2) + 2 } else { 0 };
        let text = (args.tokens as usize).checked_sub(picture).filter(|&text| text > 1);
        let text = text
            .ok_or_else(|| format!("a picture of {} px has {picture} tokens: --tokens must be more", args.image_px))?;
        let marks = [config.vision_start_token_id, config.image_token_id, config.vision_end_token_id];
        let ids = marks.into_iter().min().unwrap_or(1).min(config.video_token_id).clamp(1, 10_000);
        let (merge, patch_dim) = (vision.spatial_merge_size, vision.patch_dim());
        Ok(Self { side, merge, patch_dim, text, marks, ids, rank: args.rank })
    }

    /// As the engines of this program take it.
    pub fn batch(&self) -> Batch {
        let (mut ids, mut labels, mut images) = (Vec::new(), Vec::new(), ProcessedImages::default());
        if self.side > 0 {
            let [begin, pad, end] = self.marks;
            ids.push(begin);
            ids.extend(std::iter::repeat_n(pad, (self.side / self.merge).pow(2)));
            ids.push(end);
            labels.resize(ids.len(), IGNORED);
            let numbers = self.side * self.side * self.patch_dim;
            images.pixel_values = (0..numbers).map(|i| (i * 37 % 255) as f32 / 127.5 - 1.0).collect();
            images.grids = vec![Grid { t: 1, h: self.side, w: self.side }];
        }
        for i in 0..self.text {
            let id = ((i * 7919 + 13) % self.ids as usize) as u32;
            ids.push(id);
            labels.push(i64::from(id));
        }
        let inputs = ModelInputs { input_ids: ids, images, ..ModelInputs::default() };
        let source = Source { file: Arc::new(PathBuf::from("bench")), record: 1, line: 1 };
        Batch { samples: vec![Sample { inputs, labels, source }] }
    }

    /// For engines in other languages.
    pub fn to_json(self) -> Value {
        json!({
            "side": self.side, "merge": self.merge, "patch_dim": self.patch_dim, "text": self.text, "marks": self.marks,
            "ids": self.ids, "rank": self.rank, "lr": LEARNING_RATE, "clip": CLIP,
        })
    }
}
