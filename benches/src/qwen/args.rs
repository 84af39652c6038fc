//! The command line of `qwen`.

use bytesize::ByteSize;
use clap::{Parser, ValueEnum};
use kiln_kernels::Cores;
use std::path::PathBuf;

/// Measures a whole Qwen3-VL: the vision tower, prefill, decoding, memory; Kiln against plain Flex, HF transformers on
/// PyTorch, candle, llama.cpp and mistral.rs, and against the limit that memory bandwidth sets to decoding.
///
/// Every engine is a process of its own and gets the same prompt: one picture and some text. Kiln and one peer at a
/// time run in turn (A B A B); figures are medians, ratios are medians of the rounds' ratios, above 1 where Kiln is
/// ahead, over the rounds in which the cores were in about the same state for both (alone, or shared with a busy
/// hyperthread, gauged each 80 ms). Peers that are not there are named with the reason.
#[derive(Debug, Clone, Parser)]
#[command(name = "qwen")]
pub struct Args {
    /// Folder of a Qwen3-VL checkpoint. Without it, --make says which one is made
    #[arg(long, value_name = "DIR", required_unless_present_any = ["make", "worker"])]
    pub checkpoint: Option<PathBuf>,
    /// Makes a checkpoint of random weights at this size first: in --checkpoint, else in a folder for the run
    #[arg(long, value_enum, value_name = "SIZE")]
    pub make: Option<Make>,
    /// Where Kiln, plain Burn and PyTorch run. On a card no other peer does, no limit is known, and
    /// the peak of memory is the host's
    #[arg(long, value_enum, default_value = "cpu")]
    pub backend: Backend,
    /// The most of the card's memory that Kiln's weights may take, for example 2GiB: the rest is sent to it ahead of
    /// its use
    #[arg(long, value_name = "SIZE")]
    pub gpu_memory: Option<ByteSize>,
    /// Side of the picture, pixels; 0 for none
    #[arg(long, value_name = "PX", default_value_t = 512, value_parser = clap::value_parser!(u32).range(0..=8192))]
    pub image_px: u32,
    /// Tokens of text in the prompt
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub text_tokens: u32,
    /// Tokens to generate
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub new_tokens: u32,
    /// Type of the weights and the KV cache
    #[arg(long, value_enum, default_value = "bf16")]
    pub dtype: Dtype,
    /// Type that PyTorch runs in where it is faster in another one than --dtype: it emulates bf16 where the CPU, or
    /// --isa, has no bf16 products
    #[arg(long, value_enum, value_name = "DTYPE")]
    pub torch_dtype: Option<Dtype>,
    /// Rounds of each pair; the first, which warms up, is not counted
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(2..=100))]
    pub rounds: u32,
    /// Threads of every engine; one for each physical core if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub threads: Option<u32>,
    /// Instruction set of Kiln: portable, avx2, avx512, avx512bf16 or amx. avx2 and below hold PyTorch to AVX2 too
    #[arg(long, value_name = "TIER")]
    pub isa: Option<String>,
    /// Peers to run; all that are there if none is named
    #[arg(long, value_enum, value_name = "NAME", value_delimiter = ',')]
    pub peers: Vec<Peer>,
    /// Kiln alone
    #[arg(long, conflicts_with = "peers")]
    pub no_peers: bool,
    /// An `OptimizationConfig` (TOML or JSON) in place of the one for this machine
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The most memory that Kiln's weights may take, for example 2GiB: the rest is read from the checkpoint ahead of
    /// its use
    #[arg(long, value_name = "SIZE")]
    pub memory_limit: Option<ByteSize>,
    /// Kiln keeps the layers that were used last, in place of pinned ones and a ring that is read ahead
    #[arg(long, requires = "memory_limit")]
    pub keep_lru: bool,
    /// Measures each technique off in turn and on alone, Kiln only: a table, and with --record a plot. With
    /// --memory-limit, under that too, and there also as --keep-lru
    #[arg(long)]
    pub ablate: bool,
    /// Interpreter with torch and transformers
    #[arg(long, value_name = "PATH", env = "KILN_PYTHON", default_value = "python3")]
    pub python: PathBuf,
    /// llama.cpp's `llama-bench`, with the checkpoint as --gguf. It runs the instruction set that it was built for
    #[arg(long, value_name = "BIN", requires = "gguf")]
    pub llama_cpp: Option<PathBuf>,
    /// The checkpoint for llama.cpp
    #[arg(long, value_name = "FILE")]
    pub gguf: Option<PathBuf>,
    /// mistral.rs' `mistralrs-bench`
    #[arg(long, value_name = "BIN")]
    pub mistral_rs: Option<PathBuf>,
    /// One JSON object a line for each engine, in place of the table
    #[arg(long)]
    pub json: bool,
    /// Also writes the table as Markdown behind what FILE has; with --ablate, the plot beside it, as SVG
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Runs as this engine's process
    #[arg(long, value_enum, hide = true)]
    pub worker: Option<Worker>,
}

/// Sizes that can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Make {
    /// Qwen3-VL-2B: 4.3 GB as bf16
    #[value(name = "2b")]
    B2,
    /// Qwen3-VL-4B: 8.9 GB as bf16
    #[value(name = "4b")]
    B4,
    /// A sixteenth of the 2B model, of the same shape
    Mini,
}

/// Where engines run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// On the CPU
    Cpu,
    /// On a card through Vulkan; PyTorch through CUDA, if it is there (feature `wgpu`)
    Wgpu,
    /// On an NVIDIA card (feature `cuda`)
    Cuda,
}

impl Backend {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Wgpu => "wgpu",
            Self::Cuda => "cuda",
        }
    }
}

/// Types of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Dtype {
    /// Single precision
    F32,
    /// bfloat16
    Bf16,
}

impl Dtype {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }

    /// Burn's.
    pub fn burn(self) -> ::burn::tensor::DType {
        match self {
            Self::F32 => ::burn::tensor::DType::F32,
            Self::Bf16 => ::burn::tensor::DType::BF16,
        }
    }
}

/// Engines to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Peer {
    /// Burn without Kiln: Flex, its own CPU backend; on a card, CubeCL's backend
    #[value(alias = "burn")]
    Flex,
    /// HF transformers on PyTorch, as released, and with its patch embedding as a linear layer
    Torch,
    /// candle, f32 only (feature `peers`)
    Candle,
    /// llama.cpp, text only
    LlamaCpp,
    /// mistral.rs, text only
    MistralRs,
}

/// Engines that this program can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Worker {
    /// Kiln over Flex, or over CubeCL's backend
    Kiln,
    /// Plain Flex, or CubeCL's backend
    Flex,
    /// candle
    Candle,
}

impl Worker {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kiln => "kiln",
            Self::Flex => "flex",
            Self::Candle => "candle",
        }
    }
}

impl Args {
    /// What PyTorch runs in.
    pub fn torch_dtype(&self) -> Dtype {
        self.torch_dtype.unwrap_or(self.dtype)
    }

    /// Threads of every engine.
    pub fn thread_count(&self) -> usize {
        self.threads.map_or_else(|| Cores::detect().count, |threads| threads as usize)
    }

    /// Whether `peer` is to run.
    pub fn wants(&self, peer: Peer) -> bool {
        let runs_there = self.backend == Backend::Cpu || matches!(peer, Peer::Flex | Peer::Torch);
        !self.no_peers && runs_there && (self.peers.is_empty() || self.peers.contains(&peer))
    }

    /// What a row says of the hardware that its engine runs on: the instruction set, or how the card is reached.
    pub fn isa(&self) -> String {
        match self.backend {
            Backend::Cpu => self.isa.clone().unwrap_or_else(|| kiln_kernels::simd::Tier::best().to_string()),
            card => card.name().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
        assert!(Args::try_parse_from(["qwen"]).is_err(), "a checkpoint must be named or made");
        let args = Args::try_parse_from(["qwen", "--make", "mini", "--memory-limit", "2GiB"]).unwrap();
        assert_eq!(args.memory_limit, Some(ByteSize::gib(2)));
        assert!(args.wants(Peer::Torch));
        let args = Args::try_parse_from(["qwen", "--checkpoint", "x", "--peers", "flex"]).unwrap();
        assert!(args.wants(Peer::Flex) && !args.wants(Peer::Torch));
        let args = Args::try_parse_from(["qwen", "--make", "mini", "--backend", "wgpu"]).unwrap();
        assert!(args.wants(Peer::Flex) && args.wants(Peer::Torch) && !args.wants(Peer::Candle));
        assert_eq!(args.isa(), "wgpu");
    }
}
