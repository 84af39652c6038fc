//! What can be wrong with a checkpoint.

use super::{ForeignFormat, ShapeReport};
use burn::tensor::DType;
use std::io;
use std::path::PathBuf;

/// A checkpoint that cannot be opened, or a tensor that cannot be had from it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The folder has neither `model.safetensors` nor an index of shards.
    #[error("{} has neither model.safetensors nor model.safetensors.index.json", dir.display())]
    NotFound {
        /// The folder.
        dir: PathBuf,
    },
    /// A file cannot be opened or mapped.
    #[error("cannot open {}: {source}", file.display())]
    Open {
        /// The file.
        file: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Something that isn't a regular file stands where a file should.
    #[error("{} is not a regular file", file.display())]
    NotAFile {
        /// Its path.
        file: PathBuf,
    },
    /// The file is shorter than it says, or too short to say anything.
    #[error("{} is truncated: it needs {needed} bytes and has {found}", file.display())]
    Truncated {
        /// The file.
        file: PathBuf,
        /// Bytes that it must have.
        needed: u64,
        /// Bytes that it has.
        found: u64,
    },
    /// Bytes after the last tensor.
    #[error("{} has {found} bytes, but its tensors end at byte {expected}", file.display())]
    Trailing {
        /// The file.
        file: PathBuf,
        /// Where the last tensor ends.
        expected: u64,
        /// Bytes that the file has.
        found: u64,
    },
    /// A header or index larger than any real one.
    #[error("{}: {what} is {found}, more than the {limit} that are accepted", file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
        /// What is too large, with its unit.
        what: &'static str,
        /// How large it says it is.
        found: u64,
        /// The most that is accepted.
        limit: u64,
    },
    /// A file of another kind under the name of a safetensors file.
    #[error("{} is {found}: {advice}", file.display())]
    OtherFile {
        /// The file.
        file: PathBuf,
        /// What it is.
        found: &'static str,
        /// What to do about it.
        advice: &'static str,
    },
    /// The header is not what the safetensors format describes.
    #[error("{}: malformed header: {reason}", file.display())]
    Header {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The header describes one tensor in a way that cannot be.
    #[error("{}: tensor `{tensor}`: {reason}", file.display())]
    Tensor {
        /// The file.
        file: PathBuf,
        /// The tensor.
        tensor: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The index is not what HF writes.
    #[error("{}: malformed index: {reason}", file.display())]
    Index {
        /// The index file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The index names a file outside the checkpoint's folder, or no file at all.
    #[error("{}: tensor `{tensor}` is said to be in `{name}`, which is not the name of a file beside it", file.display())]
    ShardName {
        /// The index file.
        file: PathBuf,
        /// The tensor whose entry it is.
        tensor: String,
        /// The name as it stands there.
        name: String,
    },
    /// The index names a shard that doesn't exist.
    #[error("{}: shard {shard} does not exist", file.display())]
    MissingShard {
        /// The index file.
        file: PathBuf,
        /// Name of the shard.
        shard: String,
    },
    /// A tensor isn't in the shard that the index names.
    #[error("tensor `{tensor}` is not in {listed}, where the index puts it{}", place(found))]
    WrongShard {
        /// The tensor.
        tensor: String,
        /// The shard that the index names.
        listed: String,
        /// The shard that has it, if one does.
        found: Option<String>,
    },
    /// Two shards hold a tensor of the same name.
    #[error("tensor `{tensor}` is in both {first} and {second}")]
    Duplicate {
        /// The tensor.
        tensor: String,
        /// One of the shards.
        first: String,
        /// The other.
        second: String,
    },
    /// Two tensors have names of the same tensor of the model.
    #[error("tensors `{first}` and `{second}` are both `{tensor}` of the model: which of them counts cannot be known")]
    SameTensor {
        /// The tensor of the model.
        tensor: String,
        /// Name of one of them.
        first: String,
        /// Name of the other.
        second: String,
    },
    /// The folder holds something else than the model's weights.
    #[error("{} holds {format}", dir.display())]
    Foreign {
        /// The folder.
        dir: PathBuf,
        /// What it holds.
        format: ForeignFormat,
    },
    /// The checkpoint has no tensor of this name.
    #[error("the checkpoint has no tensor `{tensor}`")]
    Unknown {
        /// The name asked for.
        tensor: String,
    },
    /// A tensor has another shape than the model needs.
    #[error("tensor `{tensor}` in {} has shape {found:?}, expected {expected:?}", file.display())]
    Shape {
        /// The tensor.
        tensor: String,
        /// Its file.
        file: PathBuf,
        /// The shape that the model needs.
        expected: Vec<usize>,
        /// The shape that it has.
        found: Vec<usize>,
    },
    /// A tensor is stored in a dtype that isn't read as a weight.
    #[error("tensor `{tensor}` in {} is stored as {found}; supported are F32, BF16, F16, and F8_E4M3 matrices that config.json has a quantization_config for", file.display())]
    StoredDtype {
        /// The tensor.
        tensor: String,
        /// Its file.
        file: PathBuf,
        /// Its dtype, as the header writes it.
        found: String,
    },
    /// A tensor was asked for in a dtype that weights cannot have.
    #[error("tensor `{tensor}` cannot be loaded as {target:?}; weights are f32, bf16 or f16")]
    TargetDtype {
        /// The tensor.
        tensor: String,
        /// The dtype asked for.
        target: DType,
    },
    /// The backend has no such dtype.
    #[error("tensor `{tensor}` cannot be loaded as {dtype:?}: the backend {backend} does not support it")]
    BackendDtype {
        /// The tensor.
        tensor: String,
        /// The dtype asked for.
        dtype: DType,
        /// The backend's name.
        backend: String,
    },
    /// A finite weight that would become infinite in the dtype asked for.
    #[error("element {index} of tensor `{tensor}` is {value}, which {target:?} cannot hold")]
    OutOfRange {
        /// The tensor.
        tensor: String,
        /// The dtype asked for.
        target: DType,
        /// Its place in the flattened tensor.
        index: usize,
        /// Its value.
        value: f32,
    },
    /// An FP8 matrix without its scales.
    #[error("tensor `{tensor}` is FP8, but the checkpoint has no `{tensor}_scale_inv` (nor `{tensor}_scale`)")]
    MissingScale {
        /// The matrix.
        tensor: String,
    },
    /// A scale that is infinite or not a number.
    #[error("element {index} of the scales `{tensor}` is {value}")]
    ScaleValue {
        /// The scales.
        tensor: String,
        /// Its place in the flattened scales.
        index: usize,
        /// Its value.
        value: f32,
    },
    /// A checkpoint was to be written where there is one.
    #[error("{} exists already: choose another folder, or remove it first", path.display())]
    Exists {
        /// The file that is there.
        path: PathBuf,
    },
    /// A checkpoint cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A random checkpoint was asked for in a type that it is not made in.
    #[error("random weights are made in F32 or BF16, not in {found:?}")]
    RandomDtype {
        /// The dtype asked for.
        found: DType,
    },
    /// The checkpoint's tensors are not the model's.
    #[error("the checkpoint in {} does not fit the configuration: {report}", dir.display())]
    Mismatch {
        /// The checkpoint's folder.
        dir: PathBuf,
        /// Every tensor that is missing, surplus or of another shape.
        report: Box<ShapeReport>,
    },
}

fn place(found: &Option<String>) -> String {
    found.as_ref().map_or_else(|| " (nor in any other shard)".to_owned(), |file| format!(" (it is in {file})"))
}
