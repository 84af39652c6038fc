//! What `config.json` leaves out is what HF's classes fill in (`fixtures/config/defaults.json`, made of their source).

use crate::files::fixture;
use crate::heard::{listen, warnings};

use qwen3_vl_burn::Qwen3VlConfig;
use serde_json::{Map, Value, json};
use std::fs;
use tracing::Level;

/// Fields of the classes that say nothing of what is computed from a checkpoint.
const UNREAD: [&str; 7] = [
    "initializer_range",
    "use_cache",
    "attention_dropout",
    "output_router_logits",
    "router_aux_loss_coef",
    "text_config",
    "vision_config",
];

fn tables() -> Map<String, Value> {
    serde_json::from_str(&fs::read_to_string(fixture("config").join("defaults.json")).unwrap()).unwrap()
}

/// The classes of a model: name of the type, of its top, text and vision tables.
const MODELS: [[&str; 4]; 2] = [
    ["qwen3_vl", "Qwen3VLConfig", "Qwen3VLTextConfig", "Qwen3VLVisionConfig"],
    ["qwen3_vl_moe", "Qwen3VLMoeConfig", "Qwen3VLMoeTextConfig", "Qwen3VLMoeVisionConfig"],
];

/// A `config.json` with every field of the classes written out, but for those that are null.
fn write_out([model_type, top, text, vision]: [&str; 4]) -> Value {
    let tables = tables();
    let section = |class: &str| {
        let fields = tables[class].as_object().unwrap().iter();
        let fields = fields.filter(|(key, value)| !UNREAD.contains(&key.as_str()) && !value.is_null());
        fields.map(|(key, value)| (key.clone(), value.clone())).collect::<Map<_, _>>()
    };
    let mut config = section(top);
    let (mut text, mut vision) = (section(text), section(vision));
    let rope =
        json!({ "rope_type": "default", "mrope_section": text.remove("mrope_section"), "mrope_interleaved": true });
    text.insert("rope_scaling".into(), rope);
    // HF never looks at it where there is a vision tower.
    text.remove("tie_word_embeddings");
    // The classes' own widths don't fit each other.
    vision.insert("out_hidden_size".into(), text["hidden_size"].clone());
    config.insert("model_type".into(), json!(model_type));
    config.insert("text_config".into(), Value::Object(text));
    config.insert("vision_config".into(), Value::Object(vision));
    Value::Object(config)
}

fn parse(config: &Value) -> Qwen3VlConfig {
    Qwen3VlConfig::from_json(&config.to_string()).unwrap_or_else(|error| panic!("{error}"))
}

/// Every key of every class, one at a time: the configuration without it is the one in which HF's default is written
/// out, and one message at debug level names it.
#[test]
fn every_key_has_hfs_default() {
    for model in MODELS {
        let whole = write_out(model);
        let (expected, told) = listen(Level::DEBUG, || parse(&whole));
        assert!(told.len() <= 1, "{told:?}");
        let mut count = 0;
        for section in ["", "/text_config", "/vision_config"] {
            let keys: Vec<String> = whole.pointer(section).unwrap().as_object().unwrap().keys().cloned().collect();
            for key in keys {
                if ["model_type", "text_config", "vision_config", "out_hidden_size", "rope_scaling"].contains(&&*key) {
                    continue;
                }
                let mut config = whole.clone();
                config.pointer_mut(section).unwrap().as_object_mut().unwrap().remove(&key);
                let (found, heard) = listen(Level::DEBUG, || parse(&config));
                assert_eq!(found, expected, "{section} {key}");
                let path = format!("{section}/{key}")[1..].replace('/', ".");
                assert_eq!(heard.iter().filter(|text| text.contains(&path)).count(), 1, "{path}: {heard:?}");
                count += 1;
            }
        }
        assert_eq!(count, if model[0] == "qwen3_vl" { 28 } else { 31 });
    }
}

/// All of a section left out, and of RoPE.
#[test]
fn whole_sections_have_hfs_defaults() {
    for model in MODELS {
        let whole = write_out(model);
        let expected = parse(&whole);
        let mut config = whole.clone();
        config.as_object_mut().unwrap().remove("text_config");
        assert_eq!(parse(&config), expected);
        for key in ["mrope_section", "rope_type", "mrope_interleaved"] {
            let mut config = whole.clone();
            config["text_config"]["rope_scaling"].as_object_mut().unwrap().remove(key);
            assert_eq!(parse(&config), expected, "{key}");
        }
        for rope in [json!({}), Value::Null] {
            let mut config = whole.clone();
            config["text_config"]["rope_scaling"] = rope;
            config["text_config"].as_object_mut().unwrap().remove("rope_theta");
            assert_eq!(parse(&config), expected);
        }
        // The vision tower's own width; and nothing at all but that.
        let width = json!({ "out_hidden_size": whole["text_config"]["hidden_size"] });
        let config = json!({ "model_type": model[0], "vision_config": width });
        assert_eq!(parse(&config), expected);
        let table = tables()[model[3]]["out_hidden_size"].as_u64().unwrap();
        let config = json!({ "model_type": model[0], "text_config": { "hidden_size": table, "head_dim": 128 } });
        assert_eq!(parse(&config).vision.out_hidden_size as u64, table);
    }
}

/// Where HF tells null from absence, and where a default follows from other fields.
#[test]
fn defaults_that_depend() {
    let heads = |model, change: Value| {
        let mut config = write_out(model);
        let text = config["text_config"].as_object_mut().unwrap();
        text.remove("num_key_value_heads");
        text.remove("head_dim");
        text.remove("rope_scaling");
        text.extend(change.as_object().unwrap().clone());
        let text = parse(&config).text;
        (text.num_attention_heads, text.num_key_value_heads, text.head_dim)
    };
    let [dense, sparse] = MODELS;
    assert_eq!(heads(dense, json!({ "num_attention_heads": 64 })), (64, 32, 128));
    assert_eq!(heads(dense, json!({ "num_attention_heads": 64, "num_key_value_heads": null })), (64, 64, 128));
    assert_eq!(heads(sparse, json!({ "num_attention_heads": 32 })), (32, 16, 64));
    assert_eq!(heads(sparse, json!({ "num_attention_heads": 32, "head_dim": 256 })), (32, 16, 256));

    // HF's default section, of narrower heads: as its slices cut it.
    let mut config: Value =
        serde_json::from_str(&fs::read_to_string(fixture("tiny-dense").join("config.json")).unwrap()).unwrap();
    config["text_config"]["rope_scaling"].as_object_mut().unwrap().remove("mrope_section");
    assert_eq!(parse(&config).text.mrope_section, [6, 5, 5]);

    // HF's placeholders, in a vocabulary without them: no token is one.
    config.as_object_mut().unwrap().remove("image_token_id");
    assert_eq!(parse(&config).image_token_id, 151_655);
    let config_of_moe = fs::read_to_string(fixture("tiny-moe").join("config.json")).unwrap();
    let mut config: Value = serde_json::from_str(&config_of_moe).unwrap();
    config["text_config"].as_object_mut().unwrap().remove("intermediate_size");
    assert_eq!(parse(&config).text.intermediate_size, 5632);
}

/// Every field of HF's classes is in the test above, or listed as one that isn't read.
#[test]
fn no_field_of_hfs_classes_is_forgotten() {
    let tables = tables();
    let mut seen: Vec<&str> = Vec::new();
    for (class, fields) in &tables {
        for (key, value) in fields.as_object().unwrap() {
            // Null defaults are what absence means anyway.
            assert!(
                !value.is_null() || NULLS.contains(&key.as_str()) || UNREAD.contains(&key.as_str()),
                "{class} {key}"
            );
            seen.push(key);
        }
    }
    assert!(UNREAD.iter().chain(&NULLS).all(|key| seen.contains(key)));
}

/// Fields whose default is null: none, no dense layer, or what follows from others.
const NULLS: [&str; 6] =
    ["pad_token_id", "bos_token_id", "eos_token_id", "mlp_only_layers", "rope_parameters", "head_dim"];

/// HF's class for mixtures of experts divides by the sum whatever `norm_topk_prob` says.
#[test]
fn the_router_always_normalises() {
    let text = std::fs::read_to_string(crate::files::fixture("tiny-moe").join("config.json")).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut read = |value: serde_json::Value| {
        json["text_config"]["norm_topk_prob"] = value;
        warnings(|| Qwen3VlConfig::from_json(&json.to_string()).unwrap())
    };
    let (normalised, silent) = read(true.into());
    let (same, warned) = read(false.into());
    assert_eq!(same, normalised);
    assert!(silent.is_empty() && warned.len() == 1 && warned[0].contains("text_config.norm_topk_prob"), "{warned:?}");
}
