//! Kernels against the machine's limits and against other libraries: `kernels --help`.

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use kiln_benches::args::{Args, Isa};
use kiln_benches::case::Case;
use kiln_benches::machine::Machine;
use kiln_benches::measure::Effort;
use kiln_benches::peaks::Peaks;
use kiln_benches::row::Row;
use kiln_benches::session::Session;
use kiln_benches::table;
use kiln_benches::torch::{Launch, SCRIPT, Torch};
use std::process::ExitCode;
use std::time::Duration;

/// Longer than any case takes on a small machine: attention of 8192 positions is some seconds.
const TIMEOUT: Duration = Duration::from_secs(180);

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kernels: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    let cases = args.cases();
    if cases.is_empty() {
        return Err("no case is left: see --list for operations and shapes".into());
    }
    if args.list {
        for case in &cases {
            println!("{:<11} {:<5} {}", case.op, case.dtype, case.label());
        }
        return Ok(());
    }
    // A panic of a peer is a failure in its column, not a report on the screen.
    std::panic::set_hook(Box::new(|_| {}));
    let isa = args.isa.unwrap_or_else(Isa::best);
    let machine = Machine::detect();
    let mut rows = Vec::new();
    let mut said = vec![format!("machine: {}", machine.describe())];
    said.push(format!(
        "gemm crate and Flex: {}",
        if cfg!(feature = "x86-v4") { "up to AVX-512" } else { "held to AVX2 (built without x86-v4)" }
    ));
    for threads in args.thread_counts() {
        eprintln!("measuring the peaks of {threads} threads, {}", isa.tier);
        let mut session = Session::start(isa, threads, args.caches, Effort::of_seconds(args.seconds), None)?;
        session.torch = start_torch(args, isa, threads);
        said.push(describe_peaks(&session.peaks));
        said.push(session.torch.describe());
        if args.json {
            print_json(&serde_json::json!({ "op": "machine", "machine": machine, "peaks": session.peaks }))?;
        }
        measure(args, &cases, &mut session, &mut rows)?;
    }
    if !args.json {
        for line in &said {
            println!("{line}");
        }
        println!("\n{}\n{}", table::render(&rows), table::describe_missing(&rows));
    }
    Ok(())
}

/// Runs the cases, with a bar on stderr.
fn measure(args: &Args, cases: &[Case], session: &mut Session, rows: &mut Vec<Row>) -> Result<(), serde_json::Error> {
    let style = ProgressStyle::with_template("{pos}/{len} [{elapsed_precise} of about {duration_precise}] {msg}");
    let bar = ProgressBar::new(cases.len() as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    for case in cases {
        bar.set_message(format!("{} {} {}", case.op, case.dtype, case.label()));
        let row = session.measure(case);
        if args.json {
            bar.suspend(|| print_json(&row))?;
        }
        rows.push(row);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

fn print_json(value: &impl serde::Serialize) -> Result<(), serde_json::Error> {
    println!("{}", serde_json::to_string(value)?);
    Ok(())
}

fn start_torch(args: &Args, isa: Isa, threads: usize) -> Torch {
    if args.no_torch {
        return Torch::absent("left out (--no-torch)");
    }
    Torch::start(Launch {
        python: args.python(),
        script: SCRIPT.into(),
        threads,
        avx2: isa.is_held(),
        timeout: TIMEOUT,
    })
}

fn describe_peaks(peaks: &Peaks) -> String {
    let memory = peaks.memory;
    let streaming =
        memory.copy_streaming.map_or(String::new(), |rate| format!(", {rate:.1} GB/s with non-temporal stores"));
    let bf16 = peaks.bf16.as_ref().map_or(String::new(), |p| format!(", {} {:.0} GFLOP/s", p.instruction, p.gflops));
    format!(
        "{} threads, {}: fma {:.0} GFLOP/s{bf16}; read {:.1} GB/s; copy {:.1} GB/s{streaming}",
        peaks.threads, peaks.isa, peaks.fma, memory.read, memory.copy
    )
}
