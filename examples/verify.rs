//! Runs a checkpoint against reference outputs of HF transformers.

use clap::Parser;
use kiln_examples::backend::Place;
use kiln_examples::verify::{check_checkpoint, check_processor, check_techniques, check_training, has_processor_cases};
use kiln_examples::{Error, program, say};
use std::path::PathBuf;
use std::process::ExitCode;

/// Compare a Qwen3-VL checkpoint, or its processor alone, with what HF transformers computes
///
/// DIR holds a checkpoint and, for each case, CASE.safetensors with input_ids, pixel values, grids and expect.*
/// tensors, and the pictures it was made from. Or it holds cases.json with messages and the prompts they become,
/// CASE.safetensors and pictures: then prompts, ids, sampling of videos and pixels are compared, without a model. The
/// exit status is 1 when a stage fails, 2 when something cannot be run.
#[derive(Parser)]
struct Arguments {
    /// Folder of the checkpoint and its cases, or of cases.json
    dir: PathBuf,
    /// Folder of tokenizer.json or tokenizer.json.gz, or the file, for cases.json; DIR if not given
    #[arg(long, value_name = "DIR")]
    tokenizer: Option<PathBuf>,
    /// Folder of a PEFT LoRA adapter, which is merged into the weights: the cases must have been made with it
    #[arg(long, value_name = "FOLDER")]
    adapter: Option<PathBuf>,
    /// Check every technique: all of them, none, each left out, each alone. Kiln's backends only
    #[arg(long)]
    techniques: bool,
    /// Check training: the loss, gradients and their norms of each case that has them, with every layer's tape kept and
    /// with every layer computed twice
    #[arg(long, conflicts_with_all = ["techniques", "adapter"])]
    train: bool,
    #[command(flatten)]
    place: Place,
}

fn main() -> ExitCode {
    program::run_checks(run)
}

/// Runs what the folder has cases for and prints the tables; returns how many stages failed.
fn run(arguments: Arguments) -> Result<usize, Error> {
    let (dir, adapter) = (&arguments.dir, arguments.adapter.as_deref());
    let mut failed = 0;
    if has_processor_cases(dir) {
        say!("{}, the processor alone", dir.display())?;
        let report = check_processor(dir, arguments.tokenizer.as_deref())?;
        say!("{report}")?;
        failed += report.failed();
    } else if dir.is_dir() && !dir.join("config.json").is_file() {
        return Err(Error::NothingToVerify { path: dir.clone() });
    }
    if arguments.train {
        let report = check_training(dir, &arguments.place)?;
        say!("{report}")?;
        failed += report.failed();
    } else if arguments.techniques {
        check_techniques(dir, adapter, &arguments.place, |name, report| {
            let verdict = if report.failed() == 0 {
                "passes".to_owned()
            } else {
                format!("{} FAILED\n{report}", report.failed())
            };
            failed += report.failed();
            say!("{name}: {} stages, {verdict}", report.rows().len())
        })?;
    } else if dir.join("config.json").is_file() || !dir.is_dir() {
        let report = check_checkpoint(dir, adapter, &arguments.place)?;
        say!("{report}")?;
        failed += report.failed();
    }
    Ok(failed)
}
