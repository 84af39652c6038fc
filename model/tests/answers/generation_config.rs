//! `generation_config.json`.

use crate::fixture;

use qwen3_vl_burn::Error;
use qwen3_vl_burn::error::{ConfigError, GenerateError, PromptError};
use qwen3_vl_burn::generate::{GenerateOptions, GenerationConfig, Sampling};
use std::path::{Path, PathBuf};

/// As Qwen3-VL's Instruct checkpoints bring it.
const INSTRUCT: &str = r#"{
    "bos_token_id": 151643, "pad_token_id": 151643, "do_sample": true, "eos_token_id": [151645, 151643],
    "top_p": 0.8, "top_k": 20, "temperature": 0.7, "repetition_penalty": 1.0, "transformers_version": "4.56.0"
}"#;

fn parse(json: &str) -> Result<GenerationConfig, GenerateError> {
    GenerationConfig::from_json(json, "generation_config.json")
}

#[test]
fn a_released_file_decides() {
    let config = parse(INSTRUCT).unwrap();
    let sampling = Sampling::greedy().with_temperature(0.7).with_top_k(20).with_top_p(0.8);
    let expected = GenerationConfig {
        eos_token_ids: vec![151_645, 151_643],
        turn_end_ids: vec![],
        pad_token_id: Some(151_643),
        sampling: sampling.clone(),
        max_new_tokens: None,
        max_length: None,
    };
    assert_eq!(config, expected);
    let options = GenerateOptions::new(9).with_stop_ids(vec![151_645, 151_643]).with_sampling(sampling);
    assert_eq!(config.options(9), options);
    assert_eq!(config.limit(5), None);
}

#[test]
fn absent_keys_have_hf_defaults() {
    let hf = Sampling::greedy().with_top_k(50);
    assert_eq!(parse("{}").unwrap().sampling, hf);
    assert_eq!(parse(r#"{"do_sample": true}"#).unwrap().sampling, hf.clone().with_temperature(1.0));
    // Null is absent, and nothing is drawn without `do_sample`.
    let json = r#"{"top_k": null, "eos_token_id": null, "do_sample": false, "temperature": 0.6, "num_beams": 4}"#;
    assert_eq!(parse(json).unwrap(), GenerationConfig { sampling: hf, ..Default::default() });
    let json = r#"{"do_sample": true, "top_k": 0, "min_p": 0.1, "presence_penalty": 1.5, "frequency_penalty": -1,
        "repetition_penalty": 1.05, "temperature": 1, "eos_token_id": 7}"#;
    let config = parse(json).unwrap();
    let all = Sampling::greedy().with_temperature(1.0).with_min_p(0.1).with_presence_penalty(1.5);
    assert_eq!(config.sampling, all.with_frequency_penalty(-1.0).with_repetition_penalty(1.05));
    assert_eq!(config.eos_token_ids, [7]);
}

#[test]
fn lengths_limit_answers() {
    let config = parse(r#"{"max_new_tokens": 30, "max_length": 100}"#).unwrap();
    assert_eq!((config.limit(90), config.max_new_tokens, config.max_length), (Some(30), Some(30), Some(100)));
    let config = parse(r#"{"max_length": 100}"#).unwrap();
    assert_eq!((config.limit(90), config.limit(100), config.limit(200)), (Some(10), Some(0), Some(0)));
}

#[test]
fn absurd_values_are_errors_with_file_and_key() {
    let cases = [
        (r#"{"temperature": -1}"#, "temperature is -1, but must be a finite number of at least 0"),
        (r#"{"temperature": "hot"}"#, "temperature is \"hot\", but must be a number"),
        (r#"{"top_p": 0}"#, "top_p is 0, but must be above 0 and at most 1"),
        (r#"{"top_p": 80}"#, "top_p is 80, but must be above 0 and at most 1"),
        (r#"{"top_k": -1}"#, "top_k is -1, but must be a whole number, not negative"),
        (r#"{"top_k": 2.5}"#, "top_k is 2.5, but must be a whole number, not negative"),
        (r#"{"min_p": 1.5}"#, "min_p is 1.5, but must be within 0..=1"),
        (r#"{"repetition_penalty": 0}"#, "repetition_penalty is 0, but must be a finite number above 0"),
        (r#"{"presence_penalty": 3}"#, "presence_penalty is 3, but must be within -2..=2"),
        (r#"{"frequency_penalty": [1]}"#, "frequency_penalty is [1], but must be a number"),
        (r#"{"do_sample": 1}"#, "do_sample is 1, but must be true or false"),
        (r#"{"eos_token_id": -5}"#, "eos_token_id is -5, but must be a token id or a list of them"),
        (r#"{"eos_token_id": [1, "a"]}"#, "eos_token_id is [1,\"a\"], but must be a token id or a list of them"),
        (r#"{"eos_token_id": 4294967296}"#, "eos_token_id is 4294967296, but must be a token id or a list of them"),
        (r#"{"pad_token_id": {}}"#, "pad_token_id is {}, but must be a token id"),
        (r#"{"max_new_tokens": 0}"#, "max_new_tokens is 0, but must be a whole number of at least 1"),
        (r#"{"max_length": "long"}"#, "max_length is \"long\", but must be a whole number of at least 1"),
    ];
    for (json, message) in cases {
        let error = parse(json).unwrap_err();
        assert!(matches!(error, GenerateError::ConfigValue { .. }), "{error}");
        assert_eq!(error.to_string(), format!("generation_config.json: {message}"));
    }
    let long = format!(r#"{{"do_sample": "{}"}}"#, "ä".repeat(100_000));
    assert!(parse(&long).unwrap_err().to_string().len() < 300);
    for json in ["", "[]", "{", "3", r#"{"temperature": NaN}"#, r#"{"temperature": 1e999}"#] {
        let error = parse(json).unwrap_err();
        let GenerateError::ConfigJson { path, .. } = &error else { panic!("{json}: {error}") };
        assert_eq!(path, Path::new("generation_config.json"));
    }
}

/// A folder with the tiny model's `config.json` and this `generation_config.json`.
fn write_folder(json: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(fixture::folder("tiny-dense").join("config.json"), dir.path().join("config.json")).unwrap();
    let path = dir.path().join("generation_config.json");
    std::fs::write(&path, json).unwrap();
    (dir, path)
}

#[test]
fn ends_of_answers_come_from_either_file() {
    let config = GenerationConfig::load(fixture::folder("tiny-dense")).unwrap();
    assert_eq!(config, GenerationConfig { eos_token_ids: vec![3], ..Default::default() });
    assert!(config.sampling.is_greedy());

    let (dir, _) = write_folder(br#"{"do_sample": true, "top_k": 5}"#);
    let config = GenerationConfig::load(dir.path()).unwrap();
    assert_eq!((config.eos_token_ids, config.sampling.top_k), (vec![3], 5));

    let (dir, _) = write_folder(INSTRUCT.as_bytes());
    std::fs::remove_file(dir.path().join("config.json")).unwrap();
    assert_eq!(GenerationConfig::load(dir.path()).unwrap(), parse(INSTRUCT).unwrap());
}

/// Fine-tunes that keep the base model's file, which names `<|endoftext|>` alone.
#[test]
fn the_end_of_a_turn_ends_an_answer_too() {
    const ADDED: &str = r#"{"id": 6, "content": "<|endoftext|>", "special": true},
        {"id": 8, "content": "<|im_end|>", "special": true}, {"id": 9, "content": "<end>"}"#;
    let load = |files: &[(&str, String)]| {
        let (dir, _) = write_folder(br#"{"eos_token_id": 6, "do_sample": true}"#);
        files.iter().for_each(|(name, text)| std::fs::write(dir.path().join(name), text).unwrap());
        GenerationConfig::load(dir.path())
    };
    let stops = |files: &[(&str, String)]| load(files).unwrap().options(5).stop_ids;
    let tokenizer = || ("tokenizer.json", format!(r#"{{"version": "1.0", "added_tokens": [{ADDED}], "model": {{}}}}"#));
    let settings = |text: &str| ("tokenizer_config.json", text.to_owned());

    // By the built-in template, by one that has it, and not by one that ends turns otherwise.
    assert_eq!(stops(&[tokenizer()]), [6, 8]);
    assert_eq!(stops(&[tokenizer(), ("chat_template.jinja", "{{ m }}<|im_end|>".into())]), [6, 8]);
    assert_eq!(stops(&[tokenizer(), ("chat_template.jinja", "{{ m }}<end>".into())]), [6]);
    // By the tokenizer's settings: a text, an object, ids from either file.
    let named = settings(r#"{"eos_token": "<end>", "chat_template": "x"}"#);
    assert_eq!(stops(&[tokenizer(), named]), [6, 9]);
    let object = settings(
        r#"{"eos_token": {"content": "<|im_end|>"}, "chat_template": "x",
            "added_tokens_decoder": {"8": {"content": "<|im_end|>", "special": true}}}"#,
    );
    assert_eq!(stops(&[object]), [6, 8]);
    // What is named already is not named twice, and nothing is known without a tokenizer.
    assert_eq!(stops(&[tokenizer(), settings(r#"{"eos_token": "<|endoftext|>", "chat_template": "x"}"#)]), [6]);
    assert_eq!(stops(&[]), [6]);
    assert_eq!(stops(&[settings(r#"{"eos_token": null}"#)]), [6]);
    // Exactly as HF.
    assert_eq!(load(&[tokenizer()]).unwrap().exact().options(5).stop_ids, [6]);
    for bad in [settings(r#"{"eos_token": 5}"#), settings("{"), ("tokenizer.json", r#"{"added_tokens": [{}]}"#.into())]
    {
        let error = load(std::slice::from_ref(&bad)).unwrap_err();
        assert!(matches!(error, Error::Prompt(PromptError::Json { .. })), "{bad:?}: {error}");
    }
}

#[test]
fn files_that_cannot_be_used_are_errors() {
    let load = |dir: &Path| GenerationConfig::load(dir).unwrap_err();
    let (dir, path) = write_folder(b"\xFF\xFE{}");
    let error = load(dir.path());
    assert!(
        matches!(&error, Error::Generate(GenerateError::ConfigJson { path: found, .. }) if *found == path),
        "{error}"
    );

    std::fs::write(&path, vec![b' '; (1 << 20) + 1]).unwrap();
    let error = load(dir.path());
    assert!(matches!(error, Error::Generate(GenerateError::ConfigTooLarge { limit: 1_048_576, .. })), "{error}");

    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let error = load(dir.path());
    assert!(matches!(error, Error::Generate(GenerateError::ReadConfig { .. })), "{error}");

    std::fs::remove_dir(&path).unwrap();
    std::fs::remove_file(dir.path().join("config.json")).unwrap();
    let error = load(dir.path());
    assert!(matches!(error, Error::Config(ConfigError::Read { .. })), "{error}");
}
