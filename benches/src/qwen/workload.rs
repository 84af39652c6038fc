//! The prompt that every engine gets. Its numbers follow from formulas, so that engines in other languages make the
//! same.

use super::args::Args;
use qwen3_vl_burn::processor::{Grid, ProcessedImages};
use qwen3_vl_burn::{ModelInputs, Qwen3VlConfig};
use serde_json::{Value, json};

/// What is asked of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workload {
    /// Patches along a side of the picture; 0 for none.
    pub side: usize,
    /// Patches along a side that become one token.
    pub merge: usize,
    /// Numbers of a patch.
    pub patch_dim: usize,
    /// Tokens of text.
    pub text: usize,
    /// Tokens to generate.
    pub new: usize,
    /// Begin of a picture, its pad, its end.
    pub marks: [u32; 3],
    /// Ids from here on are special.
    pub ids: u32,
}

impl Workload {
    /// For a checkpoint of this configuration. The picture's side is rounded to whole tokens.
    pub fn new(args: &Args, config: &Qwen3VlConfig) -> Self {
        let vision = &config.vision;
        let unit = vision.patch_size * vision.spatial_merge_size;
        let side = (args.image_px as usize).div_ceil(unit) * vision.spatial_merge_size;
        let marks = [config.vision_start_token_id, config.image_token_id, config.vision_end_token_id];
        Self {
            side,
            merge: vision.spatial_merge_size,
            patch_dim: vision.patch_dim(),
            text: args.text_tokens as usize,
            new: args.new_tokens as usize,
            marks,
            ids: marks.into_iter().min().unwrap_or(1).min(config.video_token_id).clamp(1, 10_000),
        }
    }

    /// Tokens of the picture.
    pub fn image_tokens(&self) -> usize {
        (self.side / self.merge).pow(2)
    }

    /// Tokens of the prompt, those around the picture included.
    pub fn prompt_tokens(&self) -> usize {
        self.text + if self.side > 0 { self.image_tokens() + 2 } else { 0 }
    }

    /// The id of text token `i`.
    fn id(&self, i: usize) -> u32 {
        ((i * 7919 + 13) % self.ids as usize) as u32
    }

    /// The whole prompt.
    pub fn inputs(&self) -> ModelInputs {
        let mut ids = Vec::with_capacity(self.prompt_tokens());
        let mut images = ProcessedImages::default();
        if self.side > 0 {
            let [begin, pad, end] = self.marks;
            ids.push(begin);
            ids.extend(std::iter::repeat_n(pad, self.image_tokens()));
            ids.push(end);
            let numbers = self.side * self.side * self.patch_dim;
            images.pixel_values = (0..numbers).map(|i| (i * 37 % 255) as f32 / 127.5 - 1.0).collect();
            images.grids = vec![Grid { t: 1, h: self.side, w: self.side }];
        }
        ids.extend((0..self.text).map(|i| self.id(i)));
        ModelInputs { input_ids: ids, images, ..ModelInputs::default() }
    }

    /// A prompt of as many tokens, all text.
    pub fn text_inputs(&self) -> ModelInputs {
        ModelInputs::from_text((0..self.prompt_tokens()).map(|i| self.id(i)).collect())
    }

    /// For engines in other languages.
    pub fn to_json(self) -> Value {
        json!({
            "side": self.side, "merge": self.merge, "patch_dim": self.patch_dim, "text": self.text, "new": self.new,
            "marks": self.marks, "ids": self.ids,
        })
    }
}
