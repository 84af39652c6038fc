//! Everything that can be wrong with an adapter is a typed error that names the file, and the setting or tensor.

use crate::files::{Raw, file_of};
use crate::fixture;

use burn_flex::Flex;
use qwen3_vl_burn::checkpoint::{
    Adapter, AdapterConfig, AdapterError, AdapterTargets, CheckpointError, MergedCheckpoint, NoProgress,
};
use qwen3_vl_burn::{Error, LoadOptions, Qwen3Vl};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

const Q: &str = "base_model.model.model.language_model.layers.0.self_attn.q_proj";

fn settings() -> Value {
    json!({
        "peft_type": "LORA", "r": 2, "lora_alpha": 4, "lora_dropout": 0.0, "bias": "none",
        "target_modules": ["q_proj"], "task_type": "CAUSAL_LM",
    })
}

fn bytes(count: usize) -> Vec<u8> {
    (0..count).flat_map(|i| (i as f32 * 1e-3).to_le_bytes()).collect()
}

/// An adapter of these f32 tensors.
fn folder(settings: &str, tensors: &[(&str, &[usize])]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("adapter_config.json"), settings).unwrap();
    let bytes: Vec<Vec<u8>> = tensors.iter().map(|(_, shape)| bytes(shape.iter().product())).collect();
    let raw: Vec<Raw> =
        tensors.iter().zip(&bytes).map(|((name, shape), bytes)| (*name, "F32", *shape, &bytes[..])).collect();
    fs::write(dir.path().join("adapter_model.safetensors"), file_of(&raw, 0)).unwrap();
    dir
}

fn names(module: &str) -> [String; 2] {
    ["A", "B"].map(|side| format!("{module}.lora_{side}.weight"))
}

/// The right adapter.
fn good() -> tempfile::TempDir {
    let [a, b] = names(Q);
    folder(&settings().to_string(), &[(&a, &[2, 64]), (&b, &[128, 2])])
}

fn load(adapter: &Path) -> Result<(), Error> {
    let options = LoadOptions::default().with_adapter(adapter);
    Qwen3Vl::<Flex>::load(fixture::folder("tiny-dense"), &Default::default(), options).map(drop)
}

/// The error of loading the model with an adapter; its message must contain all `words`.
#[track_caller]
fn refuse(adapter: &Path, words: &[&str]) -> AdapterError {
    let error = match load(adapter) {
        Err(Error::Adapter(error)) => error,
        other => panic!("{other:?}"),
    };
    for word in words {
        assert!(error.to_string().contains(word), "`{word}` is not in: {error}");
    }
    error
}

#[track_caller]
fn refuse_setting(setting: &str, value: Value, words: &[&str]) -> AdapterError {
    let mut settings = settings();
    settings[setting] = value;
    let [a, b] = names(Q);
    let dir = folder(&settings.to_string(), &[(&a, &[2, 64]), (&b, &[128, 2])]);
    refuse(dir.path(), &[words, &["adapter_config.json", setting]].concat())
}

#[track_caller]
fn refuse_tensors(tensors: &[(&str, &[usize])], words: &[&str]) -> AdapterError {
    refuse(folder(&settings().to_string(), tensors).path(), words)
}

#[test]
fn the_right_one_is_loaded() {
    load(good().path()).unwrap();
    let adapter = Adapter::open(good().path()).unwrap();
    let pair = adapter.pair("model.language_model.layers.0.self_attn.q_proj").unwrap();
    assert_eq!((pair.rank, pair.inputs, pair.outputs, pair.scale), (2, 64, 128, 2.0));
    assert_eq!((pair.a[5], pair.b[255]), (5.0 * 1e-3, 255.0 * 1e-3));
}

#[test]
fn folders_without_an_adapter() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(refuse(dir.path(), &["adapter_config.json"]), AdapterError::Read { .. }));
    assert!(matches!(refuse(&dir.path().join("absent"), &["absent"]), AdapterError::Read { .. }));
    fs::write(dir.path().join("adapter_config.json"), settings().to_string()).unwrap();
    assert!(matches!(refuse(dir.path(), &["adapter_model.safetensors"]), AdapterError::NoWeights { .. }));
    fs::write(dir.path().join("adapter_model.bin"), b"pickle").unwrap();
    assert!(matches!(refuse(dir.path(), &["adapter_model.bin", "safe_serialization"]), AdapterError::Pickle { .. }));
    fs::write(dir.path().join("adapter_model.safetensors"), b"short").unwrap();
    let error = load(dir.path()).unwrap_err();
    assert!(matches!(error, Error::Checkpoint(CheckpointError::Truncated { .. })), "{error:?}");
}

#[test]
fn settings_that_are_none() {
    for text in ["", "[]", "{", "{\"peft_type\": \"LORA\"}", "{\"peft_type\": \"LORA\", \"r\": -1, \"lora_alpha\": 1}"]
    {
        let dir = folder(text, &[]);
        assert!(matches!(refuse(dir.path(), &["adapter_config.json"]), AdapterError::Json { .. }), "{text}");
    }
    let deep = "[".repeat(100_000);
    assert!(matches!(refuse(folder(&deep, &[]).path(), &[]), AdapterError::Json { .. }));
    for kind in ["IA3", "LOHA", "PROMPT_TUNING"] {
        assert!(matches!(refuse_setting("peft_type", json!(kind), &[kind]), AdapterError::Unsupported { .. }));
    }
    let huge = tempfile::tempdir().unwrap();
    fs::File::create(huge.path().join("adapter_config.json")).unwrap().set_len(1 << 40).unwrap();
    assert!(matches!(refuse(huge.path(), &["more than"]), AdapterError::Json { .. }));
}

#[test]
fn settings_out_of_range() {
    for (setting, value, words) in [
        ("r", json!(0), "1 at least"),
        ("lora_alpha", json!(-4), "from 0 up"),
        ("lora_dropout", json!(1.0), "below 1"),
        ("lora_dropout", json!(-0.5), "below 1"),
        ("rank_pattern", json!({"q_proj": 0}), "[q_proj]"),
        ("alpha_pattern", json!({"v_proj": -1.0}), "[v_proj]"),
    ] {
        let error = refuse_setting(setting, value, &[words]);
        assert!(matches!(error, AdapterError::Setting { .. }), "{error}");
    }
    let error = refuse_setting("rank_pattern", json!({"(": 2}), &["regular expression"]);
    assert!(matches!(error, AdapterError::Pattern { .. }), "{error}");
}

#[test]
fn what_is_not_plain_lora_is_named() {
    for (setting, value) in [
        ("use_dora", json!(true)),
        ("use_qalora", json!(true)),
        ("lora_bias", json!(true)),
        ("bias", json!("lora_only")),
        ("bias", json!("all")),
        ("modules_to_save", json!(["lm_head"])),
        ("trainable_token_indices", json!([1, 2])),
        ("target_parameters", json!(["mlp.experts.gate_up_proj"])),
        ("layer_replication", json!([[0, 4], [2, 5]])),
        ("alora_invocation_tokens", json!([7])),
        ("init_lora_weights", json!("pissa_niter_16")),
        ("init_lora_weights", json!("olora")),
        ("init_lora_weights", json!("loftq")),
    ] {
        let error = refuse_setting(setting, value.clone(), &[]);
        assert!(matches!(error, AdapterError::Unsupported { .. }), "{value}: {error}");
    }
    // What only says how training began, or nothing.
    for (setting, value) in [
        ("init_lora_weights", json!("gaussian")),
        ("init_lora_weights", json!(true)),
        ("modules_to_save", json!([])),
        ("modules_to_save", Value::Null),
        ("layers_to_transform", json!([0])),
        ("loftq_config", json!({})),
        ("use_dora", json!(false)),
    ] {
        let mut settings = settings();
        settings[setting] = value;
        let [a, b] = names(Q);
        load(folder(&settings.to_string(), &[(&a, &[2, 64]), (&b, &[128, 2])]).path()).unwrap();
    }
}

#[test]
fn tensors_that_are_no_matrices() {
    let [a, b] = names(Q);
    for (a_shape, b_shape) in [
        (&[128][..], &[128, 2][..]),
        (&[0], &[0]),
        (&[2, 64], &[256]),
        (&[2, 0], &[128, 2]),
        (&[0, 64], &[128, 0]),
        (&[1, 2, 64], &[128, 2]),
        (&[], &[128, 2]),
    ] {
        let error = refuse_tensors(&[(&a, a_shape), (&b, b_shape)], &["ZeRO-3", "q_proj.lora_"]);
        assert!(matches!(error, AdapterError::Tensor { .. }), "{error}");
    }
}

#[test]
fn matrices_that_do_not_fit() {
    let [a, b] = names(Q);
    let error = refuse_tensors(&[(&a, &[2, 64]), (&b, &[128, 3])], &["rank 2", "rank 3"]);
    assert!(matches!(error, AdapterError::Ranks { a: 2, b: 3, expected: 2, .. }), "{error}");
    let error = refuse_tensors(&[(&a, &[4, 64]), (&b, &[128, 4])], &["says 2"]);
    assert!(matches!(error, AdapterError::Ranks { a: 4, b: 4, expected: 2, .. }), "{error}");
    for (inputs, outputs) in [(48, 128), (64, 64), (128, 64)] {
        let error = refuse_tensors(&[(&a, &[2, inputs]), (&b, &[outputs, 2])], &["[128, 64]", "another model"]);
        assert!(matches!(error, AdapterError::Shape { .. }), "{error}");
    }
    assert!(matches!(refuse_tensors(&[(&a, &[2, 64])], &["no lora_B"]), AdapterError::Half { missing: "lora_B", .. }));
    assert!(matches!(refuse_tensors(&[(&b, &[128, 2])], &["no lora_A"]), AdapterError::Half { missing: "lora_A", .. }));
    // The same matrix by two of its names.
    let again = a.replace("language_model.", "");
    let error = refuse_tensors(&[(&a, &[2, 64]), (&again, &[2, 64]), (&b, &[128, 2])], &["same matrix"]);
    assert!(matches!(error, AdapterError::Twice { .. }), "{error}");
}

#[test]
fn modules_that_the_model_has_not() {
    let [a, b] = names(Q);
    assert!(matches!(refuse_tensors(&[], &["none of its 0"]), AdapterError::NoModule { all: 0, .. }));
    for stranger in [
        "base_model.model.model.language_model.layers.4.self_attn.q_proj",
        "base_model.model.transformer.h.0.attn.c_attn",
        "base_model.model.model.language_model.layers.0.self_attn.q_norm",
        "base_model.model.model.language_model.layers.0.mlp.experts.gate_up_proj",
        "base_model.model.model.language_model.layers.0.mlp.gate",
    ] {
        let [other_a, other_b] = names(stranger);
        let alone = [(&*other_a, &[2, 64][..]), (&*other_b, &[128, 2][..])];
        let error = refuse_tensors(&alone, &["none of its 2 tensors", stranger.rsplit('.').next().unwrap()]);
        assert!(matches!(error, AdapterError::NoModule { left: 2, all: 2, .. }), "{error}");
        let beside = [alone[0], alone[1], (&a, &[2, 64]), (&b, &[128, 2])];
        let error = refuse_tensors(&beside, &["2 of its 4"]);
        assert!(matches!(error, AdapterError::NoModule { left: 2, all: 4, .. }), "{error}");
    }
    // Tensors that are no LoRA matrix.
    for left in
        [format!("{Q}.lora_magnitude_vector"), format!("{Q}.lora_B.bias"), "base_model.model.lm_head.weight".into()]
    {
        let tensors = [(&*a, &[2, 64][..]), (&b, &[128, 2]), (&left, &[128])];
        let error = refuse_tensors(&tensors, &["1 of its 3", &left]);
        assert!(matches!(error, AdapterError::NoModule { left: 1, all: 3, .. }), "{error}");
    }
    let [a, b] = names("base_model.model.lm_head");
    let error = refuse_tensors(&[(&a, &[2, 64]), (&b, &[320, 2])], &["tie_word_embeddings"]);
    assert!(matches!(error, AdapterError::TiedHead { .. }), "{error}");
}

#[test]
fn values_that_are_not_finite() {
    let dir = good();
    let [a, b] = names(Q);
    for (name, place) in [(&a, 7), (&b, 3)] {
        let (mut a_bytes, mut b_bytes) = (bytes(128), bytes(256));
        let target = if *name == a { &mut a_bytes } else { &mut b_bytes };
        target[4 * place..][..4].copy_from_slice(&f32::NAN.to_le_bytes());
        let raw: [Raw; 2] = [(&a, "F32", &[2, 64], &a_bytes), (&b, "F32", &[128, 2], &b_bytes)];
        fs::write(dir.path().join("adapter_model.safetensors"), file_of(&raw, 0)).unwrap();
        let error = refuse(dir.path(), &[name, &format!("element {place}"), "NaN"]);
        assert!(matches!(error, AdapterError::NotFinite { .. }), "{error}");
    }
    let raw: [Raw; 2] = [(&a, "I32", &[2, 64], &bytes(128)), (&b, "F32", &[128, 2], &bytes(256))];
    fs::write(dir.path().join("adapter_model.safetensors"), file_of(&raw, 0)).unwrap();
    let error = load(dir.path()).unwrap_err();
    assert!(matches!(error, Error::Checkpoint(CheckpointError::StoredDtype { .. })), "{error:?}");
}

/// An untied head can have an adapter, but not with a memory limit.
#[test]
fn heads() {
    let [a, b] = names("base_model.model.lm_head");
    let dir = folder(&settings().to_string(), &[(&a, &[2, 64]), (&b, &[300, 2])]);
    let load = |options: LoadOptions<'_>| {
        let options = options.with_adapter(dir.path());
        Qwen3Vl::<Flex>::load(fixture::folder("tiny-moe"), &Default::default(), options)
    };
    let adapted = load(LoadOptions::default()).unwrap().lm_head.unwrap().weight.val();
    let plain =
        Qwen3Vl::<Flex>::load(fixture::folder("tiny-moe"), &Default::default(), LoadOptions::default()).unwrap();
    let plain = plain.lm_head.unwrap().weight.val();
    let added: Vec<f32> = (adapted - plain).into_data().to_vec().unwrap();
    // Row 10, column 3, by hand: 2 · (0.020 · 0.003 + 0.021 · 0.067).
    assert!((added[10 * 64 + 3] - 2.0 * (0.020 * 0.003 + 0.021 * 0.067)).abs() < 1e-6, "{}", added[10 * 64 + 3]);
    let error = load(LoadOptions::default().with_memory_limit(1 << 30)).map(drop).unwrap_err();
    assert!(matches!(error, Error::Adapter(AdapterError::LimitedHead { .. })), "{error:?}");
}

#[test]
fn settings_are_read_as_peft_writes_them() {
    let mut full = settings();
    full["use_rslora"] = json!(true);
    full["target_modules"] = json!("all-linear");
    full["rank_pattern"] = json!({"v_proj": 3});
    full["alpha_pattern"] = json!({"v_proj": 1.5});
    full["base_model_name_or_path"] = json!("Qwen/Qwen3-VL-2B-Instruct");
    let dir = folder(&full.to_string(), &[]);
    let config = AdapterConfig::from_dir(dir.path()).unwrap();
    let expected = AdapterConfig {
        rank: 2,
        alpha: 4.0,
        dropout: 0.0,
        rank_stabilized: true,
        targets: AdapterTargets::AllLinear,
        base_model: Some("Qwen/Qwen3-VL-2B-Instruct".to_owned()),
        rank_pattern: vec![("v_proj".to_owned(), 3)],
        alpha_pattern: vec![("v_proj".to_owned(), 1.5)],
    };
    assert_eq!(config, expected);
    // What we write is read as what it was.
    let again = folder(&config.to_json(), &[]);
    assert_eq!(AdapterConfig::from_dir(again.path()).unwrap(), expected);
    let written: Value = serde_json::from_str(&config.to_json()).unwrap();
    assert_eq!((&written["lora_alpha"], &written["r"], &written["bias"]), (&json!(4), &json!(2), &json!("none")));
}

#[test]
fn merged_checkpoints_overwrite_nothing() {
    let (base, adapter, parent) = (fixture::folder("tiny-dense"), good(), tempfile::tempdir().unwrap());
    let out = parent.path().join("merged");
    fs::create_dir(&out).unwrap();
    let error = MergedCheckpoint::prepare(&base, adapter.path(), &out).map(drop).unwrap_err();
    assert!(matches!(error, Error::Checkpoint(CheckpointError::Exists { .. })), "{error:?}");
    fs::remove_dir(&out).unwrap();
    let merge = MergedCheckpoint::prepare(&base, adapter.path(), &out).unwrap();
    assert!(!out.exists() && merge.staging().starts_with(parent.path()));
    // Somebody else was faster.
    fs::create_dir(&out).unwrap();
    let error = merge.write(&mut NoProgress).unwrap_err();
    assert!(matches!(error, Error::Checkpoint(CheckpointError::Exists { .. })), "{error:?}");
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1, "nothing half-written stays");
    let inside = fixture::folder("tiny-dense").join("config.json/merged");
    let error = MergedCheckpoint::prepare(&base, adapter.path(), inside).map(drop).unwrap_err();
    assert!(matches!(error, Error::Checkpoint(CheckpointError::Write { .. })), "{error:?}");
    // A wrong adapter leaves nothing.
    let out = parent.path().join("other");
    let error = MergedCheckpoint::prepare(&base, parent.path(), &out).map(drop).unwrap_err();
    assert!(matches!(error, Error::Adapter(AdapterError::Read { .. })), "{error:?}");
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
}
