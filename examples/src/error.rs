//! What can go wrong in a program.

use std::path::PathBuf;

/// A failure that ends a program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model, its files or its inputs.
    #[error(transparent)]
    Model(#[from] qwen3_vl_burn::Error),
    /// A file or folder.
    #[error("{}: {source}", path.display())]
    File {
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Standard output is gone.
    #[error("standard output: {0}")]
    Output(std::io::Error),
    /// A case of `verify` that is no such file, or lacks a tensor.
    #[error("{}: {reason}", path.display())]
    Case {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A folder without cases.
    #[error("{} has no case: expected CASE.safetensors beside model.safetensors", path.display())]
    NoCases {
        /// The folder.
        path: PathBuf,
    },
    /// A folder that `verify` can do nothing with.
    #[error(
        "{} has neither a checkpoint (config.json, with CASE.safetensors beside it) nor the cases of a processor (cases.json)",
        path.display()
    )]
    NothingToVerify {
        /// The folder.
        path: PathBuf,
    },
    /// The thread pool.
    #[error("cannot start {threads} threads: {reason}")]
    Threads {
        /// Threads asked for.
        threads: usize,
        /// What rayon says.
        reason: String,
    },
}

impl From<qwen3_vl_burn::error::PromptError> for Error {
    fn from(error: qwen3_vl_burn::error::PromptError) -> Self {
        Self::Model(error.into())
    }
}

impl From<qwen3_vl_burn::error::ImageError> for Error {
    fn from(error: qwen3_vl_burn::error::ImageError) -> Self {
        Self::Model(error.into())
    }
}
