//! Tokens that end a turn of a conversation, whatever `generation_config.json` says.
//!
//! Fine-tunes often keep the base model's `generation_config.json`, which names `<|endoftext|>` alone, while the chat
//! template ends each turn with `<|im_end|>`: an answer would run on into a turn of the user that nobody wrote. Two
//! more places of a checkpoint tell what ends a turn: `eos_token` of `tokenizer_config.json`, and the template.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::template_file::{find_template, read_if_present};
use super::{CHATML_TEMPLATE, PromptError};
use crate::json::parse_json;

/// What ends a turn of ChatML.
const END_OF_TURN: &str = "<|im_end|>";
/// The most that is read of a `tokenizer_config.json`, bytes.
const MAX_CONFIG_BYTES: u64 = 8 << 20;
/// The most that is read of a `tokenizer.json`, bytes. Qwen's has 11 MB.
const MAX_TOKENIZER_BYTES: u64 = 256 << 20;

/// The part of `tokenizer_config.json` that counts.
#[derive(Default, Deserialize)]
struct TokenizerConfig {
    #[serde(default)]
    eos_token: Option<Spelling>,
    /// By id.
    #[serde(default)]
    added_tokens_decoder: Option<BTreeMap<String, Added>>,
}

/// A token by its text, or by an object that has it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Spelling {
    Text(String),
    Object { content: String },
}

/// The part of `tokenizer.json` that counts; the vocabulary is passed over.
#[derive(Default, Deserialize)]
struct TokenizerFile {
    #[serde(default)]
    added_tokens: Vec<Added>,
}

#[derive(Deserialize)]
struct Added {
    #[serde(default)]
    id: Option<u32>,
    content: String,
}

/// The ids of the tokens that end a turn in the checkpoint in `folder`: the tokenizer's `eos_token`, and `<|im_end|>`
/// where the chat template (or, without one, the built-in one) writes it. Ascending; none where the folder has no
/// tokenizer.
///
/// # Errors
/// [`PromptError::Read`] and [`PromptError::Json`] for files that cannot be used.
pub fn find_turn_ends(folder: impl AsRef<Path>) -> Result<Vec<u32>, PromptError> {
    let folder = folder.as_ref();
    let config: TokenizerConfig = read(&folder.join("tokenizer_config.json"), MAX_CONFIG_BYTES)?.unwrap_or_default();
    let template = find_template(folder)?;
    let template = template.as_ref().map_or(CHATML_TEMPLATE, |(source, _)| source);
    let mut texts: Vec<&str> = Vec::new();
    match &config.eos_token {
        Some(Spelling::Text(text) | Spelling::Object { content: text }) => texts.push(text),
        None => {}
    }
    texts.extend(template.contains(END_OF_TURN).then_some(END_OF_TURN));

    let known = |text: &str| {
        let found = config.added_tokens_decoder.iter().flatten().find(|(_, token)| token.content == text);
        found.and_then(|(id, _)| id.parse().ok())
    };
    let mut ids: Vec<u32> = texts.iter().filter_map(|text| known(text)).collect();
    if texts.iter().any(|text| known(text).is_none()) {
        let file: TokenizerFile = read(&folder.join("tokenizer.json"), MAX_TOKENIZER_BYTES)?.unwrap_or_default();
        let named = file.added_tokens.into_iter().filter(|token| texts.contains(&token.content.as_str()));
        ids.extend(named.filter_map(|token| token.id));
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

/// Reads a file; `None` where there is none.
fn read<T: DeserializeOwned>(path: &Path, limit: u64) -> Result<Option<T>, PromptError> {
    let Some(json) = read_if_present(path, limit)? else { return Ok(None) };
    parse_json(&json).map(Some).map_err(|source| PromptError::Json { path: path.to_owned(), source })
}
