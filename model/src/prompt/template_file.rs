//! Finds the chat template of a checkpoint.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::de::Error as _;
use serde_json::Value;

use super::PromptError;
use crate::json::parse_json;

/// The most that is read of a file, bytes. A `tokenizer_config.json` with many added tokens has half a megabyte.
const MAX_FILE_BYTES: u64 = 8 << 20;

/// Looks for a template in the folder of a checkpoint; returns its text and the file that holds it.
pub(super) fn find_template(folder: &Path) -> Result<Option<(String, PathBuf)>, PromptError> {
    let path = folder.join("chat_template.jinja");
    if let Some(source) = read_if_present(&path, MAX_FILE_BYTES)? {
        return Ok(Some((source, path)));
    }
    for name in ["chat_template.json", "tokenizer_config.json"] {
        let path = folder.join(name);
        if let Some(text) = read_if_present(&path, MAX_FILE_BYTES)? {
            let json = |source| PromptError::Json { path: path.clone(), source };
            let file: Value = parse_json(&text).map_err(json)?;
            if let Some(source) = pick_template(&file["chat_template"]).map_err(json)? {
                return Ok(Some((source.to_owned(), path)));
            }
        }
    }
    Ok(None)
}

/// A template is a string, or one of a list of named ones, of which `default` is taken.
fn pick_template(value: &Value) -> Result<Option<&str>, serde_json::Error> {
    let template = match value {
        Value::Null => return Ok(None),
        Value::Array(named) => match named.iter().find(|entry| entry["name"] == "default") {
            Some(entry) => &entry["template"],
            None => return Ok(None),
        },
        other => other,
    };
    match template {
        Value::String(source) => Ok(Some(source)),
        _ => Err(serde_json::Error::custom("chat_template is no text and no list of named texts")),
    }
}

/// The text of a file of at most `limit` bytes; `None` where there is none.
pub(super) fn read_if_present(path: &Path, limit: u64) -> Result<Option<String>, PromptError> {
    let read = |source| PromptError::Read { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(read(source)),
    };
    let mut text = String::new();
    file.take(limit + 1).read_to_string(&mut text).map_err(read)?;
    if text.len() as u64 > limit {
        return Err(PromptError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(Some(text))
}
