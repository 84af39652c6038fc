//! Whether planning makes an op slower: `planning --help`.

use burn_kiln_fusion::KernelConfig;
use clap::{Parser, ValueEnum};
use kiln_benches::case::Dtype;
use kiln_benches::isa::Isa;
use kiln_benches::machine::Machine;
use kiln_benches::planning::args::Args;
use kiln_benches::planning::compare::{Row, Settings, compare};
use kiln_benches::planning::products::{Group, list};
use kiln_benches::planning::table::render;
use kiln_benches::report::describe_command;
use kiln_kernels::Cores;
use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("planning: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let rows = if args.rows.is_empty() { measure(args)? } else { read(args)? };
    let table = render(&rows);
    if !args.json {
        println!("{table}");
    }
    if let Some(path) = &args.record {
        let command = describe_command("planning", std::env::args());
        let machine = Machine::detect().describe();
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        writeln!(file, "# What planning gives and takes\n\n`{command}`, {machine}\n\n{table}")?;
    }
    Ok(())
}

fn measure(args: &Args) -> Result<Vec<Row>, Box<dyn Error>> {
    let isa = args.isa.unwrap_or_else(Isa::best);
    let threads = args.threads.unwrap_or_else(|| Cores::detect().count);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    let mut base = KernelConfig::default();
    base.simd.isa = isa.choice;
    // Plans of this run only.
    let folder = tempfile::tempdir()?;
    let settings = Settings::new(&base, folder.path());
    let groups = if args.group.is_empty() { Group::value_variants() } else { &args.group };
    let dtypes = if args.dtype.is_empty() { &Dtype::ALL[..] } else { &args.dtype };
    let mut rows = Vec::new();
    for &group in groups {
        for product in dtypes.iter().flat_map(|&dtype| list(group, dtype)) {
            let row = pool.install(|| compare(product, &settings, &isa.tier.to_string(), threads, args.seconds))?;
            if args.json {
                println!("{}", serde_json::to_string(&row)?);
            }
            rows.push(row);
        }
    }
    Ok(rows)
}

/// The products of earlier runs.
fn read(args: &Args) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut rows = Vec::new();
    for path in &args.rows {
        let text = fs::read_to_string(path)?;
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            rows.push(serde_json::from_str(line).map_err(|error| format!("{}: {error}", path.display()))?);
        }
    }
    Ok(rows)
}
