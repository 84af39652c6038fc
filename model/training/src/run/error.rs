//! What can go wrong in a run.

use crate::data::DataError;
use crate::lora::LoraError;
use crate::optim::StateError;
use crate::parameters::ParameterError;
use crate::step::{PlanError, StepError};
use std::path::{Path, PathBuf};

/// The file that says what a run began with, and marks its folder.
pub(super) const MANIFEST: &str = "run.json";

/// A value that a run has, and that it should go on with instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Which value: a path into the manifest (`optimizer.learning_rate`).
    pub name: String,
    /// What the run began with.
    pub was: String,
    /// What it should go on with.
    pub is: String,
}

/// A failure of a run. Its last checkpoint is usable after each of them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// A folder that holds something else.
    #[error("{} is not empty and no run's folder (it has no {manifest}): nothing in it is touched; name another folder", path.display())]
    NotARun {
        /// The folder.
        path: PathBuf,
        /// The file that marks one.
        manifest: &'static str,
    },
    /// Records that were sound when they were measured, and none of which can be read.
    #[error("epoch {epoch} had no step: none of its records could be read; the warnings say why")]
    NothingLeft {
        /// Its number, from 1.
        epoch: u64,
    },
    /// Weights that have become no numbers.
    #[error(
        "`{name}` is no number any more (NaN or infinite), so nothing is saved of it: take a smaller learning rate"
    )]
    Weights {
        /// The first such parameter.
        name: String,
    },
    /// Several nodes that cannot go on together.
    #[cfg(feature = "distributed")]
    #[error(transparent)]
    Nodes(#[from] crate::distributed::DistributedError),
    /// A folder with a run, where a new one was asked for.
    #[error("{} has a run already, at step {step}: resume it, or name another folder", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
        /// Its last checkpoint.
        step: u64,
    },
    /// A folder with more than a run leaves before its first checkpoint.
    #[error("{} has `{name}` in it, which a new run would replace: nothing is touched; name another folder", path.display())]
    Occupied {
        /// The folder.
        path: PathBuf,
        /// What is there.
        name: String,
    },
    /// Nothing to go on from.
    #[error("{} has no checkpoint to resume from: start a run there without resuming", path.display())]
    NothingToResume {
        /// The folder.
        path: PathBuf,
    },
    /// Another process works in it.
    #[error("{} is in use by another run: wait for it, or name another folder", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// A run that should go on with something else than it began with.
    #[error(
        "the run in {} cannot go on: {}; resume it with what it began with, or start another in a new folder",
        path.display(), list(differences)
    )]
    Changed {
        /// The folder.
        path: PathBuf,
        /// One at least.
        differences: Vec<Difference>,
    },
    /// A file of a run that is damaged.
    #[error("{} cannot be used: {reason}{}", path.display(), advise(path))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file that cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file that cannot be written: the disk is full, mostly.
    #[error("cannot write {}: {source}; what was saved before is whole", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// An option out of range.
    #[error("{name} is {value}, but must be {expected}")]
    Option {
        /// Which.
        name: &'static str,
        /// What it was.
        value: String,
        /// What it may be.
        expected: &'static str,
    },
    /// The data.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A step that cannot be taken: a loss or a gradient that is no number, mostly. The model is as it was before.
    #[error(transparent)]
    Step(#[from] StepError),
    /// A memory limit in which no step fits.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// What should train.
    #[error(transparent)]
    Parameters(#[from] ParameterError),
    /// The optimiser's state in a checkpoint.
    #[error(transparent)]
    State(#[from] StateError),
    /// The adapter.
    #[error(transparent)]
    Lora(#[from] LoraError),
}

fn list(differences: &[Difference]) -> String {
    let one =
        |difference: &Difference| format!("{} was {} and is now {}", difference.name, difference.was, difference.is);
    differences.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// What to do about a damaged file.
fn advise(path: &Path) -> &'static str {
    match path.file_name().is_some_and(|name| name == MANIFEST) {
        true => "; it says what the run began with: put it back, or start another run in a new folder",
        false => "; remove its folder to go on from the checkpoint before it",
    }
}
