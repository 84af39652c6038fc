//! The options of `finetune`.
//!
//! What a run goes on with is what it began with, so options have no default values here: what isn't given is that of
//! the run that is resumed, or of the recipe ([`super::recipe`]).

use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use kiln_examples::backend::Dtype;
use std::ffi::OsString;
use std::path::PathBuf;

/// How much of the model trains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Train {
    /// Small matrices beside frozen weights.
    Lora,
    /// The weights themselves.
    Full,
}

/// The learning rate over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ScheduleKind {
    /// Down to 0 along half a cosine.
    Cosine,
    /// Down to 0 along a line.
    Linear,
    /// As it is.
    Constant,
}

/// All of them.
#[derive(Debug, Clone, Args)]
pub struct FinetuneArgs {
    /// Which checkpoint.
    #[command(flatten)]
    pub model: BaseArgs,
    /// Which data.
    #[command(flatten)]
    pub data: DataArgs,
    /// What trains.
    #[command(flatten)]
    pub trained: TrainedArgs,
    /// How.
    #[command(flatten)]
    pub steps: StepArgs,
    /// What is kept.
    #[command(flatten)]
    pub run: RunArgs,
    /// Where it runs.
    #[command(flatten)]
    pub machine: MachineArgs,
    /// With whom.
    #[command(flatten)]
    pub nodes: NodeArgs,
}

/// What it begins with.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Model")]
pub struct BaseArgs {
    /// Folder of a Qwen3-VL checkpoint, or its Hugging Face id (Qwen/Qwen3-VL-2B-Instruct), which is downloaded once.
    /// Without it, a small checkpoint inside the program, of random weights
    #[arg(long, value_name = "FOLDER|ID")]
    pub model: Option<OsString>,
    /// Branch, tag or commit of a Hugging Face id
    #[arg(long, value_name = "NAME")]
    pub revision: Option<String>,
    /// Download nothing: use what was downloaded before
    #[arg(long)]
    pub offline: bool,
}

/// Which conversations.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Data")]
pub struct DataArgs {
    /// Conversations, JSONL or JSON: LLaVA's (`conversations`, `image`) or `messages` with `images`, `videos` and
    /// `objects`; several may be given. Without it, a small data set inside the program
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub data: Vec<PathBuf>,
    /// Conversations to measure the loss on, that are not trained on
    #[arg(long, value_name = "FILE")]
    pub eval: Option<PathBuf>,
    /// What paths of pictures and videos are relative to [default: the folder of each file]
    #[arg(long, value_name = "FOLDER")]
    pub media_root: Option<PathBuf>,
    /// Most pixels of a picture or frame; larger ones are scaled down [default: 50176]
    #[arg(long, value_name = "PIXELS", value_parser = read_count)]
    pub max_pixels: Option<usize>,
    /// Longest conversation, in tokens; a longer one is a bad record [default: 4096, or --batch-tokens]
    #[arg(long, value_name = "TOKENS", value_parser = read_count)]
    pub max_tokens: Option<usize>,
    /// Leave bad records out in place of ending at the first
    #[arg(long)]
    pub skip_bad: bool,
    /// Read all data, say what is in them and what is wrong with them, and train nothing
    #[arg(long)]
    pub check: bool,
}

/// What trains.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "What trains")]
pub struct TrainedArgs {
    /// Small matrices beside the weights, or the weights themselves [default: lora]
    #[arg(long, value_enum)]
    pub train: Option<Train>,
    /// With --train full: the parts that train: vision, merger, text, embedding, head, all, or patterns of parameters'
    /// names (`*.layers.1?.*`); each may have a learning rate of its own (vision=2e-6) [default: merger,text]
    #[arg(long, value_name = "PART[=RATE]", value_delimiter = ',')]
    pub parts: Vec<String>,
    /// Rank of the matrices [default: 8]
    #[arg(long, value_name = "RANK")]
    pub lora_rank: Option<usize>,
    /// Their product is multiplied by alpha / rank [default: 32]
    #[arg(long, value_name = "ALPHA")]
    pub lora_alpha: Option<f64>,
    /// Share of their input that is dropped, 0 to below 1 [default: 0.05]
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    pub lora_dropout: Option<f64>,
    /// Layers that have them, as PEFT's target_modules: ends of names, all-linear, or a regular expression for whole
    /// names, such as `.*visual.*(qkv|proj)` [default: q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub lora_targets: Vec<String>,
    /// Multiply by alpha / √rank (rsLoRA)
    #[arg(long)]
    pub rslora: bool,
    /// Go on training the adapter in this folder, ours or PEFT's
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["lora_rank", "lora_alpha", "lora_dropout", "lora_targets", "rslora"])]
    pub adapter: Option<PathBuf>,
}

/// How it trains.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Steps")]
pub struct StepArgs {
    /// Passes over the data [default: 1]
    #[arg(long, value_name = "N", value_parser = read_count)]
    pub epochs: Option<usize>,
    /// Steps of the optimiser, in place of --epochs
    #[arg(long, value_name = "N", value_parser = read_count, conflicts_with = "epochs")]
    pub steps: Option<usize>,
    /// Conversations of a batch; they lie behind each other, without padding [default: 4]
    #[arg(long, value_name = "N", value_parser = read_count)]
    pub batch_size: Option<usize>,
    /// As many conversations to a batch as have so many tokens together, in place of --batch-size
    #[arg(long, value_name = "TOKENS", value_parser = read_count, conflicts_with = "batch_size")]
    pub batch_tokens: Option<usize>,
    /// Batches to a step: their gradients are added up [default: 1]
    #[arg(long, value_name = "N", value_parser = read_count)]
    pub accumulate: Option<usize>,
    /// Highest learning rate [default: 1e-5, with lora 1e-4]
    #[arg(long, value_name = "RATE", allow_negative_numbers = true)]
    pub lr: Option<f64>,
    /// Steps over which it rises from 0; below 1 a share of all steps [default: 0.03]
    #[arg(long, value_name = "STEPS", allow_negative_numbers = true)]
    pub warmup: Option<f64>,
    /// How it falls after that [default: cosine]
    #[arg(long, value_enum)]
    pub schedule: Option<ScheduleKind>,
    /// How much of a weight decays, times the learning rate; norms and biases don't [default: 0]
    #[arg(long, value_name = "DECAY", allow_negative_numbers = true)]
    pub weight_decay: Option<f64>,
    /// Gradients with a larger norm are scaled down to it; 0 for none [default: 1]
    #[arg(long, value_name = "NORM", allow_negative_numbers = true)]
    pub clip: Option<f64>,
    /// Number that fixes the order of the data, the adapters' first values and what dropout drops [default: 42]
    #[arg(long)]
    pub seed: Option<u64>,
}

/// What is measured and kept.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Run")]
pub struct RunArgs {
    /// Folder for checkpoints, metrics and the result; a new one, or that of a run to --resume
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// Go on from the last checkpoint in --out. What isn't given again is as it was
    #[arg(long, requires = "out")]
    pub resume: bool,
    /// Evaluate every so many steps [default: once an epoch]
    #[arg(long, value_name = "STEPS", value_parser = read_count)]
    pub eval_every: Option<usize>,
    /// End after so many evaluations without a better one
    #[arg(long, value_name = "N", value_parser = read_count)]
    pub patience: Option<usize>,
    /// Save a checkpoint every so many steps, besides that of the last [default: 200]
    #[arg(long, value_name = "STEPS", value_parser = read_count)]
    pub save_every: Option<usize>,
    /// Checkpoints that are kept, the newest [default: 2]
    #[arg(long, value_name = "N", value_parser = read_count)]
    pub keep: Option<usize>,
}

/// On what it trains.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Machine")]
pub struct MachineArgs {
    /// Type of frozen weights, and of weights that train while they are computed with (their master copy is f32); the
    /// stored one if not given
    #[arg(long, value_enum)]
    pub dtype: Option<Dtype>,
    /// Memory that a step may take, as `8GiB` or a number of bytes: what does not fit is computed twice. The plan is
    /// printed before the first step
    #[arg(long, value_name = "SIZE")]
    pub memory_limit: Option<ByteSize>,
    /// The same sums in the same order each time, so that a resumed run has the losses of one that was never
    /// interrupted, bit for bit
    #[arg(long)]
    pub deterministic: bool,
    /// Threads; one for each physical core if not given, and at most eight for each logical CPU
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// An `OptimizationConfig` (TOML or JSON) for Kiln's kernels; without it, the file that KILN_CONFIG names, else
    /// what suits this machine
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// The other machines.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Several machines (feature `distributed`)")]
pub struct NodeArgs {
    /// The number of this process among those that train together, from 0. Each takes its share of the batches of a
    /// step, so --accumulate is a multiple of --nodes; each has its own --out, and the same data and options
    #[arg(long, value_name = "I", requires_all = ["nodes", "orchestrator"])]
    pub node: Option<u32>,
    /// How many there are
    #[arg(long, value_name = "N", requires = "node")]
    pub nodes: Option<u32>,
    /// Where all of them reach node 0; it uses that port and the next one
    #[arg(long, value_name = "HOST:PORT", requires = "node")]
    pub orchestrator: Option<String>,
    /// Where the others reach this one, at that port and the next one [default: this machine, two ports for each node
    /// above the orchestrator's]
    #[arg(long, value_name = "HOST:PORT", requires = "node")]
    pub listen: Option<String>,
    /// Seconds to wait for the others in a step before they count as lost
    #[arg(long, value_name = "S", requires = "node", default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..))]
    pub node_timeout: u32,
}

/// A count, so that a wrong one is blamed on its option.
fn read_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..) => Ok(count),
        _ => Err("expected a whole number from 1".to_owned()),
    }
}
