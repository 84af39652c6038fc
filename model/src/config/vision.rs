//! The vision tower's part of the configuration.

use super::HiddenAct;
use burn::config::Config;

/// The vision tower: patch embedding, learned and rotary positions, transformer blocks, the merger into the text
/// decoder and the DeepStack mergers.
///
/// Lengths are in elements unless they say otherwise.
#[derive(Config, Debug, PartialEq)]
pub struct VisionConfig {
    /// Transformer blocks.
    pub depth: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of a block's MLP.
    pub intermediate_size: usize,
    /// Attention heads; divides `hidden_size`.
    pub num_heads: usize,
    /// Width of what the mergers give: the text decoder's `hidden_size`.
    pub out_hidden_size: usize,
    /// Blocks after which a DeepStack feature is taken, ascending. Feature `i` is added after decoder layer `i`.
    pub deepstack_visual_indexes: Vec<usize>,
    /// Colour channels.
    #[config(default = 3)]
    pub in_channels: usize,
    /// Side of a patch, pixels.
    #[config(default = 16)]
    pub patch_size: usize,
    /// Frames in a patch.
    #[config(default = 2)]
    pub temporal_patch_size: usize,
    /// Side of the square of patches that becomes one token, patches.
    #[config(default = 2)]
    pub spatial_merge_size: usize,
    /// Learned positions: a square grid, bilinearly interpolated to each picture's.
    #[config(default = 2304)]
    pub num_position_embeddings: usize,
    /// Activation of the blocks' MLPs. (The mergers always use erf GELU.)
    #[config(default = "HiddenAct::GeluTanh")]
    pub hidden_act: HiddenAct,
}

impl VisionConfig {
    /// Width of one head, elements.
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_heads
    }

    /// Elements of one patch row: `in_channels · temporal_patch_size · patch_size²`.
    pub fn patch_dim(&self) -> usize {
        self.in_channels * self.temporal_patch_size * self.patch_size * self.patch_size
    }

    /// Width of the patches of one token side by side: `hidden_size · spatial_merge_size²`.
    pub fn merged_size(&self) -> usize {
        self.hidden_size * self.spatial_merge_size * self.spatial_merge_size
    }

    /// Side of the grid of learned positions: `√num_position_embeddings`.
    pub fn position_grid_side(&self) -> usize {
        self.num_position_embeddings.isqrt()
    }

    /// The DeepStack feature that is taken after block `block`, if one is.
    pub fn tap_after(&self, block: usize) -> Option<usize> {
        self.deepstack_visual_indexes.iter().position(|&tapped| tapped == block)
    }
}
