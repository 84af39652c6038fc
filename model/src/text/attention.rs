//! Grouped-query attention of a decoder layer.

use super::LayerContext;
use crate::config::TextConfig;
use crate::layers::{Linear, LinearConfig, RmsNorm, RmsNormConfig};
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use burn_kiln_fusion::{FusedOps, HeadNorms, KvCache, RotaryInputs};

/// Causal grouped-query attention with RMS norms on the heads of queries and keys, and rotary positions.
#[derive(Module, Debug)]
pub struct TextAttention<B: Backend> {
    /// `hidden` to `heads · head_dim`.
    pub q_proj: Linear<B>,
    /// `hidden` to `kv_heads · head_dim`.
    pub k_proj: Linear<B>,
    /// `hidden` to `kv_heads · head_dim`.
    pub v_proj: Linear<B>,
    /// `heads · head_dim` to `hidden`.
    pub o_proj: Linear<B>,
    /// Over each query head.
    pub q_norm: RmsNorm<B>,
    /// Over each key head.
    pub k_norm: RmsNorm<B>,
    /// Width of a head, elements.
    pub head_dim: usize,
}

impl<B: Backend> TextAttention<B> {
    pub(super) fn new(config: &TextConfig, device: &B::Device) -> Self {
        let linear =
            |d_input, d_output| LinearConfig::new(d_input, d_output).with_bias(config.attention_bias).init(device);
        let norm = RmsNormConfig::new(config.head_dim).with_epsilon(config.rms_norm_eps);
        Self {
            q_proj: linear(config.hidden_size, config.q_dim()),
            k_proj: linear(config.hidden_size, config.kv_dim()),
            v_proj: linear(config.hidden_size, config.kv_dim()),
            o_proj: linear(config.q_dim(), config.hidden_size),
            q_norm: norm.init(device),
            k_norm: norm.init(device),
            head_dim: config.head_dim,
        }
    }
}

impl<B: FusedOps> TextAttention<B> {
    /// Attention of the rows that `norm` makes of `x`, output projection included; rows see those of their own
    /// sequence. With caches, one for each sequence, their tokens come before those of `x`.
    ///
    /// # Shapes
    /// `x` and output `[1, length, hidden]`.
    pub fn forward(
        &self,
        x: Tensor<B, 3>,
        norm: &RmsNorm<B>,
        context: &LayerContext<'_, B>,
        caches: Vec<&mut KvCache<B>>,
    ) -> Tensor<B, 3> {
        let config = context.kernels;
        let layers = [&self.q_proj, &self.k_proj, &self.v_proj];
        let [q, k, v] = match layers.map(Linear::plain) {
            [Some(q), Some(k), Some(v)] => B::norm_linears(x, &norm.norm(), [q, k, v], config),
            _ => {
                let normed = norm.forward(x, config);
                layers.map(|layer| layer.forward(normed.clone(), config))
            }
        };
        let inputs = RotaryInputs {
            q,
            k,
            v,
            head_dim: self.head_dim,
            norms: Some(HeadNorms {
                q_gamma: self.q_norm.weight.val(),
                k_gamma: self.k_norm.weight.val(),
                epsilon: self.q_norm.epsilon,
            }),
            rotary: context.rotary,
            lengths: context.lengths,
        };
        self.o_proj.forward(B::attention_rotary(inputs, context.attention, caches, config), config)
    }
}
