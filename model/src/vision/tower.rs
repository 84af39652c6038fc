//! The whole tower.

use super::position::interpolate_positions;
use super::rotary::make_rotary;
use super::{PatchEmbed, PatchMerger, VisionBlock};
use crate::Result;
use crate::config::VisionConfig;
use crate::layers::{Embedding, EmbeddingConfig};
use crate::processor::Grid;
use crate::streaming::{PartKind, StreamedWeights, Use};
use burn::module::Module;
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor};
use burn_kiln_fusion::{AttentionOptions, FusedOps, KernelConfig, Rotary};
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
    /// The blocks and mergers that are not in the module.
    #[module(skip)]
    pub(crate) stream: Option<Arc<StreamedWeights>>,
    /// What keys and values may be rounded to: the type of the text model's cache.
    #[module(skip)]
    pub(crate) kv_dtype: DType,
}

/// What the tower gives for a batch of pictures.
#[derive(Debug, Clone)]
pub struct VisionOutput<B: Backend> {
    /// A row for each image token, `[tokens, text hidden]`.
    pub features: Tensor<B, 2>,
    /// DeepStack features of each tapped block, shaped like `features`: feature `i` is added after decoder layer `i`.
    pub deepstack: Vec<Tensor<B, 2>>,
}

/// What all blocks of a pass over the tower share.
#[derive(Debug, Clone)]
pub struct VisionContext<B: FusedOps> {
    /// Angles of the patches.
    pub rotary: Rotary<B>,
    /// Where the frames end.
    pub attention: AttentionOptions<B>,
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
            stream: None,
            kv_dtype: DType::F32,
        }
    }
}

impl<B: Backend> VisionModel<B> {
    /// Number of blocks, in memory or not.
    fn depth(&self) -> usize {
        if self.stream.is_some() { self.config.depth } else { self.blocks.len() }
    }

    /// Block `index`, read where it is not in memory.
    fn block(&self, index: usize, device: &B::Device) -> Result<Use<'_, VisionBlock<B>>> {
        let Some(stream) = &self.stream else { return Ok(Use::Pinned(&self.blocks[index])) };
        stream.part(PartKind::Block(index), &self.blocks, device)
    }

    /// DeepStack merger `index`, read where it is not in memory.
    fn tap(&self, index: usize, device: &B::Device) -> Result<Use<'_, PatchMerger<B>>> {
        let mergers = &self.deepstack_merger_list;
        let Some(stream) = &self.stream else { return Ok(Use::Pinned(&mergers[index])) };
        stream.part(PartKind::Tap(index), mergers, device)
    }

    /// The merger, read where it is not in memory.
    fn last_merger(&self, device: &B::Device) -> Result<Use<'_, PatchMerger<B>>> {
        let Some(stream) = &self.stream else { return Ok(Use::Pinned(&self.merger)) };
        stream.part(PartKind::Merger, std::slice::from_ref(&self.merger), device)
    }

    /// Leaves the merger no weights.
    pub(crate) fn hollow_merger(&mut self, device: &B::Device) {
        let hollow = VisionConfig { hidden_size: 0, out_hidden_size: 0, ..(*self.config).clone() };
        self.merger = PatchMerger::new(&hollow, false, device);
    }
}

impl<B: FusedOps> VisionModel<B> {
    /// Encodes pictures or the frames of videos; attention stays within a frame.
    ///
    /// # Shapes
    /// `patches` `[patches, patch_dim]`, rows of all `grids` one after the other, in merge-block order.
    ///
    /// # Errors
    /// [`Error::Streaming`](crate::Error::Streaming) where a block is not in memory and cannot be read.
    ///
    /// # Panics
    /// When the rows don't fit the grids; [`ModelInputs::validate`](crate::ModelInputs::validate) checks them.
    pub fn forward(&self, patches: Tensor<B, 2>, grids: &[Grid], config: &KernelConfig) -> Result<VisionOutput<B>> {
        let device = patches.device();
        let VisionContext { rotary, attention } = self.context(grids, &device);
        let mut x = self.embed(patches, grids, config);
        let mut deepstack = Vec::with_capacity(self.config.deepstack_visual_indexes.len());
        for index in 0..self.depth() {
            x = self.block(index, &device)?.forward(x, &rotary, &attention, config);
            if let Some(tap) = self.config.tap_after(index) {
                deepstack.push(self.tap(tap, &device)?.forward(x.clone(), config));
            }
        }
        let features = self.last_merger(&device)?.forward(x, config);
        Ok(VisionOutput { features, deepstack })
    }

    /// The rows that the first block gets: patches embedded, positions added.
    ///
    /// # Shapes
    /// `patches` as [`VisionModel::forward`] takes them, output `[1, patches, hidden]`.
    pub fn embed(&self, patches: Tensor<B, 2>, grids: &[Grid], config: &KernelConfig) -> Tensor<B, 3> {
        let (side, merge) = (self.config.position_grid_side(), self.config.spatial_merge_size);
        let positions = interpolate_positions(&self.pos_embed, grids, side, merge, &patches.device(), config);
        self.patch_embed.forward(patches.unsqueeze(), positions, config)
    }

    /// What every block needs to know of the pictures.
    pub fn context(&self, grids: &[Grid], device: &B::Device) -> VisionContext<B> {
        let rotary = make_rotary(grids, self.config.head_dim(), self.config.spatial_merge_size, device);
        let (segments, kv_dtype) = (Some(list_frame_ends(grids)), Some(self.kv_dtype));
        VisionContext { rotary, attention: AttentionOptions { segments, kv_dtype, ..Default::default() } }
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
