//! From HF's `config.json` to [`Qwen3VlConfig`]: names, spellings and absences. Ranges are checked by `validate`.

use super::fp8::parse_quantization;
use super::section::Section;
use super::{ConfigError, HiddenAct, MoeConfig, Qwen3VlConfig, TextConfig, VisionConfig};
use serde_json::{Map, Value};

/// Reads the configuration in `json`.
pub(super) fn parse(json: &str) -> Result<Qwen3VlConfig, ConfigError> {
    let map: Map<String, Value> =
        serde_json::from_str(json).map_err(|error| ConfigError::Json { reason: error.to_string() })?;
    let top = Section::top(&map);
    let model_type = top.require("model_type", top.text("model_type")?)?;
    let has_experts = match model_type {
        "qwen3_vl" => false,
        "qwen3_vl_moe" => true,
        other => return Err(ConfigError::ModelType { found: super::error::shorten(other.to_owned()) }),
    };
    let text = top.require("text_config", top.section("text_config")?)?;
    let vision = top.require("vision_config", top.section("vision_config")?)?;
    let quantization = match parse_quantization(&top)? {
        Some(quantization) => Some(quantization),
        None => parse_quantization(&text)?,
    };

    let token = |key| top.require(key, top.token(key)?);
    Ok(Qwen3VlConfig {
        text: parse_text(&top, &text, has_experts)?,
        vision: parse_vision(&vision)?,
        image_token_id: token("image_token_id")?,
        video_token_id: token("video_token_id")?,
        vision_start_token_id: token("vision_start_token_id")?,
        vision_end_token_id: token("vision_end_token_id")?,
        quantization,
    })
}

fn parse_text(top: &Section, text: &Section, has_experts: bool) -> Result<TextConfig, ConfigError> {
    let count = |key| text.require(key, text.count(key)?);
    let num_attention_heads = count("num_attention_heads")?;
    let rope = parse_rope(text)?;
    // HF gives the top-level value to the code that ties weights and never looks at the inner one.
    let tied = match top.flag("tie_word_embeddings")? {
        Some(tied) => Some(tied),
        None => text.flag("tie_word_embeddings")?,
    };
    let mut eos_token_ids = text.tokens("eos_token_id")?;
    if eos_token_ids.is_empty() {
        eos_token_ids = top.tokens("eos_token_id")?;
    }
    Ok(TextConfig {
        vocab_size: count("vocab_size")?,
        hidden_size: count("hidden_size")?,
        intermediate_size: count("intermediate_size")?,
        num_hidden_layers: count("num_hidden_layers")?,
        num_attention_heads,
        // Null means ungrouped attention in HF.
        num_key_value_heads: text.count("num_key_value_heads")?.unwrap_or(num_attention_heads),
        head_dim: count("head_dim")?,
        mrope_section: rope.section,
        tie_word_embeddings: tied.unwrap_or(false),
        rms_norm_eps: text.require("rms_norm_eps", text.real("rms_norm_eps")?)?,
        rope_theta: rope.theta,
        max_position_embeddings: count("max_position_embeddings")?,
        attention_bias: text.flag("attention_bias")?.unwrap_or(false),
        hidden_act: parse_activation(text)?,
        eos_token_ids,
        bos_token_id: text.token("bos_token_id")?,
        pad_token_id: text.token("pad_token_id")?,
        moe: if has_experts { Some(parse_moe(text)?) } else { None },
    })
}

fn parse_moe(text: &Section) -> Result<MoeConfig, ConfigError> {
    let count = |key| text.require(key, text.count(key)?);
    // Newer HF versions save the number of experts under the second name.
    let num_experts = match text.count("num_experts")? {
        Some(experts) => experts,
        None if text.has("num_local_experts") => count("num_local_experts")?,
        None => count("num_experts")?,
    };
    Ok(MoeConfig {
        num_experts,
        num_experts_per_tok: count("num_experts_per_tok")?,
        moe_intermediate_size: count("moe_intermediate_size")?,
        // Absent in configurations saved by HF 5, whose router always normalises.
        norm_topk_prob: text.flag("norm_topk_prob")?.unwrap_or(true),
        decoder_sparse_step: text.count("decoder_sparse_step")?.unwrap_or(1),
        mlp_only_layers: text.counts("mlp_only_layers")?.unwrap_or_default(),
    })
}

fn parse_vision(vision: &Section) -> Result<VisionConfig, ConfigError> {
    let count = |key| vision.require(key, vision.count(key)?);
    Ok(VisionConfig {
        depth: count("depth")?,
        hidden_size: count("hidden_size")?,
        intermediate_size: count("intermediate_size")?,
        num_heads: count("num_heads")?,
        out_hidden_size: count("out_hidden_size")?,
        deepstack_visual_indexes: vision
            .require("deepstack_visual_indexes", vision.counts("deepstack_visual_indexes")?)?,
        in_channels: count("in_channels")?,
        patch_size: count("patch_size")?,
        temporal_patch_size: count("temporal_patch_size")?,
        spatial_merge_size: count("spatial_merge_size")?,
        num_position_embeddings: count("num_position_embeddings")?,
        hidden_act: parse_activation(vision)?,
    })
}

fn parse_activation(section: &Section) -> Result<HiddenAct, ConfigError> {
    let name = section.require("hidden_act", section.text("hidden_act")?)?;
    HiddenAct::from_name(name)
        .ok_or_else(|| ConfigError::unsupported(section.path("hidden_act"), name, HiddenAct::NAMES))
}

/// What is read of a RoPE section.
struct Rope {
    theta: f64,
    section: [usize; 3],
}

/// Reads `rope_scaling`, or `rope_parameters` where that is absent, in HF's order: the object's own `rope_theta` before
/// the one beside it.
fn parse_rope(text: &Section) -> Result<Rope, ConfigError> {
    let rope = match text.section("rope_scaling")? {
        Some(rope) => rope,
        None => text.require("rope_parameters", text.section("rope_parameters")?)?,
    };
    for key in ["rope_type", "type"] {
        // "mrope" is how Qwen2-VL spelled the same thing.
        match rope.text(key)? {
            None | Some("default" | "mrope") => {}
            Some(other) => return Err(ConfigError::unsupported(rope.path(key), other, "default, mrope")),
        }
    }
    if rope.flag("mrope_interleaved")? == Some(false) {
        return Err(ConfigError::unsupported(rope.path("mrope_interleaved"), false, "true"));
    }
    for section in [&rope, text] {
        if let Some(factor) = section.real("partial_rotary_factor")?.filter(|&factor| factor != 1.0) {
            return Err(ConfigError::unsupported(section.path("partial_rotary_factor"), factor, "1.0"));
        }
    }
    let theta = match rope.real("rope_theta")? {
        Some(theta) => theta,
        None => text.require("rope_theta", text.real("rope_theta")?)?,
    };
    let section = rope.require("mrope_section", rope.counts("mrope_section")?)?;
    let section = <[usize; 3]>::try_from(section).map_err(|section| {
        ConfigError::invalid(
            rope.path("mrope_section"),
            format!("{section:?}"),
            "three whole numbers: time, height, width",
        )
    })?;
    Ok(Rope { theta, section })
}
