//! Trains the model that is inside the programs, from random weights: vocabulary, three stages, bf16.

mod stages;
mod start;
mod train;
mod vocabulary;

use clap::Parser;
use kiln_examples::program;
use std::path::PathBuf;
use std::process::ExitCode;

/// Train the small Qwen3-VL of these programs from scratch, on pictures that are drawn while it trains
///
/// Ctrl-C saves; the same command goes on where it stopped.
#[derive(Parser)]
#[command(version, name = "train_embedded")]
struct Arguments {
    /// Of the weights, of the pictures and of their order
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder of the runs and of the model
    #[arg(long, default_value = "embedded")]
    out: PathBuf,
    /// How much is trained: a part of the samples of each stage
    #[arg(long, default_value_t = 1.0, value_parser = read_scale)]
    scale: f64,
    /// Save every so many steps
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..))]
    save_every: u64,
    /// Evaluate every so many steps
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..))]
    eval_every: u64,
}

fn read_scale(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(scale) if scale > 0.0 && scale <= 100.0 => Ok(scale),
        _ => Err("expected a number above 0, at most 100".to_owned()),
    }
}

fn main() -> ExitCode {
    program::run(|arguments: Arguments| train::run(&arguments))
}
