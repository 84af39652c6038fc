//! Keys of messages that nothing reads.
//!
//! A misspelt `max_pixel` or a `resized_height` of another program would change nothing and say nothing: keys that are
//! neither read here nor by the template are named in a warning.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use minijinja::Value as TemplateValue;
use serde_json::{Map, Value};

use super::whole_messages::takes_whole_messages;

/// Keys of the protocol that templates need not read: they say who and what is answered, not what.
const PROTOCOL: [&str; 3] = ["id", "name", "tool_call_id"];

/// The most keys that a template remembers to have reported; further ones are passed over.
const MAX_REPORTED: usize = 64;
/// The most keys that one warning names, and the most characters of each.
const MAX_NAMED: (usize, usize) = (16, 64);

/// Lists the keys of a part that are not among those read. One whose value is null says nothing.
pub(super) fn list_ignored(part: &Map<String, Value>, read: impl Fn(&str) -> bool) -> Vec<String> {
    part.iter().filter(|(key, value)| !value.is_null() && !read(key)).map(|(key, _)| key.clone()).collect()
}

/// Warns about ignored keys, in one line; `what` has them.
pub(super) fn warn_ignored(what: &str, ignored: &[String]) {
    if ignored.is_empty() {
        return;
    }
    let (keys, characters) = MAX_NAMED;
    let named = ignored.iter().take(keys).map(|key| key.chars().take(characters).collect::<String>());
    let named = named.map(|key| format!("`{}`", key.escape_debug())).collect::<Vec<_>>().join(", ");
    let more = match ignored.len().saturating_sub(keys) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    tracing::warn!("{what}: nothing reads {named}{more}; check the spelling");
}

/// The keys that a template was already said to ignore. Copies share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Reported(Arc<Mutex<BTreeSet<String>>>);

impl Reported {
    /// Warns about entries of messages that the template with this source never names, each once.
    pub fn warn_unread<'a>(&self, entries: impl Iterator<Item = (&'a String, &'a TemplateValue)>, source: &str) {
        let mut reported = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ignored = Vec::new();
        let mut whole = None;
        for (key, value) in entries {
            let read = PROTOCOL.contains(&key.as_str()) || value.is_none() || names(source, key);
            if read || *whole.get_or_insert_with(|| takes_whole_messages(source)) {
                continue;
            }
            if reported.len() < MAX_REPORTED && reported.insert(key.clone()) {
                ignored.push(key.clone());
            }
        }
        warn_ignored("a message for this chat template", &ignored);
    }
}

/// Whether `key` stands in `source` as a word.
fn names(source: &str, key: &str) -> bool {
    let joins = |c: char| c.is_alphanumeric() || c == '_';
    source.match_indices(key).any(|(at, _)| {
        !source[..at].chars().next_back().is_some_and(joins) && !source[at + key.len()..].starts_with(joins)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_words() {
        assert!(names("{{ message.tool_calls }}", "tool_calls"));
        assert!(names("{{ message['a b'] }}", "a b"));
        assert!(!names("{{ message.tool_calls_x or my_tool_calls }}", "tool_calls"));
        assert!(!names("", "x"));
    }

    #[test]
    fn what_is_null_is_not_missed() {
        let part = json!({"type": "text", "text": "a", "image": null, "cache": {}});
        let ignored = list_ignored(part.as_object().unwrap(), |key| matches!(key, "type" | "text"));
        assert_eq!(ignored, ["cache"]);
    }
}
