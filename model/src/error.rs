//! The error of the whole crate: one variant for each part of it, each holding that part's own typed error.

pub use crate::checkpoint::CheckpointError;
pub use crate::config::ConfigError;

/// What this crate's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Anything that can go wrong between a folder of files and an answer.
///
/// Every variant wraps the error of one part of the crate, so that `?` works across parts while a caller can still match on
/// the values inside (`Error::Config(ConfigError::Invalid { field, .. })`).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `config.json` is missing, malformed, out of range, or describes another model.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The checkpoint's files are missing, damaged, or do not belong to the configuration.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}
