//! Grouped-query attention of a decoder layer.

use super::LayerContext;
use crate::config::TextConfig;
use crate::layers::{Linear, LinearConfig, RmsNorm, RmsNormConfig};
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use burn_kiln_fusion::{AttentionInputs, FusedOps, KvCache, LinearWeights};
use std::iter;

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
    /// Attention of the rows that `norm` makes of `x`, output projection included; rows see those of their own sequence. With caches, one for each
    /// sequence, their tokens come before those of `x`.
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
        let [batch, length, _] = x.dims();
        // [batch, length, heads · head_dim] -> [batch, heads, length, head_dim]
        let split = |rows: Tensor<B, 3>| {
            let heads = rows.dims()[2] / self.head_dim;
            rows.reshape([batch, length, heads, self.head_dim]).swap_dims(1, 2)
        };
        let layers = [&self.q_proj, &self.k_proj, &self.v_proj]
            .map(|layer| LinearWeights { weight: layer.weight(), bias: layer.bias() });
        let [q, k, v] = B::norm_linears(x, &norm.norm(), layers, config).map(split);
        let gammas = (self.q_norm.weight.val(), self.k_norm.weight.val());
        let (q, k) = B::qk_norm_rope((q, k), gammas, self.q_norm.epsilon, context.rotary, config);
        let heads = q.dims()[1];
        let mixed = attend(AttentionInputs { q, k, v }, context, caches);
        // [batch, heads, length, head_dim] -> [batch, length, heads · head_dim]
        let mixed = mixed.swap_dims(1, 2).reshape([batch, length, heads * self.head_dim]);
        self.o_proj.forward(mixed, config)
    }
}

/// Attention of each sequence by itself.
///
/// # Shapes
/// `[1, heads, length, head_dim]`, the sequences behind each other in `length`.
fn attend<B: FusedOps>(
    inputs: AttentionInputs<B>,
    context: &LayerContext<'_, B>,
    caches: Vec<&mut KvCache<B>>,
) -> Tensor<B, 4> {
    let attention = |inputs, cache| <B as FusedOps>::attention(inputs, context.attention, cache, context.kernels);
    let mut caches = caches.into_iter().map(Some).chain(iter::repeat_with(|| None));
    if let [_] = context.lengths {
        return attention(inputs, caches.next().flatten());
    }
    let mut start = 0;
    let mixed = context.lengths.iter().zip(caches).map(|(&length, cache)| {
        let take = |rows: &Tensor<B, 4>| rows.clone().narrow(2, start, length);
        let sequence = AttentionInputs { q: take(&inputs.q), k: take(&inputs.k), v: take(&inputs.v) };
        start += length;
        attention(sequence, cache)
    });
    Tensor::cat(mixed.collect(), 2)
}
