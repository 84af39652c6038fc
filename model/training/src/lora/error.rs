//! What can be wrong with an adapter that is to be trained.

use qwen3_vl_burn::checkpoint::{AdapterError, PatternError};
use std::path::PathBuf;

/// An adapter that cannot be attached, saved or loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoraError {
    /// Rank 0.
    #[error("the rank of LoRA is 0: it must be 1 at least, usually 8 to 64")]
    Rank,
    /// A rank that makes the matrices larger than the layer.
    #[error(
        "the rank of LoRA is {rank}, and `{layer}` is {inputs} by {outputs}: take a rank of at most the larger of these, usually 8 to 64"
    )]
    RankTooLarge {
        /// As given.
        rank: usize,
        /// The layer.
        layer: String,
        /// Length of a row of its input.
        inputs: usize,
        /// Length of a row of its output.
        outputs: usize,
    },
    /// A negative or infinite factor.
    #[error("alpha of LoRA is {found}: it must be a number from 0 up, usually once or twice the rank")]
    Alpha {
        /// What it is.
        found: f64,
    },
    /// A dropout that leaves nothing, or is no probability.
    #[error("dropout of LoRA is {found}: it must be a probability, from 0 up and below 1")]
    Dropout {
        /// What it is.
        found: f64,
    },
    /// No target at all.
    #[error("LoRA has no target: name layers such as q_proj, give a regular expression, or all-linear")]
    NoTargets,
    /// A target that is in no layer's name.
    #[error("the LoRA target `{target}` matches no layer: there are {}", existing.join(", "))]
    Target {
        /// The name or pattern.
        target: String,
        /// What the layers are called.
        existing: Vec<String>,
    },
    /// A target that is no regular expression.
    #[error("LoRA target: {0}")]
    Pattern(#[from] PatternError),
    /// The output head.
    #[error("LoRA target `{target}` is the output head, which cannot be adapted: its loss takes the plain weight")]
    Head {
        /// The name or pattern that matches it.
        target: String,
    },
    /// Layers that are not in memory cannot train.
    #[error(
        "this model reads its layers from the checkpoint (it has a memory limit): load it without a limit to train it"
    )]
    Streamed,
    /// Two adapters on one model.
    #[error("the model has an adapter already: merge it, or load the base model again")]
    Attached,
    /// Nothing to save.
    #[error("the model has no adapter to save: attach one first")]
    NotAttached,
    /// The adapter that is saved has other ranks than its settings say.
    #[error("module `{module}` has rank {found}, but the settings to save say {expected}")]
    OtherRank {
        /// The module.
        module: String,
        /// Its rank.
        found: usize,
        /// That of the settings.
        expected: usize,
    },
    /// A file that would be overwritten.
    #[error("{} exists already: choose another folder, or remove it first", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The disk does not take it.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The adapter cannot be read, or doesn't fit the model.
    #[error(transparent)]
    Model(#[from] qwen3_vl_burn::Error),
}

impl From<AdapterError> for LoraError {
    fn from(error: AdapterError) -> Self {
        Self::Model(error.into())
    }
}
