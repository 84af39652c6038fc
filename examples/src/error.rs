//! What can go wrong in a program.

use qwen3_vl_train::data::DataError;
use qwen3_vl_train::lora::LoraError;
use qwen3_vl_train::run::RunError;
use qwen3_vl_train::step::StepError;
use std::path::PathBuf;

/// A failure that ends a program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model, its files or its inputs.
    #[error(transparent)]
    Model(#[from] qwen3_vl_burn::Error),
    /// Drawn pictures.
    #[error(transparent)]
    Scenes(#[from] kiln_scenes::SceneError),
    /// A training run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Options of `finetune` that contradict each other.
    #[error("{reason}")]
    Finetune {
        /// Which, and why.
        reason: String,
    },
    /// The vocabulary of `train_embedded`.
    #[error("the vocabulary: {reason}")]
    Vocabulary {
        /// What `tokenizers` says.
        reason: String,
    },
    /// `finetune --check` has found what cannot be trained on.
    #[error("{bad} of {records} records cannot be trained on")]
    BadRecords {
        /// How many.
        bad: usize,
        /// Of how many.
        records: usize,
    },
    /// Ctrl-C has ended a training run.
    #[error("interrupted; {kept}")]
    Interrupted {
        /// What there is of it, and how it goes on.
        kept: String,
    },
    /// A step of training.
    #[error(transparent)]
    Step(#[from] StepError),
    /// A file or folder.
    #[error("{}: {source}", path.display())]
    File {
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// An adapter without `--model`, whose base model is not at hand.
    #[error("the base model of {} is not at hand ({reason}): give it with --model FOLDER, or an id that is downloaded", adapter.display())]
    BaseModel {
        /// The adapter's folder.
        adapter: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A backend that this program was built without.
    #[error("this program was built without {backend}; build it with: {command} --example NAME")]
    NotBuiltIn {
        /// The backend.
        backend: &'static str,
        /// How to build it.
        command: &'static str,
    },
    /// A backend without Kiln, where its kernels are asked for.
    #[error("--backend {backend} has none of Kiln's kernels: give another one")]
    NoKernels {
        /// The backend.
        backend: &'static str,
    },
    /// `verify --techniques` on a backend without Kiln.
    #[error("--techniques turns Kiln's techniques on and off, and --backend {backend} has none: give another backend")]
    NoTechniques {
        /// The backend.
        backend: &'static str,
    },
    /// `KILN_ISA` names an instruction set that cannot be had.
    #[error(transparent)]
    Isa(#[from] kiln_kernels::simd::IsaError),
    /// `--gpu-memory` without a card.
    #[error(
        "--gpu-memory limits a card's memory, and --backend {backend} computes in host memory: give --memory-limit, or --backend wgpu or cuda"
    )]
    NoCard {
        /// The backend.
        backend: &'static str,
    },
    /// Standard output cannot be written: nobody reads it any more, or the disk is full.
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
    /// `verify --train` without a case that has a loss.
    #[error("{} has no case to train on: expected CASE.safetensors with labels and expect.loss", path.display())]
    NoTraining {
        /// The folder.
        path: PathBuf,
    },
    /// A file that would be overwritten.
    #[error("{} exists and is not overwritten: name another file, or remove it (describe: --force)", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// `--draw` with several pictures, or a video: boxes don't say which one they belong to.
    #[error("--draw needs one picture and no video, found {images} pictures and {videos} videos")]
    DrawOn {
        /// Pictures given.
        images: usize,
        /// Videos given.
        videos: usize,
    },
    /// `--draw` has nothing to draw.
    #[error("the answer has no box and no point, so {} was not written: ask for bbox_2d or point_2d coordinates in JSON", path.display())]
    NothingFound {
        /// The file that was asked for.
        path: PathBuf,
    },
    /// `--draw` has nothing that can be read.
    #[error("no box or point of the answer can be read, so {} was not written: {reason}", path.display())]
    NothingReadable {
        /// The file that was asked for.
        path: PathBuf,
        /// What is wrong with them.
        reason: String,
    },
    /// `--draw` to where nothing can be written.
    #[error("--draw cannot write {}: {reason}", path.display())]
    DrawTarget {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The drawing cannot be written.
    #[error("cannot write {}: {reason}", path.display())]
    Draw {
        /// The file.
        path: PathBuf,
        /// What the encoder or the system says.
        reason: String,
    },
    /// `--prompt -` with nothing on standard input.
    #[error("--prompt - found nothing on standard input: pipe a prompt into it")]
    NoPrompt,
    /// `--prompt -` with something else than UTF-8 on standard input.
    #[error("--prompt -: standard input is no UTF-8 text at byte {position}")]
    PromptEncoding {
        /// Where.
        position: usize,
    },
    /// A command of `chat` that cannot be done.
    #[error("{reason}")]
    Command {
        /// Which, and why.
        reason: String,
    },
    /// A file that holds no conversation.
    #[error("{} is no conversation: {reason}", path.display())]
    Conversation {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        reason: String,
    },
    /// The terminal, or Ctrl-C.
    #[error("the terminal: {reason}")]
    Terminal {
        /// What went wrong.
        reason: String,
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

impl Error {
    /// The exit status for scripts: 2 for wrong options, 3 for pictures, videos and prompts that cannot be used, 4 for
    /// an answer without the boxes that were asked for, 130 for a run that Ctrl-C has ended, 1 for everything else.
    pub fn exit_code(&self) -> u8 {
        use qwen3_vl_burn::Error::{Card, Checkpoint, Generate, Image, Input, Optimization, Prompt, Streaming};
        use qwen3_vl_burn::error::{CardError, CheckpointError, GenerateError, ImageError, PrefetchError, PromptError};
        match self {
            Self::Exists { .. } | Self::DrawOn { .. } | Self::DrawTarget { .. } | Self::BaseModel { .. } => 2,
            Self::NotBuiltIn { .. } | Self::NoCard { .. } | Self::NoKernels { .. } | Self::NoTechniques { .. } => 2,
            Self::Isa(_) | Self::Model(Optimization(_)) => 2,
            // --memory-limit, --gpu-memory and --dtype, which only the checkpoint and the backend can judge.
            Self::Model(Streaming(PrefetchError::LimitTooSmall { .. })) => 2,
            Self::Model(Card(CardError::LimitTooSmall { .. } | CardError::NoCard { .. })) => 2,
            Self::Model(Checkpoint(CheckpointError::BackendDtype { .. })) => 2,
            Self::Model(Image(ImageError::Option { .. })) => 2,
            Self::Model(Generate(GenerateError::Option { .. } | GenerateError::EmptyStopString { .. })) => 2,
            // The checkpoint's own files, not what was asked of it.
            Self::Model(Image(error)) if error.is_about_settings() => 1,
            Self::Model(Prompt(
                PromptError::Read { .. }
                | PromptError::TooLarge { .. }
                | PromptError::Json { .. }
                | PromptError::Tokenizer { .. }
                | PromptError::Decoder { .. }
                | PromptError::MissingToken { .. }
                | PromptError::Template { .. },
            )) => 1,
            Self::Model(Image(_) | Input(_) | Prompt(_)) => 3,
            Self::NoPrompt | Self::PromptEncoding { .. } => 3,
            Self::Run(error) => run_code(error),
            Self::Finetune { .. } => 2,
            Self::BadRecords { .. } => 3,
            Self::Interrupted { .. } => 130,
            Self::NothingFound { .. } | Self::NothingReadable { .. } => 4,
            _ => 1,
        }
    }
}

/// The exit status of a training run: 2 for options and folders, 3 for data.
fn run_code(error: &RunError) -> u8 {
    match error {
        RunError::Option { .. } | RunError::Parameters(_) | RunError::Plan(_) => 2,
        RunError::Lora(LoraError::Model(qwen3_vl_burn::Error::Adapter(_))) => 2,
        RunError::Lora(LoraError::Model(_)) => 1,
        RunError::Lora(LoraError::Write { .. }) => 1,
        RunError::Lora(_) => 2,
        RunError::NotARun { .. }
        | RunError::Occupied { .. }
        | RunError::Exists { .. }
        | RunError::NothingToResume { .. } => 2,
        #[cfg(feature = "distributed")]
        RunError::Nodes(error) => nodes_code(error),
        RunError::InUse { .. } | RunError::Changed { .. } => 2,
        RunError::Data(DataError::Option { .. } | DataError::Batch { .. }) => 2,
        RunError::Data(_) => 3,
        _ => 1,
    }
}

/// 2 for what was given wrongly, 1 for what others do.
#[cfg(feature = "distributed")]
fn nodes_code(error: &qwen3_vl_train::distributed::DistributedError) -> u8 {
    use qwen3_vl_train::distributed::DistributedError::{Address, Disagreement, Index, Port};
    match error {
        Address { .. } | Index { .. } | Port { .. } | Disagreement { .. } => 2,
        _ => 1,
    }
}

impl From<LoraError> for Error {
    fn from(error: LoraError) -> Self {
        Self::Run(error.into())
    }
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

impl From<qwen3_vl_burn::error::GenerateError> for Error {
    fn from(error: qwen3_vl_burn::error::GenerateError) -> Self {
        Self::Model(error.into())
    }
}
