//! Every bad value of a configuration is a typed error that names the field and the value.

use crate::files;

use files::fixture;
use qwen3_vl_burn::Error;
use qwen3_vl_burn::config::{ConfigError, Qwen3VlConfig};
use serde_json::{Value, json};
use std::fs;

fn read(name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(fixture(name).join("config.json")).unwrap()).unwrap()
}

fn parse(json: &Value) -> Result<Qwen3VlConfig, ConfigError> {
    match Qwen3VlConfig::from_json(&json.to_string()) {
        Ok(config) => Ok(config),
        Err(Error::Config(error)) => Err(error),
        Err(other) => panic!("not a config error: {other}"),
    }
}

/// The configuration of `fixture` with the value at `pointer` replaced (or added), and the error that this gives.
fn error_with(fixture: &str, pointer: &str, value: Value) -> ConfigError {
    let mut json = read(fixture);
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    json.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(key.to_owned(), value);
    let error = parse(&json).expect_err(pointer);
    assert!(error.to_string().contains(key), "{pointer}: {error}");
    error
}

/// Asserts [`ConfigError::Invalid`] for the field at `pointer`, with this value in it.
#[track_caller]
fn assert_invalid(fixture: &str, pointer: &str, value: Value, shown: &str, required_part: &str) {
    let error = error_with(fixture, pointer, value);
    let ConfigError::Invalid { field, value, required } = &error else { panic!("{pointer}: {error:?}") };
    assert_eq!(*field, pointer.trim_start_matches('/').replace('/', "."));
    assert_eq!(value, shown, "{pointer}");
    assert!(required.contains(required_part), "{pointer}: {required}");
    let message = error.to_string();
    assert!(message.contains(field.as_str()) && message.contains(value.as_str()), "{message}");
}

#[test]
fn refuses_zero_sizes() {
    for field in [
        "text_config/vocab_size",
        "text_config/hidden_size",
        "text_config/intermediate_size",
        "text_config/num_hidden_layers",
        "text_config/num_attention_heads",
        "text_config/num_key_value_heads",
        "text_config/head_dim",
        "text_config/max_position_embeddings",
        "vision_config/depth",
        "vision_config/hidden_size",
        "vision_config/intermediate_size",
        "vision_config/num_heads",
        "vision_config/out_hidden_size",
        "vision_config/in_channels",
        "vision_config/patch_size",
        "vision_config/temporal_patch_size",
        "vision_config/spatial_merge_size",
        "vision_config/num_position_embeddings",
    ] {
        assert_invalid("tiny-dense", &format!("/{field}"), json!(0), "0", "between 1 and");
    }
    for field in ["num_experts", "num_experts_per_tok", "moe_intermediate_size", "decoder_sparse_step"] {
        assert_invalid("tiny-moe", &format!("/text_config/{field}"), json!(0), "0", "between 1 and");
    }
}

#[test]
fn refuses_absurd_sizes() {
    let huge = u64::MAX;
    for field in
        ["text_config/hidden_size", "text_config/vocab_size", "vision_config/depth", "vision_config/patch_size"]
    {
        assert_invalid("tiny-dense", &format!("/{field}"), json!(huge), &huge.to_string(), "between 1 and");
    }
    assert_invalid("tiny-moe", "/text_config/num_experts", json!(1u64 << 40), "1099511627776", "between 1 and");
}

#[test]
fn refuses_sizes_whose_product_overflows() {
    let mut json = read("tiny-dense");
    let text = json["text_config"].as_object_mut().unwrap();
    for (field, value) in [
        ("num_attention_heads", 1 << 20),
        ("num_key_value_heads", 1 << 20),
        ("head_dim", 1 << 20),
        ("hidden_size", 1 << 20),
        ("num_hidden_layers", 1 << 12),
    ] {
        text.insert(field.into(), json!(value));
    }
    text["rope_scaling"]["mrope_section"] = json!([(1 << 19) - 2, 1, 1]);
    json["vision_config"]["out_hidden_size"] = json!(1 << 20);
    let error = parse(&json).unwrap_err();
    assert!(matches!(error, ConfigError::Overflow { what: "number of parameters" }), "{error:?}");
}

#[test]
fn refuses_values_of_the_wrong_type() {
    assert_invalid("tiny-dense", "/text_config/hidden_size", json!(-64), "-64", "a whole number");
    assert_invalid("tiny-dense", "/text_config/hidden_size", json!("64"), "\"64\"", "a whole number");
    assert_invalid("tiny-dense", "/text_config/hidden_size", json!(64.5), "64.5", "a whole number");
    assert_invalid("tiny-dense", "/text_config/rms_norm_eps", json!("small"), "\"small\"", "a number");
    assert_invalid("tiny-dense", "/text_config/attention_bias", json!(1), "1", "true or false");
    assert_invalid("tiny-dense", "/text_config/hidden_act", json!(7), "7", "a string");
    assert_invalid("tiny-dense", "/text_config", json!([1]), "[1]", "an object");
    assert_invalid("tiny-dense", "/vision_config/deepstack_visual_indexes", json!(3), "3", "a list of whole numbers");
    assert_invalid("tiny-dense", "/image_token_id", json!(-1), "-1", "a token id");
    assert_invalid("tiny-dense", "/tie_word_embeddings", json!("yes"), "\"yes\"", "true or false");
}

/// Without it there is no class whose defaults could be filled in.
#[test]
fn names_a_missing_model_type() {
    let mut json = read("tiny-dense");
    json.as_object_mut().unwrap().remove("model_type").unwrap();
    let error = parse(&json).unwrap_err();
    assert!(matches!(&error, ConfigError::Missing { field } if field == "model_type"), "{error:?}");
    assert!(error.to_string().contains("model_type"), "{error}");
}

#[test]
fn refuses_heads_that_do_not_fit() {
    assert_invalid(
        "tiny-dense",
        "/text_config/num_key_value_heads",
        json!(3),
        "3",
        "divisor of num_attention_heads (4)",
    );
    assert_invalid("tiny-dense", "/text_config/head_dim", json!(33), "33", "even");
    assert_invalid("tiny-dense", "/vision_config/num_heads", json!(5), "5", "divisor of hidden_size (48)");
    // 48 / 8 = 6, which has no halves of pairs.
    assert_invalid("tiny-dense", "/vision_config/num_heads", json!(8), "8", "6) is a multiple of 4");
    assert_invalid("tiny-dense", "/vision_config/out_hidden_size", json!(65), "65", "text_config.hidden_size (64)");
    assert_invalid("tiny-dense", "/vision_config/num_position_embeddings", json!(65), "65", "a square");
}

#[test]
fn refuses_rotary_sections_that_do_not_fit() {
    let pointer = "/text_config/rope_scaling/mrope_section";
    // head_dim 32: the sum must be 16.
    assert_invalid("tiny-dense", pointer, json!([6, 5, 4]), "[6, 5, 4]", "sum is head_dim / 2 (16)");
    assert_invalid("tiny-dense", pointer, json!([16]), "[16]", "three whole numbers");
    // Width would take frequencies 2, 5, .., 17 of 16.
    assert_invalid("tiny-dense", pointer, json!([5, 5, 6]), "[5, 5, 6]", "frequency 17");
    assert_invalid("tiny-dense", pointer, json!([0, 16, 0]), "[0, 16, 0]", "frequency 46");
    let huge = json!([u64::MAX, u64::MAX, 18]);
    let shown = format!("[{0}, {0}, 18]", u64::MAX);
    assert_invalid("tiny-dense", pointer, huge, &shown, "sum is head_dim / 2");
}

#[test]
fn refuses_deepstack_taps_that_do_not_fit() {
    let pointer = "/vision_config/deepstack_visual_indexes";
    assert_invalid("tiny-dense", pointer, json!([1, 3, 6]), "6", "below vision_config.depth (6)");
    assert_invalid("tiny-dense", pointer, json!([3, 1]), "[3, 1]", "ascending");
    assert_invalid("tiny-dense", pointer, json!([1, 1]), "[1, 1]", "ascending");
    assert_invalid("tiny-dense", pointer, json!([0, 1, 2, 3, 4]), "[0, 1, 2, 3, 4]", "num_hidden_layers (4)");
}

/// Fields of RoPE have the path that they have in the file.
#[test]
fn rope_errors_are_spelled_as_the_file_is() {
    let error_of = |rope: Value| {
        let mut json = read("tiny-dense");
        let text = json["text_config"].as_object_mut().unwrap();
        text.remove("rope_scaling");
        text.remove("rope_theta");
        text.insert("rope_parameters".to_owned(), rope);
        match parse(&json).unwrap_err() {
            ConfigError::Invalid { field, .. } => field,
            other => panic!("{other:?}"),
        }
    };
    let yarn = |key: &str, value: Value| {
        let mut rope = json!({ "rope_type": "yarn", "factor": 4.0, "mrope_section": [6, 5, 5] });
        rope[key] = value;
        rope
    };
    for (key, value) in [
        ("factor", json!(-1)),
        ("attention_factor", json!(1e308)),
        ("mrope_section", json!([1, 1, 1])),
        ("rope_theta", json!(0.5)),
        ("rope_theta", json!(1.0)),
    ] {
        assert_eq!(error_of(yarn(key, value)), format!("text_config.rope_parameters.{key}"));
    }
}

#[test]
fn refuses_numbers_that_are_not_positive() {
    assert_invalid("tiny-dense", "/text_config/rms_norm_eps", json!(-1e-6), "-0.000001", "positive and finite");
    assert_invalid("tiny-dense", "/text_config/rms_norm_eps", json!(0), "0", "positive and finite");
    assert_invalid("tiny-dense", "/text_config/rope_theta", json!(-5e6), "-5000000", "at least 1");
    assert_invalid("tiny-dense", "/text_config/rope_theta", json!(1e-300), "1e-300", "at least 1");
    // JSON has no NaN; a configuration built by hand can have one.
    let mut config = parse(&read("tiny-dense")).unwrap();
    config.text.rope_theta = f64::NAN;
    let error = config.validate().unwrap_err();
    assert!(
        matches!(&error, Error::Config(ConfigError::Invalid { field, value, .. })
            if field == "text_config.rope_theta" && value == "NaN"),
        "{error:?}"
    );
}

#[test]
fn refuses_experts_that_do_not_fit() {
    assert_invalid("tiny-moe", "/text_config/num_experts_per_tok", json!(9), "9", "at most num_experts (8)");
    assert_invalid("tiny-moe", "/text_config/mlp_only_layers", json!([1, 4]), "4", "num_hidden_layers (4)");
}

#[test]
fn refuses_tokens_that_do_not_fit() {
    for field in ["image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id"] {
        assert_invalid("tiny-dense", &format!("/{field}"), json!(320), "320", "text_config.vocab_size (320)");
    }
    assert_invalid("tiny-dense", "/text_config/eos_token_id", json!([3, 321]), "321", "vocab_size (320)");
    assert_invalid("tiny-dense", "/text_config/bos_token_id", json!(1000), "1000", "vocab_size (320)");
    assert_invalid("tiny-dense", "/video_token_id", json!(6), "6", "different from image_token_id");
}

#[test]
fn refuses_other_models() {
    for found in ["qwen2_5_vl", "llama"] {
        let error = error_with("tiny-dense", "/model_type", json!(found));
        assert!(matches!(&error, ConfigError::ModelType { found: name } if name == found), "{error:?}");
        assert!(error.to_string().contains(found), "{error}");
    }
}

#[track_caller]
fn assert_unsupported(fixture: &str, pointer: &str, value: Value, shown: &str) {
    let error = error_with(fixture, pointer, value);
    let ConfigError::Unsupported { field, value, .. } = &error else { panic!("{error:?}") };
    assert_eq!(*field, pointer.trim_start_matches('/').replace('/', "."));
    assert_eq!(value, shown);
}

#[test]
fn refuses_what_it_does_not_run() {
    for kind in ["longrope", "llama3", "proportional", "su"] {
        assert_unsupported("tiny-dense", "/text_config/rope_scaling/rope_type", json!(kind), kind);
    }
    let axial = |kind: &str, theta: f64| json!({ "rope_type": kind, "rope_theta": theta });
    let vision = |rope: Value| {
        let mut json = read("tiny-dense");
        json["vision_config"]["rope_parameters"] = rope;
        parse(&json)
    };
    vision(axial("axial", 1e4)).unwrap();
    for (rope, key) in [(axial("yarn", 1e4), "rope_type"), (axial("axial", 1e5), "rope_theta")] {
        let error = vision(rope).unwrap_err();
        let ConfigError::Unsupported { field, .. } = &error else { panic!("{error:?}") };
        assert_eq!(*field, format!("vision_config.rope_parameters.{key}"));
    }
    // Without rope_type, the older spelling counts.
    let mut json = read("tiny-dense");
    json["text_config"]["rope_scaling"] = json!({ "type": "longrope", "mrope_section": [6, 5, 5] });
    let error = parse(&json).unwrap_err();
    assert!(matches!(&error, ConfigError::Unsupported { field, .. } if field.ends_with("scaling.type")), "{error:?}");
    assert_unsupported("tiny-dense", "/text_config/rope_scaling/mrope_interleaved", json!(false), "false");
    assert_unsupported("tiny-dense", "/text_config/partial_rotary_factor", json!(0.5), "0.5");
    assert_unsupported("tiny-dense", "/text_config/hidden_act", json!("relu"), "relu");
    assert_unsupported("tiny-dense", "/vision_config/hidden_act", json!("quick_gelu"), "quick_gelu");
    // Known, but the decoder's gated MLP has SiLU inside.
    assert_unsupported("tiny-dense", "/text_config/hidden_act", json!("gelu"), "Gelu");
}

/// Scaled frequencies that cannot be computed.
#[test]
fn refuses_rope_scaling_that_cannot_be() {
    let scaled = |rope: Value| {
        let mut json = read("tiny-dense");
        json["text_config"]["rope_scaling"] = rope;
        json["text_config"]["rope_scaling"]["mrope_section"] = json!([6, 5, 5]);
        parse(&json)
    };
    for kind in ["linear", "dynamic", "yarn"] {
        let error = scaled(json!({ "rope_type": kind })).unwrap_err();
        assert!(
            matches!(&error, ConfigError::Missing { field } if field.ends_with("rope_scaling.factor")),
            "{error:?}"
        );
    }
    let yarn = |key: &str, value: Value| {
        let mut rope = json!({ "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64 });
        rope[key] = value;
        scaled(rope)
    };
    yarn("factor", json!(2)).unwrap();
    for (key, value) in [
        ("factor", json!(0)),
        ("factor", json!(-2.0)),
        // Nothing, or infinite, as an f32.
        ("factor", json!(1e-50)),
        ("factor", json!(1e300)),
        ("attention_factor", json!(1e300)),
        ("beta_fast", json!(1e-310)),
        ("factor", json!("4")),
        ("original_max_position_embeddings", json!(0)),
        ("original_max_position_embeddings", json!(64.5)),
        ("original_max_position_embeddings", json!(1u64 << 40)),
        ("attention_factor", json!(-1.0)),
        ("attention_factor", json!(0)),
        ("beta_fast", json!(-32)),
        ("beta_slow", json!("1")),
        ("truncate", json!(1)),
        ("mscale", json!([])),
    ] {
        let error = yarn(key, value.clone()).unwrap_err();
        let ConfigError::Invalid { field, .. } = &error else { panic!("{key} {value}: {error:?}") };
        assert_eq!(*field, format!("text_config.rope_scaling.{key}"), "{value}");
    }
    // Its square is what scores are multiplied with.
    assert!(yarn("attention_factor", json!(1e18)).is_ok());
    for value in [json!(1e20), json!(1e308)] {
        assert!(yarn("attention_factor", value).unwrap_err().to_string().contains("attention_factor"));
    }
    // A weight that makes the attention factor nothing.
    assert!(yarn("mscale", json!(1.0)).is_ok());
    let mut json = read("tiny-dense");
    json["text_config"]["rope_scaling"] =
        json!({ "rope_type": "yarn", "factor": 4.0, "mscale": -100.0, "mscale_all_dim": 1.0 });
    let error = parse(&json).unwrap_err();
    assert!(error.to_string().contains("attention_factor"), "{error}");
    json["text_config"]["rope_scaling"] = json!({ "rope_type": "yarn", "factor": 4.0, "rope_theta": 1.0 });
    let error = parse(&json).unwrap_err();
    assert!(error.to_string().contains("rope_theta") && error.to_string().contains("more than 1"), "{error}");
}

#[test]
fn refuses_quantised_checkpoints() {
    for method in ["gptq", "awq", "bitsandbytes", "mxfp4", "fbgemm_fp8", "torchao", "auto-round"] {
        for pointer in ["/quantization_config", "/text_config/quantization_config", "/compression_config"] {
            let error = error_with("tiny-dense", pointer, json!({ "quant_method": method, "bits": 4 }));
            assert!(matches!(&error, ConfigError::Quantized { method: found, .. } if found == method), "{error:?}");
            // It says what to use instead.
            assert!(error.to_string().contains(method) && error.to_string().contains("-FP8"), "{error}");
        }
    }
    let error = error_with("tiny-dense", "/quantization_config", json!({ "bits": 4 }));
    assert!(matches!(&error, ConfigError::Quantized { method, .. } if method == "unknown"), "{error:?}");
}

#[test]
fn refuses_fp8_that_it_does_not_read() {
    let fp8 = |key: &str, value: Value| {
        let mut json = json!({ "quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128] });
        json[key] = value;
        let mut config = read("tiny-dense");
        config["quantization_config"] = json;
        parse(&config)
    };
    for (key, value) in [("fmt", "e5m2"), ("scale_fmt", "ue8m0"), ("expert_dtype", "fp4")] {
        let error = fp8(key, json!(value)).unwrap_err();
        let ConfigError::Unsupported { field, value: found, .. } = &error else { panic!("{error:?}") };
        assert_eq!((field.as_str(), found.as_str()), (format!("quantization_config.{key}").as_str(), value));
    }
    for block in [
        json!([0, 128]),
        json!([128]),
        json!([128, 128, 1]),
        json!(128),
        json!([-1, 1]),
        json!([1u64 << 40, 1]),
        json!("128"),
    ] {
        let error = fp8("weight_block_size", block).unwrap_err();
        let ConfigError::Invalid { field, .. } = &error else { panic!("{error:?}") };
        assert_eq!(field, "quantization_config.weight_block_size");
    }
    assert_invalid("tiny-dense", "/quantization_config", json!("fp8"), "\"fp8\"", "an object");
    assert_eq!(fp8("weight_block_size", Value::Null).unwrap().quantization.unwrap().block, None);
}

#[test]
fn refuses_compressed_tensors_other_than_eight_bit_floats() {
    let groups = |groups: Value| {
        let mut config = read("tiny-dense");
        config["quantization_config"] = json!({ "quant_method": "compressed-tensors", "config_groups": groups });
        parse(&config)
    };
    let weights = |bits: u32, kind: &str, strategy: &str| json!({ "weights": { "num_bits": bits, "type": kind, "strategy": strategy } });
    for (bits, kind) in [(4, "int"), (8, "int"), (4, "float")] {
        let error = groups(json!({ "group_0": weights(bits, kind, "channel") })).unwrap_err();
        let ConfigError::Quantized { method, .. } = &error else { panic!("{error:?}") };
        assert_eq!(*method, format!("compressed-tensors, {bits}-bit {kind}"));
    }
    let error = groups(json!({ "group_0": weights(8, "float", "group") })).unwrap_err();
    assert!(
        matches!(&error, ConfigError::Unsupported { field, .. }
        if field == "quantization_config.config_groups.group_0.weights.strategy"),
        "{error:?}"
    );
    // Two groups with different blocks; blocks without sizes; nothing; no type.
    let mut block = weights(8, "float", "block");
    let error = groups(json!({ "group_0": block })).unwrap_err();
    assert!(matches!(&error, ConfigError::Missing { field } if field.ends_with("block_structure")), "{error:?}");
    block["weights"]["block_structure"] = json!([128, 128]);
    let error = groups(json!({ "a": weights(8, "float", "tensor"), "b": block })).unwrap_err();
    assert!(matches!(error, ConfigError::Unsupported { .. }), "{error:?}");
    assert!(matches!(groups(json!({})).unwrap_err(), ConfigError::Missing { .. }));
    assert!(matches!(groups(json!({ "a": {} })).unwrap_err(), ConfigError::Missing { .. }));
    assert!(matches!(groups(json!([])).unwrap_err(), ConfigError::Invalid { .. }));
    assert_eq!(groups(json!({ "a": weights(8, "float", "channel") })).unwrap().quantization.unwrap().block, None);
}

#[test]
fn refuses_numbers_that_json_can_write_and_a_size_cannot_be() {
    for text in ["1e400", "1e3", "64.0", "-0", "18446744073709551616", "true", "null", "[]", "{}"] {
        let json = read("tiny-dense").to_string().replacen("\"hidden_size\":64", &format!("\"hidden_size\":{text}"), 1);
        let error = match Qwen3VlConfig::from_json(&json) {
            Err(Error::Config(error)) => error,
            other => panic!("{text}: {other:?}"),
        };
        let named = matches!(&error, ConfigError::Invalid { field, .. } | ConfigError::Missing { field } if field == "text_config.hidden_size");
        // A number that no f64 holds isn't JSON that can be read.
        assert!(named || (text == "1e400" && matches!(error, ConfigError::Json { .. })), "{text}: {error:?}");
    }
    for eps in ["0.0", "-1e-6", "1e999", "\"nan\""] {
        let json = read("tiny-dense").to_string();
        let (before, after) = json.split_once("\"rms_norm_eps\":").unwrap();
        let rest = &after[after.find([',', '}']).unwrap()..];
        let error = Qwen3VlConfig::from_json(&format!("{before}\"rms_norm_eps\":{eps}{rest}")).unwrap_err();
        assert!(
            matches!(error, Error::Config(ConfigError::Invalid { .. } | ConfigError::Json { .. })),
            "{eps}: {error:?}"
        );
    }
    let mut config = parse(&read("tiny-dense")).unwrap();
    for eps in [f64::NAN, f64::INFINITY, 0.0, -1.0] {
        config.text.rms_norm_eps = eps;
        let error = config.validate().unwrap_err();
        assert!(
            matches!(&error, Error::Config(ConfigError::Invalid { field, .. }) if field == "text_config.rms_norm_eps"),
            "{error:?}"
        );
    }
}

#[test]
fn refuses_patches_and_positions_that_do_not_fit() {
    for field in ["in_channels", "patch_size", "temporal_patch_size", "spatial_merge_size"] {
        assert_invalid("tiny-dense", &format!("/vision_config/{field}"), json!(257), "257", "between 1 and 256");
    }
    for field in ["hidden_size", "intermediate_size", "num_heads"] {
        let huge = json!((1u64 << 20) + 1);
        assert_invalid("tiny-dense", &format!("/vision_config/{field}"), huge, "1048577", "between 1 and");
    }
    assert_invalid("tiny-dense", "/text_config/num_hidden_layers", json!(4097), "4097", "between 1 and 4096");
    assert_invalid(
        "tiny-dense",
        "/text_config/max_position_embeddings",
        json!(1u64 << 31),
        "2147483648",
        "between 1 and",
    );
    assert_invalid("tiny-moe", "/text_config/moe_intermediate_size", json!(1u64 << 21), "2097152", "between 1 and");
    assert_invalid("tiny-moe", "/text_config/decoder_sparse_step", json!(5000), "5000", "between 1 and 4096");
    assert_invalid("tiny-moe", "/text_config/mlp_only_layers", json!([-1]), "-1", "a whole number");
    assert_invalid("tiny-moe", "/text_config/norm_topk_prob", json!("yes"), "\"yes\"", "true or false");
}

#[test]
fn refuses_text_that_is_not_a_json_object() {
    for json in ["", "{", "[]", "3", "{\"model_type\": NaN}", "\u{0}", "{\"a\":1,}"] {
        let error = Qwen3VlConfig::from_json(json).unwrap_err();
        assert!(matches!(error, Error::Config(ConfigError::Json { .. })), "{json}: {error:?}");
    }
    // Nesting that would exhaust the stack of a parser without a limit.
    let deep = "[".repeat(100_000);
    let error = Qwen3VlConfig::from_json(&format!("{{\"a\":{deep}")).unwrap_err();
    assert!(matches!(error, Error::Config(ConfigError::Json { .. })), "{error:?}");
}

#[test]
fn refuses_files_that_are_not_configurations() {
    let dir = tempfile::tempdir().unwrap();
    let error = Qwen3VlConfig::from_dir(dir.path()).unwrap_err();
    assert!(matches!(error, Error::Config(ConfigError::Read { .. })), "{error:?}");
    assert!(error.to_string().contains("config.json"), "{error}");

    let path = dir.path().join("config.json");
    fs::write(&path, vec![b' '; (1 << 20) + 1]).unwrap();
    let error = Qwen3VlConfig::from_file(&path).unwrap_err();
    assert!(matches!(error, Error::Config(ConfigError::TooLarge { limit: 1_048_576, .. })), "{error:?}");

    // A folder of that name, and an empty file.
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("config.json")).unwrap();
    let error = Qwen3VlConfig::from_dir(folder.path()).unwrap_err();
    assert!(matches!(error, Error::Config(ConfigError::Read { .. })), "{error:?}");
    fs::write(&path, b"").unwrap();
    let error = Qwen3VlConfig::from_file(&path).unwrap_err();
    assert!(matches!(error, Error::Config(ConfigError::Json { .. })), "{error:?}");

    fs::write(&path, b"\xff\xfe{}").unwrap();
    let error = Qwen3VlConfig::from_file(&path).unwrap_err();
    assert!(matches!(error, Error::Config(ConfigError::Json { .. })), "{error:?}");
}

#[test]
fn long_values_are_cut_in_messages() {
    let error = error_with("tiny-dense", "/text_config/hidden_size", json!("x".repeat(100_000)));
    assert!(error.to_string().len() < 500, "{}", error.to_string().len());
}
