//! Names of models on the Hub, and how to tell them from paths.

use super::HubError;
use std::fmt;
use std::path::Path;

/// Longest name of an owner or a model, as the Hub allows.
const MAX_PART: usize = 96;

/// `owner/name`, by the Hub's rules: letters, digits, `-`, `_` and `.`; neither begins or ends with `-` or `.`; no `--`
/// or `..`; the name doesn't end with `.git`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ModelId(String);

impl ModelId {
    pub(super) fn parse(id: &str) -> Result<Self, HubError> {
        let refuse = |reason: &'static str| {
            let given = id.chars().take(2 * MAX_PART).collect();
            Err(HubError::Id { given, reason })
        };
        let Some((owner, name)) = id.split_once('/') else {
            return refuse("it is neither a folder nor of the form owner/name");
        };
        for part in [owner, name] {
            if part.is_empty() || part.len() > MAX_PART {
                return refuse("owner and name have 1 to 96 characters");
            }
            if !part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
                return refuse("owner and name consist of letters, digits, `-`, `_` and `.`");
            }
            if part.starts_with(['-', '.']) || part.ends_with(['-', '.']) {
                return refuse("owner and name neither begin nor end with `-` or `.`");
            }
        }
        if id.contains("--") || id.contains("..") || id.ends_with(".git") {
            return refuse("it contains `--` or `..`, or ends with `.git`");
        }
        Ok(Self(id.to_owned()))
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether `model`, which isn't there, was meant as a path: it is absolute, begins with `.` or `~`, has a backslash or
/// a drive, ends with a slash, or has more than one.
pub(super) fn looks_local(model: &str) -> bool {
    Path::new(model).is_absolute()
        || model.starts_with(['.', '~', '/'])
        || model.contains(['\\', ':'])
        || model.ends_with('/')
        || model.matches('/').count() > 1
}
