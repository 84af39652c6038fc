//! Sizes that follow from a configuration: parameters, bytes of weights, bytes of the key-value cache.
//!
//! All arithmetic is checked: a hostile configuration gives [`ConfigError::Overflow`], not a wrapped number.

use super::{ConfigError, Qwen3VlConfig, TextConfig, VisionConfig};
use crate::Result;
use burn::tensor::DType;

/// A sum of products of sizes; `None` once it has overflowed.
struct Tally(Option<u64>);

impl Tally {
    fn new() -> Self {
        Self(Some(0))
    }

    /// Adds a tensor of shape `shape`.
    fn add(&mut self, shape: &[usize]) {
        self.add_times(1, shape);
    }

    /// Adds `times` tensors of shape `shape`.
    fn add_times(&mut self, times: usize, shape: &[usize]) {
        self.0 = self.0.zip(product(times, shape)).and_then(|(sum, term)| sum.checked_add(term));
    }

    fn finish(self, what: &'static str) -> Result<u64, ConfigError> {
        self.0.ok_or(ConfigError::Overflow { what })
    }
}

fn product(times: usize, sizes: &[usize]) -> Option<u64> {
    sizes.iter().try_fold(times as u64, |product, &size| product.checked_mul(size as u64))
}

impl Qwen3VlConfig {
    /// Parameters of the whole model, a tied head counted once.
    ///
    /// # Errors
    /// [`ConfigError::Overflow`] past 2⁶⁴.
    pub fn num_parameters(&self) -> Result<u64> {
        let parts = [self.text.num_parameters()?, self.vision.num_parameters()?];
        let sum = parts[0].checked_add(parts[1]);
        Ok(sum.ok_or(ConfigError::Overflow { what: "number of parameters" })?)
    }

    /// Bytes of all weights in `dtype`.
    ///
    /// # Errors
    /// [`ConfigError::Overflow`] past 2⁶⁴.
    pub fn weight_bytes(&self, dtype: DType) -> Result<u64> {
        let bytes = self.num_parameters()?.checked_mul(dtype.size() as u64);
        Ok(bytes.ok_or(ConfigError::Overflow { what: "size of the weights" })?)
    }

    /// Bytes of the keys and values of `batch` sequences of `length` tokens:
    /// `2 · layers · kv_heads · head_dim · batch · length · size(dtype)`.
    ///
    /// # Errors
    /// [`ConfigError::Overflow`] past 2⁶⁴.
    pub fn kv_cache_bytes(&self, batch: usize, length: usize, dtype: DType) -> Result<u64> {
        let text = &self.text;
        let sizes = [text.num_hidden_layers, text.num_key_value_heads, text.head_dim, batch, length, dtype.size()];
        Ok(product(2, &sizes).ok_or(ConfigError::Overflow { what: "size of the key-value cache" })?)
    }
}

impl TextConfig {
    /// Parameters of the decoder with its embedding and, where it isn't tied, its head.
    ///
    /// # Errors
    /// [`ConfigError::Overflow`] past 2⁶⁴.
    pub fn num_parameters(&self) -> Result<u64> {
        let (hidden, heads, kv_heads, head_dim) =
            (self.hidden_size, self.num_attention_heads, self.num_key_value_heads, self.head_dim);
        let layers = self.num_hidden_layers;
        let mut tally = Tally::new();
        tally.add_times(if self.tie_word_embeddings { 1 } else { 2 }, &[self.vocab_size, hidden]);
        tally.add(&[hidden]); // final norm
        tally.add_times(2, &[layers, hidden]); // two norms a layer
        tally.add_times(2, &[layers, head_dim]); // q_norm and k_norm
        tally.add_times(2, &[layers, heads, head_dim, hidden]); // q and o
        tally.add_times(2, &[layers, kv_heads, head_dim, hidden]); // k and v
        if self.attention_bias {
            tally.add(&[layers, heads, head_dim]);
            tally.add_times(2, &[layers, kv_heads, head_dim]);
            tally.add(&[layers, hidden]);
        }
        let sparse = self.num_moe_layers();
        tally.add_times(3, &[layers - sparse, self.intermediate_size, hidden]); // gate, up, down
        if let Some(moe) = &self.moe {
            tally.add(&[sparse, moe.num_experts, hidden]); // router
            tally.add_times(3, &[sparse, moe.num_experts, moe.moe_intermediate_size, hidden]);
        }
        Ok(tally.finish("number of parameters")?)
    }
}

impl VisionConfig {
    /// Parameters of the vision tower with its mergers.
    ///
    /// # Errors
    /// [`ConfigError::Overflow`] past 2⁶⁴.
    pub fn num_parameters(&self) -> Result<u64> {
        let (hidden, depth, merge) = (self.hidden_size, self.depth, self.spatial_merge_size);
        let taps = self.deepstack_visual_indexes.len();
        let mut tally = Tally::new();
        tally.add(&[hidden, self.in_channels, self.temporal_patch_size, self.patch_size, self.patch_size]);
        tally.add(&[hidden]); // bias of the patch embedding
        tally.add(&[self.num_position_embeddings, hidden]);
        tally.add_times(4, &[depth, hidden]); // two layer norms with biases
        tally.add_times(4, &[depth, hidden, hidden]); // qkv and proj
        tally.add_times(4, &[depth, hidden]); // their biases
        tally.add_times(2, &[depth, hidden, self.intermediate_size]); // fc1 and fc2
        tally.add(&[depth, self.intermediate_size]);
        tally.add(&[depth, hidden]);
        tally.add_times(2, &[hidden]); // the merger's norm: before the shuffle
        tally.add_times(2, &[taps, hidden, merge, merge]); // the DeepStack mergers' norms: after it
        for mergers in [1, taps] {
            tally.add(&[mergers, hidden, merge, merge, hidden, merge, merge]); // fc1
            tally.add(&[mergers, hidden, merge, merge]);
            tally.add(&[mergers, hidden, merge, merge, self.out_hidden_size]); // fc2
            tally.add(&[mergers, self.out_hidden_size]);
        }
        Ok(tally.finish("number of parameters")?)
    }
}
