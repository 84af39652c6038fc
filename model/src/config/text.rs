//! The text decoder's part of the configuration.

use super::{HiddenAct, RopeScaling};
use burn::config::Config;

/// Longest sequence, tokens: past it a value is damage.
pub(super) const MAX_POSITIONS: usize = 1 << 30;

/// The text decoder: token embedding, decoder layers with grouped-query attention, RMS norms, vocabulary head.
///
/// Lengths are in elements. [`Qwen3VlConfig::validate`](super::Qwen3VlConfig::validate) says what each must be.
#[derive(Config, Debug, PartialEq)]
pub struct TextConfig {
    /// Tokens that have an embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of a dense layer's MLP.
    pub intermediate_size: usize,
    /// Decoder layers.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads; divides `num_attention_heads`.
    pub num_key_value_heads: usize,
    /// Width of one head. Not always `hidden_size / num_attention_heads`.
    pub head_dim: usize,
    /// How many of the `head_dim / 2` rotary frequencies turn with time, height and width.
    pub mrope_section: [usize; 3],
    /// Whether the vocabulary head is the token embedding.
    pub tie_word_embeddings: bool,
    /// Added to the mean square in RMS norms.
    #[config(default = 1e-6)]
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies.
    #[config(default = 5e6)]
    pub rope_theta: f64,
    /// How they are changed for longer contexts.
    #[config(default = "RopeScaling::Unscaled")]
    pub rope_scaling: RopeScaling,
    /// Longest sequence that the model was made for, tokens.
    #[config(default = 262144)]
    pub max_position_embeddings: usize,
    /// Whether q, k, v and o have biases.
    #[config(default = false)]
    pub attention_bias: bool,
    /// Activation of the gate in the MLPs.
    #[config(default = "HiddenAct::Silu")]
    pub hidden_act: HiddenAct,
    /// Tokens that end an answer; `generation_config.json` decides where there is one.
    #[config(default = "Vec::new()")]
    pub eos_token_ids: Vec<u32>,
    /// Token that begins a text; released checkpoints don't insert it.
    pub bos_token_id: Option<u32>,
    /// Token that fills a batch.
    pub pad_token_id: Option<u32>,
    /// The experts of the layers that have them; `None` in a dense model.
    pub moe: Option<MoeConfig>,
}

/// The mixtures of experts of a decoder. The probabilities of the chosen experts are divided by their sum, always: HF's
/// class doesn't read `norm_topk_prob`.
#[derive(Config, Debug, PartialEq)]
pub struct MoeConfig {
    /// Experts in a layer.
    pub num_experts: usize,
    /// Experts that a token goes to.
    pub num_experts_per_tok: usize,
    /// Width of one expert's MLP, elements.
    pub moe_intermediate_size: usize,
    /// Layer `i` can have experts where this divides `i + 1`.
    #[config(default = 1)]
    pub decoder_sparse_step: usize,
    /// Layers that are dense all the same.
    #[config(default = "Vec::new()")]
    pub mlp_only_layers: Vec<usize>,
}

impl TextConfig {
    /// Whether decoder layer `layer` has experts in place of one MLP: it isn't in `mlp_only_layers`, and
    /// `decoder_sparse_step` divides `layer + 1`.
    pub fn is_moe_layer(&self, layer: usize) -> bool {
        self.moe.as_ref().is_some_and(|moe| {
            !moe.mlp_only_layers.contains(&layer) && (layer + 1).checked_rem(moe.decoder_sparse_step) == Some(0)
        })
    }

    /// Decoder layers for which [`TextConfig::is_moe_layer`] holds.
    pub fn num_moe_layers(&self) -> usize {
        let Some(moe) = &self.moe else { return 0 };
        let sparse = self.num_hidden_layers.checked_div(moe.decoder_sparse_step).unwrap_or(0);
        let mut dense: Vec<_> = moe.mlp_only_layers.iter().filter(|&&layer| layer < self.num_hidden_layers).collect();
        dense.retain(|&&layer| (layer + 1).is_multiple_of(moe.decoder_sparse_step));
        dense.sort_unstable();
        dense.dedup();
        sparse - dense.len()
    }

    /// Most tokens of a sequence: `max_position_embeddings`, or what scaled frequencies are made for where that is
    /// more; dynamic ones are made for any length. HF has no limit; configurations differ in whether
    /// `max_position_embeddings` is the longer context (YaRN as Qwen's README gives it) or the trained one.
    pub fn context_length(&self) -> usize {
        let positions = self.max_position_embeddings;
        let scaled = match &self.rope_scaling {
            RopeScaling::Unscaled => return positions,
            RopeScaling::Dynamic { .. } => MAX_POSITIONS,
            RopeScaling::Linear { factor } => (positions as f64 * factor) as usize,
            RopeScaling::Yarn(yarn) => (yarn.original_max_position_embeddings as f64 * yarn.factor) as usize,
        };
        scaled.clamp(positions, MAX_POSITIONS.max(positions))
    }

    /// Elements of a head that are rotated: all of them.
    pub fn rotary_dim(&self) -> usize {
        self.head_dim
    }

    /// Width of all query heads together, elements.
    pub fn q_dim(&self) -> usize {
        self.num_attention_heads * self.head_dim
    }

    /// Width of all key (or value) heads together, elements.
    pub fn kv_dim(&self) -> usize {
        self.num_key_value_heads * self.head_dim
    }
}
