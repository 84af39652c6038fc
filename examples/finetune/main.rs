//! Fine-tunes Qwen3-VL on one's own conversations: all weights, parts of them, or adapters (LoRA).

mod args;
mod data;
mod nodes;
mod recipe;
mod report;
mod resume;
mod train;

use args::FinetuneArgs;
use clap::Parser;
use kiln_examples::program;
use std::process::ExitCode;

/// Fine-tune Qwen3-VL on your own conversations
///
/// Without an option it trains the checkpoint inside the program on the data inside it, for a first look: the weights
/// are random, the loss goes down, and nothing is kept. docs/training.md tells how data look and what to choose.
///
/// Exit status: 0 when the run has ended, 1 for a model or a disk that cannot be used and for a loss that is no number,
/// 2 for wrong options, 3 for data that cannot be used (with --check: for a bad record), 130 when Ctrl-C has ended it;
/// the step at hand is finished and saved, unless Ctrl-C comes twice.
#[derive(Parser)]
#[command(version, name = "finetune")]
struct Arguments {
    #[command(flatten)]
    finetune: FinetuneArgs,
}

fn main() -> ExitCode {
    program::run(|arguments: Arguments| train::run(&arguments.finetune))
}
