//! Attention between the patches of one frame.

use crate::config::VisionConfig;
use crate::layers::{LayerNorm, Linear, LinearConfig};
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use burn_kiln_fusion::{AttentionOptions, FusedOps, KernelConfig, Rotary, RotaryInputs};

/// Multi-head self-attention with queries, keys and values from one linear layer, and rotary positions.
#[derive(Module, Debug)]
pub struct VisionAttention<B: Backend> {
    /// `hidden` to `3 · hidden`: all queries, all keys, all values.
    pub qkv: Linear<B>,
    /// `hidden` to `hidden`.
    pub proj: Linear<B>,
    /// Number of heads.
    pub num_heads: usize,
}

impl<B: Backend> VisionAttention<B> {
    pub(super) fn new(config: &VisionConfig, device: &B::Device) -> Self {
        let hidden = config.hidden_size;
        Self {
            qkv: LinearConfig::new(hidden, 3 * hidden).with_bias(true).init(device),
            proj: LinearConfig::new(hidden, hidden).with_bias(true).init(device),
            num_heads: config.num_heads,
        }
    }
}

impl<B: FusedOps> VisionAttention<B> {
    /// `x + proj(attention(norm(x)))`; `options` hold the ends of the frames.
    ///
    /// # Shapes
    /// `x` and output `[batch, patches, hidden]`.
    pub fn forward(
        &self,
        x: Tensor<B, 3>,
        norm: &LayerNorm<B>,
        rotary: &Rotary<B>,
        options: &AttentionOptions<B>,
        config: &KernelConfig,
    ) -> Tensor<B, 3> {
        let [_, patches, hidden] = x.dims();
        let qkv = match self.qkv.plain() {
            Some(qkv) => B::norm_linear(x.clone(), &norm.norm(), &qkv.weight, qkv.bias, config),
            None => self.qkv.forward(norm.forward(x.clone(), config), config),
        };
        // [batch, patches, 3 · hidden] -> three views [batch, patches, hidden]
        let rows = |i: usize| qkv.clone().narrow(2, i * hidden, hidden);
        let inputs = RotaryInputs {
            q: rows(0),
            k: rows(1),
            v: rows(2),
            head_dim: hidden / self.num_heads,
            norms: None,
            rotary,
            lengths: &[patches],
        };
        drop(qkv);
        let mixed = B::attention_rotary(inputs, options, Vec::new(), config);
        self.proj.forward_residual(mixed, x, config)
    }
}
