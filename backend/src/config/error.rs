//! What can be wrong with a configuration.

use std::path::PathBuf;

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A value outside of what its field takes.
    #[error("`{field}` is {found}: expected {expected}")]
    Value {
        /// Section and field, as in a file.
        field: &'static str,
        /// The value.
        found: String,
        /// What it may be.
        expected: String,
    },
    /// A file that cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file of another kind.
    #[error("the configuration {} is neither .toml nor .json", path.display())]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// A file larger than any configuration.
    #[error("the configuration {} has {bytes} bytes: expected at most {limit}", path.display())]
    Size {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The largest that is read.
        limit: u64,
    },
    /// Text that is no TOML, or has other fields or types.
    #[error("the configuration {name} is not valid: {source}")]
    Toml {
        /// The file, or what was parsed.
        name: String,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// Text that is no JSON, or has other fields or types.
    #[error("the configuration {name} is not valid: {source}")]
    Json {
        /// The file, or what was parsed.
        name: String,
        /// Where and why.
        source: serde_json::Error,
    },
}
