//! `generation_config.json`: how a checkpoint wants its tokens chosen, and what ends its answers.
//!
//! Absent keys have HF's defaults: `do_sample` false (the likeliest token each time), temperature 1, `top_k` 50,
//! `top_p` 1. Null counts as absent, unknown keys are ignored. The end-of-answer ids are those of `config.json` where
//! the file has none; those that end a turn ([`find_turn_ends`]) are kept beside them.

use super::{GenerateError, GenerateOptions, Sampling};
use crate::json::parse_json;
use crate::prompt::find_turn_ends;
use crate::{Qwen3VlConfig, Result};
use serde_json::{Map, Value};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

/// The most of a `generation_config.json` that is read, bytes. Released ones are under 1 KiB.
const MAX_CONFIG_BYTES: u64 = 1 << 20;
/// HF's `top_k` where a file that samples has none.
const DEFAULT_TOP_K: usize = 50;

/// A checkpoint's defaults for [`GenerateOptions`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GenerationConfig {
    /// Tokens that end an answer (`eos_token_id`, one or a list).
    pub eos_token_ids: Vec<u32>,
    /// Tokens that end a turn by the tokenizer and the chat template ([`find_turn_ends`]), and so an answer too: a file
    /// that names `<|endoftext|>` alone would let answers run on past `<|im_end|>`. HF knows none of them
    /// ([`GenerationConfig::exact`]); files of released checkpoints name all.
    pub turn_end_ids: Vec<u32>,
    /// The token that fills shorter sequences of a batch.
    pub pad_token_id: Option<u32>,
    /// How tokens are chosen; greedy unless `do_sample`, and then a temperature given on top draws as the file says.
    pub sampling: Sampling,
    /// Longest answer, tokens.
    pub max_new_tokens: Option<usize>,
    /// Longest prompt and answer together, tokens; counts where `max_new_tokens` is absent.
    pub max_length: Option<usize>,
}

impl GenerationConfig {
    /// Reads `generation_config.json` in the folder of a checkpoint, and what ends a turn there. Without the file:
    /// greedy, with the end-of-answer ids of `config.json`.
    ///
    /// # Errors
    /// As [`GenerationConfig::from_json`] and [`find_turn_ends`]; [`GenerateError::ReadConfig`],
    /// [`GenerateError::ConfigTooLarge`]; and, where the file has no `eos_token_id`, those of
    /// [`Qwen3VlConfig::from_dir`].
    pub fn load(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        let path = dir.join("generation_config.json");
        let mut config = match read_if_present(&path)? {
            Some(json) => Self::from_json(&json, &path)?,
            None => Self::default(),
        };
        if config.eos_token_ids.is_empty() {
            config.eos_token_ids = Qwen3VlConfig::from_dir(dir)?.text.eos_token_ids;
        }
        config.turn_end_ids = find_turn_ends(dir)?;
        Ok(config)
    }

    /// Takes the contents of a `generation_config.json`; `origin` names it in errors.
    ///
    /// # Errors
    /// [`GenerateError::ConfigJson`], [`GenerateError::ConfigValue`].
    pub fn from_json(json: impl AsRef<[u8]>, origin: impl AsRef<Path>) -> Result<Self, GenerateError> {
        let path = origin.as_ref();
        let map: Map<String, Value> = parse_json(json)
            .map_err(|error| GenerateError::ConfigJson { path: path.to_owned(), reason: error.to_string() })?;
        let file = ConfigFile { path, map };
        Ok(Self {
            eos_token_ids: file.tokens("eos_token_id")?,
            turn_end_ids: Vec::new(),
            pad_token_id: file.token("pad_token_id")?,
            sampling: file.sampling()?,
            max_new_tokens: file.length("max_new_tokens")?,
            max_length: file.length("max_length")?,
        })
    }

    /// Without [`turn_end_ids`](Self::turn_end_ids): answers end where HF's `generate` ends them.
    pub fn exact(mut self) -> Self {
        self.turn_end_ids.clear();
        self
    }

    /// Tokens that end an answer: those of [`eos_token_ids`](Self::eos_token_ids), then others of
    /// [`turn_end_ids`](Self::turn_end_ids).
    pub fn stop_ids(&self) -> Vec<u32> {
        let added = self.turn_end_ids.iter().filter(|id| !self.eos_token_ids.contains(id));
        self.eos_token_ids.iter().chain(added).copied().collect()
    }

    /// Options with these defaults, for up to `max_new_tokens`.
    pub fn options(&self, max_new_tokens: usize) -> GenerateOptions {
        GenerateOptions::new(max_new_tokens).with_stop_ids(self.stop_ids()).with_sampling(self.sampling.clone())
    }

    /// Longest answer to a prompt of `prompt_tokens`, tokens: `max_new_tokens`, or what the prompt leaves of
    /// `max_length`.
    pub fn limit(&self, prompt_tokens: usize) -> Option<usize> {
        self.max_new_tokens.or_else(|| self.max_length.map(|length| length.saturating_sub(prompt_tokens)))
    }
}

/// Typed access to the file's values, so that every bad one is reported with file and key.
struct ConfigFile<'a> {
    path: &'a Path,
    map: Map<String, Value>,
}

impl ConfigFile<'_> {
    fn sampling(&self) -> Result<Sampling, GenerateError> {
        let samples = self.read("do_sample", "true or false", Value::as_bool)?.unwrap_or(false);
        let real = |key, absent| self.read(key, "a number", Value::as_f64).map(|value| value.unwrap_or(absent));
        let mut sampling = Sampling {
            repetition_penalty: real("repetition_penalty", 1.0)?,
            presence_penalty: real("presence_penalty", 0.0)?,
            frequency_penalty: real("frequency_penalty", 0.0)?,
            temperature: real("temperature", 1.0)?,
            top_k: self.read("top_k", "a whole number, not negative", to_count)?.unwrap_or(DEFAULT_TOP_K),
            top_p: real("top_p", 1.0)?,
            min_p: real("min_p", 0.0)?,
            seed: None,
        };
        sampling.validate().map_err(|error| match error {
            GenerateError::Option { option, value, required } => {
                GenerateError::ConfigValue { path: self.path.to_owned(), key: option, value, required }
            }
            other => other,
        })?;
        if !samples {
            sampling.temperature = 0.0;
        }
        Ok(sampling)
    }

    fn length(&self, key: &'static str) -> Result<Option<usize>, GenerateError> {
        self.read(key, "a whole number of at least 1", |value| to_count(value).filter(|&count| count > 0))
    }

    fn token(&self, key: &'static str) -> Result<Option<u32>, GenerateError> {
        self.read(key, "a token id", to_token)
    }

    fn tokens(&self, key: &'static str) -> Result<Vec<u32>, GenerateError> {
        let list = |value: &Value| match value {
            Value::Array(list) => list.iter().map(to_token).collect(),
            one => to_token(one).map(|token| vec![token]),
        };
        self.read(key, "a token id or a list of them", list).map(Option::unwrap_or_default)
    }

    /// The value of `key` through `convert`; null counts as absent.
    fn read<T>(
        &self,
        key: &'static str,
        required: &'static str,
        convert: impl Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, GenerateError> {
        let Some(value) = self.map.get(key).filter(|value| !value.is_null()) else { return Ok(None) };
        let wrong = || GenerateError::ConfigValue { path: self.path.to_owned(), key, value: shorten(value), required };
        convert(value).map(Some).ok_or_else(wrong)
    }
}

fn to_count(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|count| usize::try_from(count).ok())
}

fn to_token(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|token| u32::try_from(token).ok())
}

/// A value as an error message can show it.
fn shorten(value: &Value) -> String {
    const SHOWN: usize = 80;
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn read_if_present(path: &Path) -> Result<Option<Vec<u8>>, GenerateError> {
    let failed = |error: std::io::Error| GenerateError::ReadConfig { path: path.to_owned(), reason: error.to_string() };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mut json = Vec::new();
    file.take(MAX_CONFIG_BYTES + 1).read_to_end(&mut json).map_err(failed)?;
    if json.len() as u64 > MAX_CONFIG_BYTES {
        return Err(GenerateError::ConfigTooLarge { path: path.to_owned(), limit: MAX_CONFIG_BYTES });
    }
    Ok(Some(json))
}
