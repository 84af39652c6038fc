//! The command line of `train`.

use crate::qwen::args::Dtype;
use bytesize::ByteSize;
use clap::{Parser, ValueEnum};
use kiln_kernels::Cores;
use std::path::PathBuf;

/// Measures steps of training (forward, backward, clipping, AdamW): Kiln against PyTorch (HF transformers, peft) and
/// plain Burn.
///
/// The model has random weights at the width of the released 2B model, with fewer layers, and its whole vocabulary. The
/// sample is one picture and text. Kiln and one peer at a time run in turn (A B A B); figures are medians, ratios are
/// medians of the rounds' ratios, above 1 where Kiln is ahead, over the rounds in which the cores were in about the
/// same state for both (alone, or shared with a busy hyperthread, gauged each 80 ms). Peers that are not there are
/// named with the reason.
#[derive(Debug, Clone, Parser)]
#[command(name = "train")]
pub struct Args {
    /// Folder of a checkpoint to train; without it one with random weights is made for the run
    #[arg(long, value_name = "DIR")]
    pub checkpoint: Option<PathBuf>,
    /// Decoder layers of the model that is made; the released one has 28
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=28))]
    pub text_layers: u32,
    /// Blocks of its vision tower; the released one has 24
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=24))]
    pub vision_layers: u32,
    /// What trains
    #[arg(long, value_enum, default_value = "full")]
    pub recipe: Recipe,
    /// f32, or bf16: products of bf16 with f32 master weights, as PyTorch's autocast; LoRA over a bf16 base
    #[arg(long, value_enum, default_value = "f32")]
    pub dtype: Dtype,
    /// Rank of LoRA's matrices, in all linear layers of the decoder
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub rank: u32,
    /// Side of the picture, pixels; 0 for none
    #[arg(long, value_name = "PX", default_value_t = 256, value_parser = clap::value_parser!(u32).range(0..=4096))]
    pub image_px: u32,
    /// Tokens of the sample, those of the picture included
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(8..=100_000))]
    pub tokens: u32,
    /// The most memory that training may take in Kiln, for example 8GiB: layers are recomputed as far as that needs
    #[arg(long, value_name = "SIZE")]
    pub memory_limit: Option<ByteSize>,
    /// Each layer is computed again in the backward pass, in Kiln and in PyTorch
    #[arg(long, conflicts_with = "memory_limit")]
    pub checkpointing: bool,
    /// Rounds of each pair; the first, which warms up, is not counted
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(2..=10_000))]
    pub rounds: u32,
    /// Threads of every engine; one for each physical core if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub threads: Option<u32>,
    /// Peers to run; all that are there if none is named
    #[arg(long, value_enum, value_name = "NAME", value_delimiter = ',')]
    pub peers: Vec<Peer>,
    /// Kiln alone
    #[arg(long, conflicts_with = "peers")]
    pub no_peers: bool,
    /// Interpreter with torch, transformers and peft
    #[arg(long, value_name = "PATH", env = "KILN_PYTHON", default_value = "python3")]
    pub python: PathBuf,
    /// One JSON object a line for each engine, in place of the table
    #[arg(long)]
    pub json: bool,
    /// Also writes the table as Markdown behind what FILE has
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Runs as this engine's process
    #[arg(long, value_enum, hide = true)]
    pub worker: Option<Worker>,
}

/// What trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Recipe {
    /// Every parameter
    Full,
    /// Low-rank matrices beside the frozen linear layers of the decoder
    Lora,
}

impl Recipe {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Lora => "lora",
        }
    }
}

/// Engines to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Peer {
    /// HF transformers on PyTorch, eager, with SDPA and with its eager attention
    Torch,
    /// `Autodiff<Flex>`: the same model on compositions of Burn's own ops
    Flex,
}

/// Engines that this program can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Worker {
    /// `Autodiff<Kiln<Flex>>`
    Kiln,
    /// `Autodiff<Flex>`
    Flex,
}

impl Worker {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kiln => "kiln",
            Self::Flex => "flex",
        }
    }
}

impl Args {
    /// Threads of every engine.
    pub fn thread_count(&self) -> usize {
        self.threads.map_or_else(|| Cores::detect().count, |threads| threads as usize)
    }

    /// Whether `peer` is to run.
    pub fn wants(&self, peer: Peer) -> bool {
        !self.no_peers && (self.peers.is_empty() || self.peers.contains(&peer))
    }
}
