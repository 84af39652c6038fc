//! From HF's `config.json` to [`Qwen3VlConfig`]: names, spellings and absences. Ranges are checked by `validate`.
//!
//! What is absent is what HF's classes fill in (`defaults.rs`). Null is absence where HF's class allows it.

use super::fp8::parse_quantization;
use super::parse_rope::{Beside, RopeNames, check_vision_rope, parse_rope};
use super::section::Section;
use super::{ConfigError, HiddenAct, MoeConfig, Qwen3VlConfig, TextConfig, VisionConfig, defaults};
use crate::json::parse_json;
use serde_json::{Map, Value};

/// Reads the configuration in `json`, and where it has what is said of RoPE.
pub(super) fn parse(json: &str) -> Result<(Qwen3VlConfig, RopeNames), ConfigError> {
    let map: Map<String, Value> = parse_json(json).map_err(|error| ConfigError::Json { reason: error.to_string() })?;
    let top = Section::top(&map);
    let model_type = top.require("model_type", top.text("model_type")?)?;
    let has_experts = match model_type {
        "qwen3_vl" => false,
        "qwen3_vl_moe" => true,
        other => return Err(ConfigError::ModelType { found: super::error::shorten(other.to_owned()) }),
    };
    let (text, vision) = (top.section_or_empty("text_config")?, top.section_or_empty("vision_config")?);
    let quantization = match parse_quantization(&top)? {
        Some(quantization) => Some(quantization),
        None => parse_quantization(&text)?,
    };

    let token = |key, default| top.fill(key, top.token(key)?, default);
    let (decoder, names) = parse_text(&top, &text, has_experts)?;
    let config = Qwen3VlConfig {
        text: decoder,
        vision: parse_vision(&vision)?,
        image_token_id: token("image_token_id", defaults::IMAGE_TOKEN)?,
        video_token_id: token("video_token_id", defaults::VIDEO_TOKEN)?,
        vision_start_token_id: token("vision_start_token_id", defaults::VISION_START_TOKEN)?,
        vision_end_token_id: token("vision_end_token_id", defaults::VISION_END_TOKEN)?,
        quantization,
    };
    Ok((config, names))
}

fn parse_text(top: &Section, text: &Section, has_experts: bool) -> Result<(TextConfig, RopeNames), ConfigError> {
    let defaults = if has_experts { &defaults::SPARSE } else { &defaults::DENSE };
    let count = |key, default| text.fill(key, text.count(key)?, default);
    let hidden_size = count("hidden_size", defaults.hidden_size)?;
    let num_attention_heads = count("num_attention_heads", defaults.num_attention_heads)?;
    // Null means ungrouped attention, and absence does not.
    let ungrouped = text.is_null("num_key_value_heads");
    let kv_heads = if ungrouped { num_attention_heads } else { defaults.num_key_value_heads };
    let head_dim = defaults.head_dim.unwrap_or(hidden_size.checked_div(num_attention_heads).unwrap_or(0));
    let head_dim = match defaults.head_dim {
        Some(_) => count("head_dim", head_dim)?,
        None => text.or_default("head_dim", text.count("head_dim")?, head_dim),
    };
    let max_position_embeddings = count("max_position_embeddings", defaults.max_position_embeddings)?;
    let rope = parse_rope(text, &Beside { head_dim, max_position_embeddings })?;
    // HF gives the top-level value to the code that ties weights and never looks at the inner one.
    let tied = match top.flag("tie_word_embeddings")? {
        Some(tied) => Some(tied),
        None => text.flag("tie_word_embeddings")?,
    };
    let mut eos_token_ids = text.tokens("eos_token_id")?;
    if eos_token_ids.is_empty() {
        eos_token_ids = top.tokens("eos_token_id")?;
    }
    let config = TextConfig {
        vocab_size: count("vocab_size", defaults.vocab_size)?,
        hidden_size,
        intermediate_size: count("intermediate_size", defaults.intermediate_size)?,
        num_hidden_layers: count("num_hidden_layers", defaults.num_hidden_layers)?,
        num_attention_heads,
        num_key_value_heads: text.or_default("num_key_value_heads", text.count("num_key_value_heads")?, kv_heads),
        head_dim,
        mrope_section: rope.section,
        tie_word_embeddings: top.or_default("tie_word_embeddings", tied, false),
        rms_norm_eps: text.fill("rms_norm_eps", text.real("rms_norm_eps")?, defaults::RMS_NORM_EPS)?,
        rope_theta: rope.theta,
        rope_scaling: rope.scaling,
        max_position_embeddings,
        attention_bias: text.or_default("attention_bias", text.flag("attention_bias")?, false),
        hidden_act: parse_activation(text, defaults::TEXT_ACT)?,
        eos_token_ids,
        bos_token_id: text.token("bos_token_id")?,
        pad_token_id: text.token("pad_token_id")?,
        moe: if has_experts { Some(parse_moe(text)?) } else { None },
    };
    Ok((config, rope.names))
}

fn parse_moe(text: &Section) -> Result<MoeConfig, ConfigError> {
    let count = |key, default| text.fill(key, text.count(key)?, default);
    // HF 5 saves the number of experts under the second name.
    let num_experts = match text.count("num_experts")? {
        Some(experts) => Some(experts),
        None => text.count("num_local_experts")?,
    };
    if text.flag("norm_topk_prob")? == Some(false) {
        let path = text.path("norm_topk_prob");
        tracing::warn!("{path} is false: experts are weighted by shares of 1 all the same, as HF's Qwen3-VL-MoE does");
    }
    Ok(MoeConfig {
        num_experts: text.fill("num_experts", num_experts, defaults::EXPERTS)?,
        num_experts_per_tok: count("num_experts_per_tok", defaults::EXPERTS_PER_TOKEN)?,
        moe_intermediate_size: count("moe_intermediate_size", defaults::EXPERT_WIDTH)?,
        decoder_sparse_step: text.or_default(
            "decoder_sparse_step",
            text.count("decoder_sparse_step")?,
            defaults::SPARSE_STEP,
        ),
        mlp_only_layers: text.counts("mlp_only_layers")?.unwrap_or_default(),
    })
}

fn parse_vision(vision: &Section) -> Result<VisionConfig, ConfigError> {
    let defaults = &defaults::VISION;
    let count = |key, default| vision.fill(key, vision.count(key)?, default);
    check_vision_rope(vision)?;
    let taps = vision.counts("deepstack_visual_indexes")?;
    Ok(VisionConfig {
        depth: count("depth", defaults.depth)?,
        hidden_size: count("hidden_size", defaults.hidden_size)?,
        intermediate_size: count("intermediate_size", defaults.intermediate_size)?,
        num_heads: count("num_heads", defaults.num_heads)?,
        out_hidden_size: count("out_hidden_size", defaults.out_hidden_size)?,
        deepstack_visual_indexes: vision.fill(
            "deepstack_visual_indexes",
            taps,
            defaults.deepstack_visual_indexes.to_vec(),
        )?,
        in_channels: count("in_channels", defaults.in_channels)?,
        patch_size: count("patch_size", defaults.patch_size)?,
        temporal_patch_size: count("temporal_patch_size", defaults.temporal_patch_size)?,
        spatial_merge_size: count("spatial_merge_size", defaults.spatial_merge_size)?,
        num_position_embeddings: count("num_position_embeddings", defaults.num_position_embeddings)?,
        hidden_act: parse_activation(vision, defaults.hidden_act)?,
    })
}

fn parse_activation(section: &Section, default: &str) -> Result<HiddenAct, ConfigError> {
    let name = section.text("hidden_act")?.map(str::to_owned);
    let name = section.fill("hidden_act", name, default.to_owned())?;
    HiddenAct::from_name(&name)
        .ok_or_else(|| ConfigError::unsupported(section.path("hidden_act"), name, HiddenAct::NAMES))
}
