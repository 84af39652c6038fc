//! What each field of a configuration must be. Everything is checked here, before a tensor is allocated.

use super::text::MAX_POSITIONS;
use super::{
    ConfigError, HiddenAct, MoeConfig, Qwen3VlConfig, RopeScaling, TextConfig, VisionConfig, YarnConfig, defaults,
};
use crate::Result;
use burn::tensor::DType;

// Bounds far above any released size (hidden 5120, 94 layers, 151936 tokens, 128 experts): past them a value is damage,
// not a model, and it should be named rather than end in an allocation failure.

/// Largest width of anything, elements.
const MAX_WIDTH: usize = 1 << 20;
/// Most layers of a tower.
const MAX_LAYERS: usize = 1 << 12;
/// Largest vocabulary.
const MAX_VOCAB: usize = 1 << 24;
/// Most experts in a layer.
const MAX_EXPERTS: usize = 1 << 14;
/// Largest patch side, frames a patch, merge side, or number of channels.
const MAX_PATCH: usize = 1 << 8;

impl Qwen3VlConfig {
    /// Checks every field and how they fit together.
    ///
    /// # Errors
    /// The first [`ConfigError`] found: [`Invalid`](ConfigError::Invalid) with field, value and requirement,
    /// [`Unsupported`](ConfigError::Unsupported), or [`Overflow`](ConfigError::Overflow) if the weights could not be
    /// addressed in f32.
    pub fn validate(&self) -> Result<()> {
        validate_text(&self.text)?;
        validate_vision(&self.vision, &self.text)?;
        self.validate_tokens()?;
        if let Some([rows, columns]) = self.quantization.as_ref().and_then(|fp8| fp8.block) {
            require_sizes(&[
                ("quantization_config.weight_block_size", rows, MAX_WIDTH),
                ("quantization_config.weight_block_size", columns, MAX_WIDTH),
            ])?;
        }
        let bytes = self.weight_bytes(DType::F32)?;
        if isize::try_from(bytes).is_err() {
            return Err(ConfigError::Overflow { what: "size of the weights" }.into());
        }
        Ok(())
    }

    fn validate_tokens(&self) -> Result<(), ConfigError> {
        let vision_tokens = [
            ("image_token_id", self.image_token_id),
            ("video_token_id", self.video_token_id),
            ("vision_start_token_id", self.vision_start_token_id),
            ("vision_end_token_id", self.vision_end_token_id),
        ];
        let others = [
            ("text_config.bos_token_id", self.text.bos_token_id),
            ("text_config.pad_token_id", self.text.pad_token_id),
        ];
        let eos = self.text.eos_token_ids.iter().map(|&id| ("text_config.eos_token_id", id));
        let others = others.into_iter().filter_map(|(field, id)| Some((field, id?)));
        let vocab = self.text.vocab_size;
        // What HF fills in may be outside of a smaller vocabulary: no token is a placeholder then.
        let filled =
            [defaults::IMAGE_TOKEN, defaults::VIDEO_TOKEN, defaults::VISION_START_TOKEN, defaults::VISION_END_TOKEN];
        let inside = vision_tokens.into_iter().zip(filled).filter(|((_, id), filled)| id != filled);
        for (field, id) in inside.map(|(token, _)| token).chain(eos).chain(others) {
            require(field, id, (id as usize) < vocab, || format!("less than text_config.vocab_size ({vocab})"))?;
        }
        for (i, &(field, id)) in vision_tokens.iter().enumerate() {
            if let Some((other, _)) = vision_tokens[..i].iter().find(|&&(_, earlier)| earlier == id) {
                return Err(ConfigError::invalid(field, id, format!("different from {other}")));
            }
        }
        Ok(())
    }
}

/// An error that names `field` unless `holds`.
fn require(
    field: &str,
    value: impl ToString,
    holds: bool,
    required: impl FnOnce() -> String,
) -> Result<(), ConfigError> {
    if holds { Ok(()) } else { Err(ConfigError::invalid(field, value, required())) }
}

/// A number as short as it can be read.
fn show(number: f64) -> String {
    let long = number != 0.0 && !(1e-6..1e16).contains(&number.abs());
    if long { format!("{number:e}") } else { number.to_string() }
}

/// Each size must be in `1 ..= max`.
fn require_sizes(sizes: &[(&str, usize, usize)]) -> Result<(), ConfigError> {
    for &(field, size, max) in sizes {
        require(field, size, (1..=max).contains(&size), || format!("between 1 and {max}"))?;
    }
    Ok(())
}

fn validate_text(text: &TextConfig) -> Result<(), ConfigError> {
    require_sizes(&[
        ("text_config.vocab_size", text.vocab_size, MAX_VOCAB),
        ("text_config.hidden_size", text.hidden_size, MAX_WIDTH),
        ("text_config.intermediate_size", text.intermediate_size, MAX_WIDTH),
        ("text_config.num_hidden_layers", text.num_hidden_layers, MAX_LAYERS),
        ("text_config.num_attention_heads", text.num_attention_heads, MAX_WIDTH),
        ("text_config.num_key_value_heads", text.num_key_value_heads, MAX_WIDTH),
        ("text_config.head_dim", text.head_dim, MAX_WIDTH),
        ("text_config.max_position_embeddings", text.max_position_embeddings, MAX_POSITIONS),
    ])?;
    let heads = text.num_attention_heads;
    require(
        "text_config.num_key_value_heads",
        text.num_key_value_heads,
        heads.is_multiple_of(text.num_key_value_heads),
        || format!("a divisor of num_attention_heads ({heads})"),
    )?;
    // Rotate-half pairs element i with element i + head_dim / 2.
    require("text_config.head_dim", text.head_dim, text.head_dim.is_multiple_of(2), || "even".into())?;
    validate_mrope(text)?;
    let eps = text.rms_norm_eps;
    require("text_config.rms_norm_eps", show(eps), eps.is_finite() && eps > 0.0, || "positive and finite".into())?;
    let theta = text.rope_theta;
    // Below 1, frequencies would grow with their number, beyond what f32 holds.
    let fits = theta >= 1.0 && (theta as f32).is_finite();
    require("text_config.rope_theta", show(theta), fits, || "at least 1 and finite, as an f32 too".into())?;
    validate_scaling(text)?;
    if text.hidden_act != HiddenAct::Silu {
        // The gated MLP is a fused op with SiLU inside.
        return Err(ConfigError::unsupported("text_config.hidden_act", format!("{:?}", text.hidden_act), "silu"));
    }
    text.moe.as_ref().map_or(Ok(()), |moe| validate_moe(moe, text.num_hidden_layers))
}

/// Height takes frequencies `1, 4, .., 3·h - 2` and width `2, 5, .., 3·w - 1` of `head_dim / 2`; time has the rest.
fn validate_mrope(text: &TextConfig) -> Result<(), ConfigError> {
    const FIELD: &str = "text_config.rope_scaling.mrope_section";
    let (half, section) = (text.head_dim / 2, text.mrope_section);
    let shown = || format!("{section:?}");
    let sum = section.iter().try_fold(0usize, |sum, &part| sum.checked_add(part));
    require(FIELD, shown(), sum == Some(half), || format!("three numbers whose sum is head_dim / 2 ({half})"))?;
    // The sum bounds each part by head_dim / 2, so these products are small.
    let last = (3 * section[1]).saturating_sub(2).max((3 * section[2]).saturating_sub(1));
    require(FIELD, shown(), last < half, || {
        format!("such that interleaving stays below head_dim / 2 ({half}): it reaches frequency {last}")
    })
}

fn validate_scaling(text: &TextConfig) -> Result<(), ConfigError> {
    let positive = |key: &str, value: f64| {
        let field = format!("text_config.rope_scaling.{key}");
        // Rotations are computed in f32.
        require(&field, show(value), (value as f32).is_normal() && value > 0.0, || {
            "positive and finite, as an f32 too".into()
        })
    };
    match &text.rope_scaling {
        RopeScaling::Unscaled => Ok(()),
        RopeScaling::Linear { factor } => positive("factor", *factor),
        RopeScaling::Dynamic { factor } => {
            // The base grows by a power of head_dim / (head_dim - 2).
            let dim = text.head_dim;
            require("text_config.head_dim", dim, dim > 2, || "more than 2 for RoPE of type dynamic".into())?;
            positive("factor", *factor)
        }
        RopeScaling::Yarn(yarn) => {
            let YarnConfig { factor, attention_factor, beta_fast, beta_slow, mscale, mscale_all_dim, .. } = yarn;
            let original = ("text_config.rope_scaling.original_max_position_embeddings", MAX_POSITIONS);
            require_sizes(&[(original.0, yarn.original_max_position_embeddings, original.1)])?;
            for (key, value) in [("factor", factor), ("beta_fast", beta_fast), ("beta_slow", beta_slow)] {
                positive(key, *value)?;
            }
            for (key, value) in [("mscale", mscale), ("mscale_all_dim", mscale_all_dim)] {
                let finite = value.is_none_or(f64::is_finite);
                require(&format!("text_config.rope_scaling.{key}"), value.unwrap_or(0.0), finite, || "finite".into())?;
            }
            let scale = attention_factor.unwrap_or_else(|| yarn.attention_scale());
            positive("attention_factor", scale)?;
            // Queries and keys are both multiplied with it.
            let squared = (scale * scale) as f32;
            require("text_config.rope_scaling.attention_factor", show(scale), squared.is_normal(), || {
                "a number whose square an f32 can hold".into()
            })?;
            // Logarithms to this base.
            let theta = text.rope_theta;
            require("text_config.rope_theta", theta, theta > 1.0, || "more than 1 for RoPE of type yarn".into())
        }
    }
}

fn validate_moe(moe: &MoeConfig, layers: usize) -> Result<(), ConfigError> {
    require_sizes(&[
        ("text_config.num_experts", moe.num_experts, MAX_EXPERTS),
        ("text_config.num_experts_per_tok", moe.num_experts_per_tok, MAX_EXPERTS),
        ("text_config.moe_intermediate_size", moe.moe_intermediate_size, MAX_WIDTH),
        ("text_config.decoder_sparse_step", moe.decoder_sparse_step, MAX_LAYERS),
    ])?;
    let (chosen, experts) = (moe.num_experts_per_tok, moe.num_experts);
    require("text_config.num_experts_per_tok", chosen, chosen <= experts, || {
        format!("at most num_experts ({experts})")
    })?;
    for &layer in &moe.mlp_only_layers {
        require("text_config.mlp_only_layers", layer, layer < layers, || {
            format!("layers below num_hidden_layers ({layers})")
        })?;
    }
    Ok(())
}

fn validate_vision(vision: &VisionConfig, text: &TextConfig) -> Result<(), ConfigError> {
    require_sizes(&[
        ("vision_config.depth", vision.depth, MAX_LAYERS),
        ("vision_config.hidden_size", vision.hidden_size, MAX_WIDTH),
        ("vision_config.intermediate_size", vision.intermediate_size, MAX_WIDTH),
        ("vision_config.num_heads", vision.num_heads, MAX_WIDTH),
        ("vision_config.out_hidden_size", vision.out_hidden_size, MAX_WIDTH),
        ("vision_config.in_channels", vision.in_channels, MAX_PATCH),
        ("vision_config.patch_size", vision.patch_size, MAX_PATCH),
        ("vision_config.temporal_patch_size", vision.temporal_patch_size, MAX_PATCH),
        ("vision_config.spatial_merge_size", vision.spatial_merge_size, MAX_PATCH),
        ("vision_config.num_position_embeddings", vision.num_position_embeddings, MAX_VOCAB),
    ])?;
    let (hidden, heads) = (vision.hidden_size, vision.num_heads);
    require("vision_config.num_heads", heads, hidden.is_multiple_of(heads), || {
        format!("a divisor of hidden_size ({hidden})")
    })?;
    // Half of the rotary pairs turn with the row, half with the column.
    require("vision_config.num_heads", heads, vision.head_dim().is_multiple_of(4), || {
        format!("such that hidden_size / num_heads (here {}) is a multiple of 4", vision.head_dim())
    })?;
    let out = vision.out_hidden_size;
    require("vision_config.out_hidden_size", out, out == text.hidden_size, || {
        format!("text_config.hidden_size ({})", text.hidden_size)
    })?;
    let positions = vision.num_position_embeddings;
    require("vision_config.num_position_embeddings", positions, positions.isqrt().pow(2) == positions, || {
        "a square number".into()
    })?;
    validate_deepstack(vision, text.num_hidden_layers)
}

fn validate_deepstack(vision: &VisionConfig, text_layers: usize) -> Result<(), ConfigError> {
    const FIELD: &str = "vision_config.deepstack_visual_indexes";
    let (taps, depth) = (&vision.deepstack_visual_indexes, vision.depth);
    for &tap in taps {
        require(FIELD, tap, tap < depth, || format!("blocks below vision_config.depth ({depth})"))?;
    }
    require(FIELD, format!("{taps:?}"), taps.is_sorted_by(|a, b| a < b), || "in ascending order".into())?;
    require(FIELD, format!("{taps:?}"), taps.len() <= text_layers, || {
        format!("no longer than text_config.num_hidden_layers ({text_layers})")
    })
}
