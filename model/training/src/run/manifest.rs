//! What a run is, so that it goes on as what it began as.
//!
//! A manifest is a tree of values. Those that must not change are compared leaf by leaf, by their paths
//! (`optimizer.weight_decay`), so that an error names what differs.

use super::error::{Difference, RunError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Writes a manifest.
pub fn to_bytes<M: Serialize>(manifest: &M) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(manifest).expect("plain data with string keys");
    bytes.push(b'\n');
    bytes
}

/// Reads a manifest.
///
/// # Errors
/// [`RunError::Damaged`].
pub fn from_bytes<M: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<M, RunError> {
    serde_json::from_slice(bytes)
        .map_err(|error| RunError::Damaged { path: path.to_owned(), reason: error.to_string() })
}

/// The leaves in which two trees differ, but for those below one of the paths `free`.
pub fn differences<M: Serialize>(was: &M, is: &M, free: &[&str]) -> Vec<Difference> {
    let [was, is] = [was, is].map(|manifest| {
        let mut leaves = BTreeMap::new();
        let tree = serde_json::to_value(manifest).expect("plain data with string keys");
        collect(String::new(), &tree, &mut leaves);
        leaves
    });
    let show = |value: Option<&String>| value.cloned().unwrap_or_else(|| "not there".to_owned());
    let is_free = |name: &str| {
        free.iter().any(|path| name.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
    };
    let mut names: Vec<&String> = was.keys().chain(is.keys()).collect();
    names.sort();
    names.dedup();
    let differing = names.into_iter().filter(|&name| was.get(name) != is.get(name) && !is_free(name));
    differing.map(|name| Difference { name: name.clone(), was: show(was.get(name)), is: show(is.get(name)) }).collect()
}

fn collect(path: String, value: &Value, leaves: &mut BTreeMap<String, String>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| collect(below(name), value, leaves)),
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            items.iter().zip(1..).for_each(|(item, number)| collect(below(&number.to_string()), item, leaves));
        }
        leaf => {
            leaves.insert(path, leaf.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_differs_is_named() {
        let was = json!({ "optimizer": { "rate": 1e-4, "clip": null }, "data": [{ "file": "a.json", "bytes": 5 }], "keep": 2 });
        let is = json!({ "optimizer": { "rate": 2e-4, "clip": null }, "data": [{ "file": "a.json", "bytes": 6 }], "keep": 3 });
        let found = differences(&was, &is, &["keep"]);
        let found: Vec<_> =
            found.iter().map(|found| (found.name.as_str(), found.was.as_str(), found.is.as_str())).collect();
        assert_eq!(found, [("data.1.bytes", "5", "6"), ("optimizer.rate", "0.0001", "0.0002")]);
        assert_eq!(differences(&was, &was, &[]), []);
        // Only whole names are free.
        assert_eq!(differences(&was, &is, &["keep", "opti", "data"]).len(), 1);
        let error = RunError::Changed { path: "out".into(), differences: differences(&was, &is, &["data"]) };
        assert!(
            error.to_string().contains("keep was 2 and is now 3, optimizer.rate was 0.0001 and is now 0.0002"),
            "{error}"
        );
    }
}
