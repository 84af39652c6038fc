//! Patches to hidden rows.

use crate::config::VisionConfig;
use crate::layers::{Linear, LinearConfig};
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use burn_kiln_fusion::{FusedOps, KernelConfig};

/// The patch embedding: a 3-D convolution whose stride is its kernel, i.e. a linear layer on flattened patches.
#[derive(Module, Debug)]
pub struct PatchEmbed<B: Backend> {
    /// The checkpoint's `[hidden, channels, frames, side, side]` weight, held as `[hidden, channels · frames · side²]`.
    pub proj: Linear<B>,
}

impl<B: Backend> PatchEmbed<B> {
    pub(super) fn new(config: &VisionConfig, device: &B::Device) -> Self {
        let proj = LinearConfig::new(config.patch_dim(), config.hidden_size).with_bias(true);
        Self { proj: proj.init(device) }
    }
}

impl<B: FusedOps> PatchEmbed<B> {
    /// Embeds the patches and adds their positions.
    ///
    /// # Shapes
    /// `patches` `[1, patches, patch_dim]`, `positions` and output `[1, patches, hidden]`.
    pub fn forward(&self, patches: Tensor<B, 3>, positions: Tensor<B, 3>, config: &KernelConfig) -> Tensor<B, 3> {
        self.proj.forward_residual(patches, positions, config)
    }
}
