//! The whole tower.

use super::position::interpolate_positions;
use super::rotary::make_rotary;
use super::{PatchEmbed, PatchMerger, VisionBlock};
use crate::config::VisionConfig;
use crate::layers::{Embedding, EmbeddingConfig};
use crate::processor::Grid;
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use burn_kiln_fusion::{AttentionOptions, FusedOps, KernelConfig};
use std::sync::Arc;

/// The vision tower.
#[derive(Module, Debug)]
pub struct VisionModel<B: Backend> {
    /// Patches to hidden rows.
    pub patch_embed: PatchEmbed<B>,
    /// Learned positions of a square grid, row by row.
    pub pos_embed: Embedding<B>,
    /// Transformer blocks.
    pub blocks: Vec<VisionBlock<B>>,
    /// After the last block.
    pub merger: PatchMerger<B>,
    /// After each tapped block.
    pub deepstack_merger_list: Vec<PatchMerger<B>>,
    /// The sizes it was made with.
    #[module(skip)]
    pub config: Arc<VisionConfig>,
}

/// What the tower gives for a batch of pictures.
#[derive(Debug, Clone)]
pub struct VisionOutput<B: Backend> {
    /// A row for each image token, `[tokens, text hidden]`.
    pub features: Tensor<B, 2>,
    /// DeepStack features of each tapped block, shaped like `features`: feature `i` is added after decoder layer `i`.
    pub deepstack: Vec<Tensor<B, 2>>,
}

impl VisionConfig {
    /// A tower whose parameters are lazy.
    pub fn init<B: Backend>(&self, device: &B::Device) -> VisionModel<B> {
        VisionModel {
            patch_embed: PatchEmbed::new(self, device),
            pos_embed: EmbeddingConfig::new(self.num_position_embeddings, self.hidden_size).init(device),
            blocks: (0..self.depth).map(|_| VisionBlock::new(self, device)).collect(),
            merger: PatchMerger::new(self, false, device),
            deepstack_merger_list: (self.deepstack_visual_indexes.iter())
                .map(|_| PatchMerger::new(self, true, device))
                .collect(),
            config: Arc::new(self.clone()),
        }
    }
}

impl<B: FusedOps> VisionModel<B> {
    /// Encodes pictures or the frames of videos; attention stays within a frame.
    ///
    /// # Shapes
    /// `patches` `[patches, patch_dim]`, rows of all `grids` one after the other, in merge-block order.
    ///
    /// # Panics
    /// When the rows don't fit the grids; [`ModelInputs::validate`](crate::ModelInputs::validate) checks them.
    pub fn forward(&self, patches: Tensor<B, 2>, grids: &[Grid], config: &KernelConfig) -> VisionOutput<B> {
        let VisionConfig { spatial_merge_size: merge, .. } = *self.config;
        let device = patches.device();
        let side = self.config.position_grid_side();
        let positions = interpolate_positions(&self.pos_embed, grids, side, merge, &device, config);
        let rotary = make_rotary(grids, self.config.head_dim(), merge, &device);
        let options = AttentionOptions { segments: Some(list_frame_ends(grids)), ..Default::default() };
        let mut x = self.patch_embed.forward(patches.unsqueeze(), positions, config);
        let mut deepstack = Vec::with_capacity(self.deepstack_merger_list.len());
        for (index, block) in self.blocks.iter().enumerate() {
            x = block.forward(x, &rotary, &options, config);
            if let Some(tap) = self.config.deepstack_visual_indexes.iter().position(|&tapped| tapped == index) {
                deepstack.push(self.deepstack_merger_list[tap].forward(x.clone(), config));
            }
        }
        VisionOutput { features: self.merger.forward(x, config), deepstack }
    }
}

/// Where each frame ends, in patches.
fn list_frame_ends(grids: &[Grid]) -> Arc<[usize]> {
    let frames = grids.iter().flat_map(|grid| std::iter::repeat_n(grid.h * grid.w, grid.t));
    frames
        .scan(0, |end, patches| {
            *end += patches;
            Some(*end)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_frame_is_a_segment() {
        let ends = list_frame_ends(&[Grid { t: 1, h: 2, w: 4 }, Grid { t: 2, h: 2, w: 2 }]);
        assert_eq!(*ends, [8, 12, 16]);
    }
}
