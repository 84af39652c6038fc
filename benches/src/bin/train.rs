//! Steps of training against PyTorch and plain Burn: `train --help`.

use clap::Parser;
use kiln_benches::machine::Machine;
use kiln_benches::program;
use kiln_benches::train::args::Args;
use kiln_benches::train::{Result, report, session, worker};
use qwen3_vl_burn::Qwen3VlConfig;
use qwen3_vl_burn::checkpoint::{RandomOptions, progress_bar, write_random_with};
use qwen3_vl_burn::config::ReleasedSize;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = Args::parse();
    program::main("train", args.worker, |worker| worker::serve(worker, &args), || run(&args))
}

fn run(args: &Args) -> Result<()> {
    let folder;
    let dir: PathBuf = match &args.checkpoint {
        Some(dir) => dir.clone(),
        None => {
            folder = tempfile::tempdir()?;
            make(args, folder.path())?;
            folder.path().to_owned()
        }
    };
    let bar = program::start_spinner();
    let rows = session::run(args, &dir, &mut |what| bar.set_message(what.to_owned()))?;
    bar.finish_and_clear();
    if args.json {
        for row in &rows {
            println!("{}", serde_json::to_string(row)?);
        }
    }
    let mut facts: Vec<&str> = rows.iter().flat_map(|row| row.facts.iter().map(String::as_str)).collect();
    facts.sort_unstable();
    facts.dedup();
    let table = format!("{}\n\n{}", facts.join("; "), report::render(&rows, args.tokens));
    let machine = Machine::detect().describe();
    if !args.json {
        println!("{machine}\n\n{table}");
    }
    if let Some(path) = &args.record {
        let date = time::OffsetDateTime::now_utc().date();
        let model = match &args.checkpoint {
            Some(_) => "a checkpoint".to_owned(),
            None => format!("2B width, {} decoder layers, {} vision blocks", args.text_layers, args.vision_layers),
        };
        let (recipe, dtype) = (args.recipe.name(), args.dtype.name());
        let recomputed = if args.checkpointing { ", layers recomputed" } else { "" };
        let text = format!(
            "\n## {recipe}, {dtype}, {model}, {} tokens, a picture of {} px, {} threads{recomputed}, {date}\n\n\
             {machine}\n\n{table}",
            args.tokens,
            args.image_px,
            args.thread_count(),
        );
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
        file.write_all(text.as_bytes())?;
    }
    Ok(())
}

/// Writes a checkpoint of random weights.
fn make(args: &Args, dir: &Path) -> Result<()> {
    let mut config = Qwen3VlConfig::released(ReleasedSize::B2);
    config.text.num_hidden_layers = args.text_layers as usize;
    config.vision.depth = args.vision_layers as usize;
    // Taps as far apart as the released ones, and no more than decoder layers take.
    let taps = 3.min(args.vision_layers).min(args.text_layers) as usize;
    config.vision.deepstack_visual_indexes = (1..=taps).map(|i| i * config.vision.depth / taps - 1).collect();
    let options = RandomOptions { progress: Box::new(progress_bar()), ..RandomOptions::new(args.dtype.burn(), 0) };
    Ok(write_random_with(&config, dir, options)?)
}
