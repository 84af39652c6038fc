//! From the patches of one token to a row of the text decoder's width.

use crate::config::VisionConfig;
use crate::layers::{LayerNorm, LayerNormConfig, Linear, LinearConfig, run_plain_mlp};
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use burn_kiln_fusion::{Activation, FusedOps, KernelConfig};

/// A layer norm and a two-layer MLP with erf GELU on the patches of one token side by side.
///
/// The final merger normalises each patch, the DeepStack mergers the patches of a token together: the width of
/// the norm tells which it is.
#[derive(Module, Debug)]
pub struct PatchMerger<B: Backend> {
    /// Over one patch, or over all patches of a token.
    pub norm: LayerNorm<B>,
    /// `merged` to `merged`, the width of a token's patches side by side.
    pub linear_fc1: Linear<B>,
    /// `merged` to the text decoder's hidden size.
    pub linear_fc2: Linear<B>,
    /// Width of a token's patches side by side, elements.
    pub merged: usize,
    /// Whether the norm comes after the patches of a token are joined.
    pub norm_after_merge: bool,
}

impl<B: Backend> PatchMerger<B> {
    pub(crate) fn new(config: &VisionConfig, norm_after_merge: bool, device: &B::Device) -> Self {
        let merged = config.merged_size();
        let normed = if norm_after_merge { merged } else { config.hidden_size };
        Self {
            norm: LayerNormConfig::new(normed).init(device),
            linear_fc1: LinearConfig::new(merged, merged).with_bias(true).init(device),
            linear_fc2: LinearConfig::new(merged, config.out_hidden_size).with_bias(true).init(device),
            merged,
            norm_after_merge,
        }
    }
}

impl<B: FusedOps> PatchMerger<B> {
    /// Merges the patches of each token.
    ///
    /// # Shapes
    /// `x` `[1, patches, hidden]`, output `[tokens, out_hidden]`, `tokens = patches / merge²`.
    pub fn forward(&self, x: Tensor<B, 3>, config: &KernelConfig) -> Tensor<B, 2> {
        let [batch, patches, hidden] = x.dims();
        // [1, patches, hidden] -> [tokens, merged]: rows are in merge-block order.
        let shape = [batch * patches * hidden / self.merged, self.merged];
        let joined = if self.norm_after_merge {
            self.norm.forward(x.reshape(shape), config)
        } else {
            self.norm.forward(x, config).reshape(shape)
        };
        run_plain_mlp(joined, [&self.linear_fc1, &self.linear_fc2], Activation::GeluErf, None, config)
    }
}
