//! A whole Qwen3-VL against the machine's limit and other engines: `qwen --help`.

use clap::Parser;
use kiln_benches::machine::Machine;
use kiln_benches::program;
use kiln_benches::qwen::args::{Args, Backend, Make};
use kiln_benches::qwen::session::Session;
use kiln_benches::qwen::{Result, ablate, plot, report, worker};
use qwen3_vl_burn::Qwen3VlConfig;
use qwen3_vl_burn::checkpoint::{RandomOptions, progress_bar, write_random_with};
use qwen3_vl_burn::config::{ReleasedSize, TextConfig, VisionConfig};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = Args::parse();
    program::main("qwen", args.worker, |worker| worker::serve(worker, &args), || run(&args))
}

fn run(args: &Args) -> Result<()> {
    let folder;
    let dir: PathBuf = match (&args.checkpoint, args.make) {
        (Some(dir), None) => dir.clone(),
        (Some(dir), Some(size)) => {
            make(size, args, dir)?;
            dir.clone()
        }
        (None, Some(size)) => {
            folder = tempfile::tempdir()?;
            make(size, args, folder.path())?;
            folder.path().to_owned()
        }
        (None, None) => return Err("--checkpoint or --make is needed".into()),
    };
    let bar = program::start_spinner();
    let mut tell = |what: &str| bar.set_message(what.to_owned());
    let machine = Machine::detect();
    let (table, plot) = if args.ablate {
        let results = ablate::run(args, &dir, &mut tell)?;
        bar.finish_and_clear();
        if args.json {
            results.iter().try_for_each(print_json)?;
        }
        let title = format!("{}, {}, {} threads", machine.cpu, args.dtype.name(), args.thread_count());
        (ablate::render(&results), Some(plot::render(&results, &title)))
    } else {
        let mut session = Session::new(args, &dir)?;
        let workload = *session.workload();
        let rows = session.run(&mut tell)?;
        bar.finish_and_clear();
        if args.json {
            rows.iter().try_for_each(print_json)?;
        }
        let facts: Vec<String> = rows.iter().flat_map(|row| row.facts.clone()).collect();
        let mut facts: Vec<&str> = facts.iter().map(String::as_str).collect();
        facts.dedup();
        let head = format!(
            "{} tokens of prompt, {} of them of a picture of {} px; {} new tokens. {}\n\n",
            workload.prompt_tokens(),
            if workload.side > 0 { workload.image_tokens() } else { 0 },
            args.image_px,
            workload.new,
            facts.join("; ")
        );
        (head + &report::render(&rows), None)
    };
    if !args.json {
        println!("{}\n\n{table}", machine.describe());
    }
    if let Some(path) = &args.record {
        record(path, args, &machine, &table, plot.as_deref())?;
    }
    Ok(())
}

fn print_json(value: &impl serde::Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(value)?);
    Ok(())
}

/// Adds the table to `path`, and writes the plot beside it.
fn record(path: &Path, args: &Args, machine: &Machine, table: &str, plot: Option<&str>) -> Result<()> {
    let date = time::OffsetDateTime::now_utc().date();
    let size = match args.make {
        Some(Make::B2) => "2B, random weights",
        Some(Make::B4) => "4B, random weights",
        Some(Make::Mini) => "mini, random weights",
        None => "a checkpoint",
    };
    let kind = if args.ablate { "ablation, " } else { "" };
    let isa = match args.backend {
        Backend::Cpu => args.isa.as_deref().unwrap_or("the best tier"),
        card => card.name(),
    };
    let mut text = format!(
        "\n## {kind}{size}, {}, {isa}, {} threads, {date}\n\n{}\n\n{table}",
        args.dtype.name(),
        args.thread_count(),
        machine.describe()
    );
    if let Some(svg) = plot {
        let file = path.with_extension("svg");
        std::fs::write(&file, svg)?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        text += &format!("\n![The same as bars]({name})\n");
    }
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}

/// Writes a checkpoint of random weights, unless `dir` has the same already.
fn make(size: Make, args: &Args, dir: &Path) -> Result<()> {
    let config = match size {
        Make::B2 => Qwen3VlConfig::released(ReleasedSize::B2),
        Make::B4 => Qwen3VlConfig::released(ReleasedSize::B4),
        Make::Mini => mini(),
    };
    if dir.join("config.json").is_file() && Qwen3VlConfig::from_dir(dir)? == config {
        return Ok(());
    }
    let options = RandomOptions { progress: Box::new(progress_bar()), ..RandomOptions::new(args.dtype.burn(), 0) };
    Ok(write_random_with(&config, dir, options)?)
}

/// A sixteenth of the 2B model.
fn mini() -> Qwen3VlConfig {
    let text = TextConfig::new(32_000, 512, 1536, 14, 8, 4, 64, [12, 10, 10], true);
    let vision = VisionConfig::new(12, 384, 1536, 6, 512, vec![2, 5, 8]);
    Qwen3VlConfig::new(text, vision, 31_990, 31_991, 31_992, 31_993)
}
