//! The error of the whole crate: one variant for each part of it, each holding that part's own typed error.

pub use crate::checkpoint::{AdapterError, CheckpointError};
pub use crate::config::ConfigError;
pub use crate::generate::GenerateError;
pub use crate::grounding::GroundingError;
#[cfg(feature = "hub")]
pub use crate::hub::HubError;
pub use crate::inputs::InputError;
pub use crate::processor::ImageError;
pub use crate::prompt::PromptError;
pub use crate::streaming::CardError;
pub use kiln_kernels::prefetch::PrefetchError;

/// What this crate's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Anything that can go wrong between a folder of files and an answer.
///
/// Every variant wraps the error of one part of the crate, so that `?` works across parts while a caller can still
/// match on the values inside (`Error::Config(ConfigError::Invalid { field, .. })`).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// `config.json` is missing, malformed, out of range, or describes another model.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The checkpoint's files are missing, damaged, or do not belong to the configuration.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// An adapter cannot be read, or doesn't fit the model.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// An `OptimizationConfig` with values out of range, or one that cannot be read.
    #[error(transparent)]
    Optimization(#[from] burn_kiln::ConfigError),
    /// A model whose parameters are not those that its configuration says.
    #[error(transparent)]
    Transfer(#[from] burn_kiln::TransferError),
    /// A checkpoint cannot be had from the Hugging Face Hub.
    #[cfg(feature = "hub")]
    #[error(transparent)]
    Hub(#[from] HubError),
    /// A picture or video cannot be decoded or processed.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A prompt cannot be made, or doesn't match its pictures.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// Inputs that don't fit the model.
    #[error(transparent)]
    Input(#[from] InputError),
    /// Generation cannot go on.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// Weights that are read while the model runs cannot be had, or not within the memory limit.
    #[error(transparent)]
    Streaming(#[from] PrefetchError),
    /// Weights that cannot be on a card as they were asked to be.
    #[error(transparent)]
    Card(#[from] CardError),
    /// An answer that should say where something is, and doesn't.
    #[error(transparent)]
    Grounding(#[from] GroundingError),
}
