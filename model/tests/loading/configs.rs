//! Configurations are read as HF reads them.

use crate::files;

use burn::config::Config;
use burn::tensor::DType;
use files::fixture;
use qwen3_vl_burn::config::{Fp8Config, HiddenAct, MoeConfig, Qwen3VlConfig, ReleasedSize, TextConfig, VisionConfig};
use serde_json::{Value, json};
use std::fs;

fn read(name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(fixture(name).join("config.json")).unwrap()).unwrap()
}

fn parse(json: &Value) -> Qwen3VlConfig {
    Qwen3VlConfig::from_json(&json.to_string()).unwrap()
}

#[test]
fn reads_a_dense_model() {
    let config = Qwen3VlConfig::from_dir(fixture("tiny-dense")).unwrap();
    let text = TextConfig::new(320, 64, 160, 4, 4, 2, 32, [6, 5, 5], true)
        .with_rms_norm_eps(1e-6)
        .with_rope_theta(5e6)
        .with_max_position_embeddings(262144)
        .with_eos_token_ids(vec![3]);
    let vision = VisionConfig::new(6, 48, 96, 4, 64, vec![1, 3, 4]).with_num_position_embeddings(64);
    assert_eq!(config, Qwen3VlConfig::new(text, vision, 6, 7, 4, 5));
    assert_eq!(config.text.hidden_act, HiddenAct::Silu);
    assert_eq!(config.vision.hidden_act, HiddenAct::GeluTanh);
    assert_eq!(config.vision.head_dim(), 12);
    assert_eq!(config.vision.patch_dim(), 1536);
    assert_eq!(config.vision.position_grid_side(), 8);
    assert_eq!(config.text.rotary_dim(), 32);
    assert!((0..4).all(|layer| !config.text.is_moe_layer(layer)));
}

#[test]
fn reads_models_with_experts() {
    let config = Qwen3VlConfig::from_dir(fixture("tiny-moe")).unwrap();
    assert_eq!(config.text.moe, Some(MoeConfig::new(8, 3, 48)));
    assert!(!config.text.tie_word_embeddings);
    assert!((0..4).all(|layer| config.text.is_moe_layer(layer)));

    let mixed = Qwen3VlConfig::from_dir(fixture("tiny-mixed")).unwrap();
    // Step 2 takes layers 1 and 3; 3 is in mlp_only_layers.
    let sparse: Vec<bool> = (0..4).map(|layer| mixed.text.is_moe_layer(layer)).collect();
    assert_eq!(sparse, [false, true, false, false]);
    assert_eq!(mixed.text.num_moe_layers(), 1);
    assert_eq!(mixed.text.rope_theta, 1e6);
    assert_eq!(mixed.vision.head_dim(), 72);
    assert_eq!(mixed.text.kv_dim(), 24);
}

#[test]
fn counts_layers_with_experts_as_it_tells_them() {
    let mut text = Qwen3VlConfig::from_dir(fixture("tiny-mixed")).unwrap().text;
    text.num_hidden_layers = 13;
    for step in 0..16 {
        let moe = text.moe.as_mut().unwrap();
        moe.decoder_sparse_step = step;
        moe.mlp_only_layers = vec![3, 11, 3, 12, 40];
        let told = (0..13).filter(|&layer| text.is_moe_layer(layer)).count();
        assert_eq!(text.num_moe_layers(), told, "step {step}");
    }
}

#[test]
fn reads_both_spellings_of_rope() {
    let expected = parse(&read("tiny-dense"));
    let mut json = read("tiny-dense");
    let text = json["text_config"].as_object_mut().unwrap();
    text.remove("rope_scaling");
    text.remove("rope_theta");
    text.insert(
        "rope_parameters".into(),
        json!({ "mrope_section": [6, 5, 5], "rope_type": "default", "rope_theta": 5e6, "mrope_interleaved": true }),
    );
    assert_eq!(parse(&json), expected);

    // The object's own rope_theta comes before the one beside it; a null rope_scaling is no rope_scaling.
    json["text_config"]["rope_theta"] = json!(10000);
    json["text_config"]["rope_scaling"] = Value::Null;
    assert_eq!(parse(&json), expected);

    let mut json = read("tiny-dense");
    json["text_config"]["rope_scaling"]["rope_type"] = json!("mrope");
    assert_eq!(parse(&json), expected);
}

#[test]
fn reads_tied_embeddings_at_both_levels() {
    for (top, inner, tied) in [
        (Some(true), Some(false), true),
        (Some(false), Some(true), false),
        (Some(true), None, true),
        (None, Some(true), true),
        (None, Some(false), false),
        (None, None, false),
    ] {
        let mut json = read("tiny-dense");
        json.as_object_mut().unwrap().remove("tie_word_embeddings");
        if let Some(top) = top {
            json["tie_word_embeddings"] = json!(top);
        }
        if let Some(inner) = inner {
            json["text_config"]["tie_word_embeddings"] = json!(inner);
        }
        assert_eq!(parse(&json).text.tie_word_embeddings, tied, "{top:?} {inner:?}");
    }
}

#[test]
fn reads_other_spellings_and_ignores_unknown_fields() {
    let mut json = read("tiny-moe");
    json["a_field_of_tomorrow"] = json!({ "with": ["anything"] });
    json["text_config"]["another"] = json!("value");
    json["quantization_config"] = Value::Null;
    let text = json["text_config"].as_object_mut().unwrap();
    text.remove("num_experts");
    text.insert("num_local_experts".into(), json!(8));
    text["mlp_only_layers"] = Value::Null;
    text["num_key_value_heads"] = Value::Null;
    text["eos_token_id"] = json!([3, 2]);
    text["bos_token_id"] = json!(1);
    let config = parse(&json);
    assert_eq!(config.text.moe, Some(MoeConfig::new(8, 3, 48)));
    assert_eq!(config.text.num_key_value_heads, 8);
    assert_eq!(config.text.eos_token_ids, [3, 2]);
    assert_eq!(config.text.bos_token_id, Some(1));
}

#[test]
fn survives_saving_and_loading() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("saved.json");
    for name in ["tiny-dense", "tiny-moe", "tiny-mixed"] {
        let config = Qwen3VlConfig::from_dir(fixture(name)).unwrap();
        config.save(&path).unwrap();
        let loaded = Qwen3VlConfig::load(&path).unwrap();
        loaded.validate().unwrap();
        assert_eq!(loaded, config);
    }
}

/// Sums the shapes in the headers of HF's checkpoints.
fn count_listed(name: &str) -> u64 {
    let json: Value = serde_json::from_str(&fs::read_to_string(fixture(name).join("tensors.json")).unwrap()).unwrap();
    let shapes = json.as_object().unwrap().values();
    shapes.map(|shape| shape.as_array().unwrap().iter().map(|size| size.as_u64().unwrap()).product::<u64>()).sum()
}

#[test]
fn counts_parameters_as_checkpoints_have_them() {
    for name in ["tiny-moe", "tiny-mixed"] {
        let config = Qwen3VlConfig::from_dir(fixture(name)).unwrap();
        assert_eq!(config.num_parameters().unwrap(), count_listed(name), "{name}");
    }
    // The file: 8 bytes of length, 15888 of header, the rest f32.
    let dense = Qwen3VlConfig::from_dir(fixture("tiny-dense")).unwrap();
    assert_eq!(dense.weight_bytes(DType::F32).unwrap(), 2_543_832 - 8 - 15_888);
    assert_eq!(dense.weight_bytes(DType::BF16).unwrap(), (2_543_832 - 8 - 15_888) / 2);
}

#[test]
fn counts_the_released_sizes() {
    // Published rounded: 2.1 and 31.07 billion. The other digits guard the formula.
    let vision_2b = VisionConfig::new(24, 1024, 4096, 16, 2048, vec![5, 11, 17]);
    let text_2b = TextConfig::new(151936, 2048, 6144, 28, 16, 8, 128, [24, 20, 20], true);
    let config = Qwen3VlConfig::new(text_2b, vision_2b, 151655, 151656, 151652, 151653);
    config.validate().unwrap();
    assert_eq!(config.num_parameters().unwrap(), 2_127_532_032);

    let vision_30b = VisionConfig::new(27, 1152, 4304, 16, 2048, vec![8, 16, 24]);
    let text_30b = TextConfig::new(151936, 2048, 6144, 48, 32, 4, 128, [24, 20, 20], false)
        .with_moe(Some(MoeConfig::new(128, 8, 768)));
    let config = Qwen3VlConfig::new(text_30b, vision_30b, 151655, 151656, 151652, 151653);
    config.validate().unwrap();
    assert_eq!(config.num_parameters().unwrap(), 31_070_754_032);
}

#[test]
fn sizes_the_key_value_cache() {
    let config = Qwen3VlConfig::from_dir(fixture("tiny-dense")).unwrap();
    // 2 (k and v) · 4 layers · 2 heads · 32 · batch 3 · 10 tokens · 2 bytes.
    assert_eq!(config.kv_cache_bytes(3, 10, DType::BF16).unwrap(), 2 * 4 * 2 * 32 * 3 * 10 * 2);
    let error = config.kv_cache_bytes(usize::MAX, 2, DType::F32).unwrap_err();
    assert!(error.to_string().contains("key-value cache"), "{error}");
}

/// The whole of a released `config.json` (30B-A3B, of the Instruct and the Thinking model alike: they differ in chat
/// template and generation settings), with every field that HF 4.57 wrote.
#[test]
fn reads_a_released_configuration() {
    let json = json!({
        "architectures": ["Qwen3VLMoeForConditionalGeneration"],
        "image_token_id": 151655,
        "model_type": "qwen3_vl_moe",
        "text_config": {
            "attention_bias": false, "attention_dropout": 0.0, "bos_token_id": 151643, "decoder_sparse_step": 1,
            "dtype": "bfloat16", "eos_token_id": 151645, "head_dim": 128, "hidden_act": "silu", "hidden_size": 2048,
            "initializer_range": 0.02, "intermediate_size": 6144, "max_position_embeddings": 262144, "mlp_only_layers": [],
            "model_type": "qwen3_vl_moe_text", "moe_intermediate_size": 768, "norm_topk_prob": true,
            "num_attention_heads": 32, "num_experts": 128, "num_experts_per_tok": 8, "num_hidden_layers": 48,
            "num_key_value_heads": 4, "rms_norm_eps": 1e-06,
            "rope_scaling": { "mrope_interleaved": true, "mrope_section": [24, 20, 20], "rope_type": "default" },
            "rope_theta": 5000000, "use_cache": true, "vocab_size": 151936,
        },
        "tie_word_embeddings": false,
        "transformers_version": "4.57.0.dev0",
        "video_token_id": 151656,
        "vision_config": {
            "deepstack_visual_indexes": [8, 16, 24], "depth": 27, "hidden_act": "gelu_pytorch_tanh", "hidden_size": 1152,
            "in_channels": 3, "initializer_range": 0.02, "intermediate_size": 4304, "model_type": "qwen3_vl_moe",
            "num_heads": 16, "num_position_embeddings": 2304, "out_hidden_size": 2048, "patch_size": 16,
            "spatial_merge_size": 2, "temporal_patch_size": 2,
        },
        "vision_end_token_id": 151653,
        "vision_start_token_id": 151652,
    });
    let mut config = parse(&json);
    assert_eq!(config.text.bos_token_id.take(), Some(151_643));
    assert_eq!(config, Qwen3VlConfig::released(ReleasedSize::B30A3));

    // The `-FP8` checkpoint of it.
    let mut json = json;
    json["quantization_config"] = json!({
        "activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8", "weight_block_size": [128, 128],
        "modules_to_not_convert": ["lm_head", "model.visual.blocks.0.attn.qkv"],
    });
    let quantized = parse(&json);
    assert_eq!(quantized.quantization, Some(Fp8Config { block: Some([128, 128]) }));
    assert_eq!(quantized.num_parameters().unwrap(), config.num_parameters().unwrap());
    assert_eq!(Qwen3VlConfig::from_json(&quantized.to_hf_json()).unwrap(), quantized);
}
