//! Writes a checkpoint with an adapter merged into it.

use clap::Parser;
use kiln_examples::{Error, program, say, scratch};
use qwen3_vl_burn::checkpoint::{MergedCheckpoint, progress_bar};
use qwen3_vl_burn::hub::{HubOptions, download_bar, resolve};
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

/// Merge a LoRA adapter into its base model and write the result as a checkpoint
///
/// The checkpoint has the released layout, the files and dtypes of the base model, and copies of its settings,
/// tokenizer and chat template; HF transformers and all programs here load it. It is written beside its place and gets
/// its name when it is complete.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Folder of the base model, or its Hugging Face id
    #[arg(long, value_name = "FOLDER|ID")]
    model: OsString,
    /// Folder of a PEFT LoRA adapter
    #[arg(long, value_name = "FOLDER")]
    adapter: PathBuf,
    /// Folder to write, which must not exist
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Download nothing: use what was downloaded before
    #[arg(long)]
    offline: bool,
}

fn main() -> ExitCode {
    program::run(|arguments: Arguments| run(&arguments))
}

fn run(arguments: &Arguments) -> Result<(), Error> {
    let Arguments { model, adapter, out, offline } = arguments;
    if out.symlink_metadata().is_ok() {
        return Err(Error::Exists { path: out.clone() });
    }
    let mut options = HubOptions::from_env().with_progress(download_bar());
    options.offline |= offline;
    let merge = MergedCheckpoint::prepare(resolve(model, &options)?, adapter, out)?;
    scratch::remove_with_it(merge.staging());
    let report = merge.write(&mut progress_bar())?;
    let (files, bytes) = (report.files, bytesize::ByteSize(report.bytes));
    let files = if files == 1 { "1 file".to_owned() } else { format!("{files} files") };
    say!("{}: {} of {} tensors merged, {bytes} in {files}", out.display(), report.merged, report.tensors)
}
