//! What can be wrong with an adapter.

use super::PatternError;
use std::path::PathBuf;

/// An adapter that cannot be read, or that doesn't fit the model.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdapterError {
    /// The folder has no `adapter_config.json`, or it cannot be read.
    #[error("cannot read {}: {source} (an adapter is a folder with adapter_config.json and adapter_model.safetensors)", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The settings are no JSON, or not PEFT's.
    #[error("{}: {reason}", file.display())]
    Json {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A setting is out of range.
    #[error("{}: {setting} is {found}: {expected}", file.display())]
    Setting {
        /// The file.
        file: PathBuf,
        /// Its name.
        setting: String,
        /// What it is.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
    /// A setting asks for something else than plain LoRA.
    #[error("{}: {setting} is {found}, which is not supported: {instead}", file.display())]
    Unsupported {
        /// The file.
        file: PathBuf,
        /// Its name.
        setting: String,
        /// What it is.
        found: String,
        /// What to do.
        instead: &'static str,
    },
    /// A pattern of the settings that cannot be used.
    #[error("{}: rank_pattern or alpha_pattern: {source}", file.display())]
    Pattern {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        source: PatternError,
    },
    /// There are no weights.
    #[error("{} has no adapter_model.safetensors", dir.display())]
    NoWeights {
        /// The folder.
        dir: PathBuf,
    },
    /// The weights are a pickle, which may run any code.
    #[error(
        "{} is a pickle, which is not read: save the adapter as safetensors (PEFT: load it and save_pretrained(.., safe_serialization=True))",
        file.display()
    )]
    Pickle {
        /// The file.
        file: PathBuf,
    },
    /// A tensor that is no matrix of a LoRA module, or has no element: what a trainer saves that didn't gather its
    /// parts.
    #[error("{}: tensor `{tensor}` has shape {found:?}, expected {expected} (1-D or empty tensors come of ZeRO-3 without gathering: save the adapter again)", file.display())]
    Tensor {
        /// The file.
        file: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its shape.
        found: Vec<usize>,
        /// What it should be.
        expected: &'static str,
    },
    /// A value that is infinite or not a number.
    #[error("{}: element {index} of tensor `{tensor}` is {value}", file.display())]
    NotFinite {
        /// The file.
        file: PathBuf,
        /// The tensor.
        tensor: String,
        /// Its place in the flattened tensor.
        index: usize,
        /// Its value.
        value: f32,
    },
    /// One of the two matrices of a module.
    #[error("{}: module `{module}` has no {missing}", file.display())]
    Half {
        /// The file.
        file: PathBuf,
        /// The module.
        module: String,
        /// The matrix that is not there.
        missing: &'static str,
    },
    /// Two tensors are the same matrix of the same module.
    #[error("{}: `{first}` and `{second}` are the same matrix of module `{module}`", file.display())]
    Twice {
        /// The file.
        file: PathBuf,
        /// The module.
        module: String,
        /// Name of one of them.
        first: String,
        /// Name of the other.
        second: String,
    },
    /// The matrices of a module don't have one rank, or not that of the settings.
    #[error("{}: module `{module}`: lora_A has rank {a} and lora_B rank {b}; adapter_config.json says {expected}", file.display())]
    Ranks {
        /// The file.
        file: PathBuf,
        /// The module.
        module: String,
        /// Rows of A.
        a: usize,
        /// Columns of B.
        b: usize,
        /// What the settings say.
        expected: usize,
    },
    /// The matrices are those of a module of other sizes.
    #[error(
        "{}: module `{module}` takes {inputs} inputs to {outputs} outputs, but its weight in the base model is {weight:?}: the adapter is of another model",
        dir.display()
    )]
    Shape {
        /// The adapter's folder.
        dir: PathBuf,
        /// The module.
        module: String,
        /// Columns of A.
        inputs: usize,
        /// Rows of B.
        outputs: usize,
        /// Shape of the weight.
        weight: Vec<usize>,
    },
    /// Tensors that no module of the model takes; all of them, or some.
    #[error("{}: {}, such as {}: {expected}", dir.display(), how_many(*left, *all), examples.join(", "))]
    NoModule {
        /// The adapter's folder.
        dir: PathBuf,
        /// Tensors that no module takes.
        left: usize,
        /// All tensors.
        all: usize,
        /// Some of them.
        examples: Vec<String>,
        /// What the modules' names are.
        expected: &'static str,
    },
    /// An adapter of the head, where the head is the token embedding.
    #[error(
        "{}: it adapts lm_head, which is the token embedding in this model (tie_word_embeddings): not supported, as the embedding would change too",
        dir.display()
    )]
    TiedHead {
        /// The adapter's folder.
        dir: PathBuf,
    },
    /// An adapter of the head of a model that may read its head from the files.
    #[error("{}: it adapts lm_head, which is not supported with a memory limit: load without one, or merge the adapter first", dir.display())]
    LimitedHead {
        /// The adapter's folder.
        dir: PathBuf,
    },
    /// A merged checkpoint cannot keep an FP8 weight.
    #[error(
        "tensor `{tensor}` of the base model is stored as FP8, which a merged weight cannot be written as: merge into the checkpoint that it was made from"
    )]
    MergeFp8 {
        /// The tensor.
        tensor: String,
    },
}

fn how_many(left: usize, all: usize) -> String {
    if left == all {
        format!("none of its {all} tensors belongs to a module of the model")
    } else {
        format!("{left} of its {all} tensors belong to no module of the model")
    }
}
