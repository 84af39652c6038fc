//! Finds the chat template of a checkpoint.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::PromptError;

/// Looks for a template in the folder of a checkpoint; returns its text and the file that holds it.
pub(super) fn find_template(folder: &Path) -> Result<Option<(String, PathBuf)>, PromptError> {
    let path = folder.join("chat_template.jinja");
    if let Some(source) = read_if_present(&path)? {
        return Ok(Some((source, path)));
    }
    for name in ["chat_template.json", "tokenizer_config.json"] {
        let path = folder.join(name);
        if let Some(text) = read_if_present(&path)? {
            let json = |source| PromptError::Json { path: path.clone(), source };
            let file: Value = serde_json::from_str(&text).map_err(json)?;
            if let Some(source) = pick_template(&file["chat_template"]) {
                return Ok(Some((source.to_owned(), path)));
            }
        }
    }
    Ok(None)
}

/// A template is a string, or one of a list of named ones, of which `default` is taken.
fn pick_template(value: &Value) -> Option<&str> {
    match value {
        Value::String(source) => Some(source),
        Value::Array(named) => named.iter().find(|entry| entry["name"] == "default")?["template"].as_str(),
        _ => None,
    }
}

fn read_if_present(path: &Path) -> Result<Option<String>, PromptError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(PromptError::Read { path: path.to_owned(), source }),
    }
}
