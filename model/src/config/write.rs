//! The configuration as HF's `config.json`.

use super::{HiddenAct, Qwen3VlConfig, RopeScaling, TextConfig};
use serde_json::{Value, json};

impl HiddenAct {
    /// HF's name of it.
    fn hf_name(self) -> &'static str {
        match self {
            Self::Silu => "silu",
            Self::GeluTanh => "gelu_pytorch_tanh",
            Self::Gelu => "gelu",
        }
    }
}

impl Qwen3VlConfig {
    /// HF's `config.json` of this model: [`Qwen3VlConfig::from_json`] reads it back.
    pub fn to_hf_json(&self) -> String {
        let (text, vision) = (&self.text, &self.vision);
        let model_type = if text.moe.is_some() { "qwen3_vl_moe" } else { "qwen3_vl" };
        let mut text_config = json!({
            "model_type": format!("{model_type}_text"),
            "vocab_size": text.vocab_size,
            "hidden_size": text.hidden_size,
            "intermediate_size": text.intermediate_size,
            "num_hidden_layers": text.num_hidden_layers,
            "num_attention_heads": text.num_attention_heads,
            "num_key_value_heads": text.num_key_value_heads,
            "head_dim": text.head_dim,
            "rms_norm_eps": text.rms_norm_eps,
            "rope_theta": text.rope_theta,
            "rope_scaling": write_rope(text),
            "max_position_embeddings": text.max_position_embeddings,
            "attention_bias": text.attention_bias,
            "hidden_act": text.hidden_act.hf_name(),
            "eos_token_id": text.eos_token_ids,
            "bos_token_id": text.bos_token_id,
            "pad_token_id": text.pad_token_id,
        });
        if let Some(moe) = &text.moe {
            text_config["num_experts"] = json!(moe.num_experts);
            text_config["num_experts_per_tok"] = json!(moe.num_experts_per_tok);
            text_config["moe_intermediate_size"] = json!(moe.moe_intermediate_size);
            text_config["norm_topk_prob"] = json!(true);
            text_config["decoder_sparse_step"] = json!(moe.decoder_sparse_step);
            text_config["mlp_only_layers"] = json!(moe.mlp_only_layers);
        }
        let mut config = json!({
            "model_type": model_type,
            "image_token_id": self.image_token_id,
            "video_token_id": self.video_token_id,
            "vision_start_token_id": self.vision_start_token_id,
            "vision_end_token_id": self.vision_end_token_id,
            "tie_word_embeddings": text.tie_word_embeddings,
            "text_config": text_config,
            "vision_config": {
                "model_type": model_type,
                "depth": vision.depth,
                "hidden_size": vision.hidden_size,
                "intermediate_size": vision.intermediate_size,
                "num_heads": vision.num_heads,
                "out_hidden_size": vision.out_hidden_size,
                "deepstack_visual_indexes": vision.deepstack_visual_indexes,
                "in_channels": vision.in_channels,
                "patch_size": vision.patch_size,
                "temporal_patch_size": vision.temporal_patch_size,
                "spatial_merge_size": vision.spatial_merge_size,
                "num_position_embeddings": vision.num_position_embeddings,
                "hidden_act": vision.hidden_act.hf_name(),
            },
        });
        if let Some(fp8) = &self.quantization {
            config["quantization_config"] = json!({
                "quant_method": "fp8",
                "fmt": "e4m3",
                "activation_scheme": "dynamic",
                "weight_block_size": fp8.block,
            });
        }
        format!("{config:#}")
    }
}

/// `rope_scaling`.
fn write_rope(text: &TextConfig) -> Value {
    let mut rope = match &text.rope_scaling {
        RopeScaling::Unscaled => json!({ "rope_type": "default" }),
        RopeScaling::Linear { factor } => json!({ "rope_type": "linear", "factor": factor }),
        RopeScaling::Dynamic { factor } => json!({ "rope_type": "dynamic", "factor": factor }),
        RopeScaling::Yarn(yarn) => json!({
            "rope_type": "yarn",
            "factor": yarn.factor,
            "original_max_position_embeddings": yarn.original_max_position_embeddings,
            "attention_factor": yarn.attention_factor,
            "beta_fast": yarn.beta_fast,
            "beta_slow": yarn.beta_slow,
            "mscale": yarn.mscale,
            "mscale_all_dim": yarn.mscale_all_dim,
            "truncate": yarn.truncate,
        }),
    };
    rope["mrope_interleaved"] = json!(true);
    rope["mrope_section"] = json!(text.mrope_section);
    rope
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Fp8Config, MoeConfig, ReleasedSize, YarnConfig};

    #[test]
    fn what_is_written_is_read_back() {
        let mut config = Qwen3VlConfig::released(ReleasedSize::B4);
        assert_eq!(Qwen3VlConfig::from_json(&config.to_hf_json()).unwrap(), config);
        config.text.moe = Some(MoeConfig {
            num_experts: 8,
            num_experts_per_tok: 3,
            moe_intermediate_size: 96,
            decoder_sparse_step: 2,
            mlp_only_layers: vec![1],
        });
        for scaling in [
            RopeScaling::Linear { factor: 2.5 },
            RopeScaling::Dynamic { factor: 4.0 },
            RopeScaling::Yarn(YarnConfig::new(3.0, 262_144).with_mscale(Some(0.7)).with_truncate(false)),
        ] {
            config.text.rope_scaling = scaling;
            assert_eq!(Qwen3VlConfig::from_json(&config.to_hf_json()).unwrap(), config);
        }
        config.quantization = Some(Fp8Config { block: Some([128, 64]) });
        assert_eq!(Qwen3VlConfig::from_json(&config.to_hf_json()).unwrap(), config);
    }
}
