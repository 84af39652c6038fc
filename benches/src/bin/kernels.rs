//! Kernels against the machine's limits and against other libraries: `kernels --help`.

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use kiln_benches::args::Args;
use kiln_benches::case::{Case, Dtype, Op, Shape};
use kiln_benches::engines::{Peer, hide_panics_of_engines};
use kiln_benches::isa::Isa;
use kiln_benches::machine::Machine;
use kiln_benches::measure::Effort;
use kiln_benches::peaks::Peaks;
use kiln_benches::pieces::Pieces;
use kiln_benches::report::{HEADER, Record, Report, describe_command};
use kiln_benches::session::Session;
use kiln_benches::torch::{Launch, SCRIPT, Torch, TorchDevice};
use kiln_benches::{cachegrind, summary};
use serde_json::json;
use std::error::Error;
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

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    if let Some(loops) = args.cachegrind {
        return Ok(args.op.iter().try_for_each(|&op| cachegrind::run(op, loops))?);
    }
    if !args.rows.is_empty() {
        return show_pieces(args);
    }
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
    hide_panics_of_engines();
    let isa = args.isa.unwrap_or_else(Isa::best);
    let machine = Machine::detect();
    let mut report = Report::new(&machine);
    let record = args.record.as_deref().map(|path| Record::open(path, HEADER, command())).transpose()?;
    let mut earlier: Option<Session> = None;
    for threads in args.thread_counts() {
        eprintln!("measuring the peaks of {threads} threads, {}", isa.tier);
        let mut session =
            Session::start(isa, threads, args.caches, Effort::of_seconds(args.seconds), earlier.as_ref())?;
        session.wait_for(args.wait());
        session.peers = args.peers();
        session.torch = start_torch(args, isa, threads);
        report.facts.push(session.torch.describe());
        explain_torch(&cases, &mut session, &mut report);
        if args.json {
            print_json(&describe_machine(&machine, &session.peaks, &report))?;
        }
        measure(args, &cases, &mut session, &mut report, record.as_ref())?;
        // Only now: rounds may have seen more than the tries before them.
        report.add_peaks(&session.peaks);
        session.torch = Torch::absent("ended");
        earlier = Some(session);
    }
    if !args.json {
        println!("{}", report.render(args.summary));
    } else if args.summary {
        eprintln!("{}", summary::render(&summary::judge(&report.rows)));
    }
    if let Some(record) = &record {
        record.write(&report.render(true))?;
    }
    Ok(())
}

/// The command line of this run.
fn command() -> String {
    describe_command("kernels", std::env::args())
}

/// The table of earlier runs.
fn show_pieces(args: &Args) -> Result<(), Box<dyn Error>> {
    let Pieces { report, commands } = Pieces::read(&args.rows)?;
    println!("{}", report.render(args.summary));
    if let Some(path) = &args.record {
        Record::open(path, HEADER, commands.join("`, `"))?.write(&report.render(true))?;
    }
    Ok(())
}

/// Runs the cases, with a bar on stderr.
fn measure(
    args: &Args,
    cases: &[Case],
    session: &mut Session,
    report: &mut Report,
    record: Option<&Record>,
) -> Result<(), Box<dyn Error>> {
    let style = ProgressStyle::with_template("{pos}/{len} [{elapsed_precise} of about {duration_precise}] {msg}");
    // One thread against one thread says nothing.
    let says_something = |case: &&Case| case.op != Op::Scaling || session.peaks.threads > 1;
    let cases: Vec<&Case> = cases.iter().filter(says_something).collect();
    let bar = ProgressBar::new(cases.len() as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    for case in cases {
        bar.set_message(format!("{} {} {}", case.op, case.dtype, case.label()));
        let row = session.measure(case);
        if args.json {
            bar.suspend(|| print_json(&row))?;
        }
        report.rows.push(row);
        if let Some(record) = record {
            record.write(&report.render(true))?;
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

fn print_json(value: &impl serde::Serialize) -> Result<(), serde_json::Error> {
    println!("{}", serde_json::to_string(value)?);
    Ok(())
}

/// The machine as an object with the fields of every other line: its limit is the peak of multiply-adds.
fn describe_machine(machine: &Machine, peaks: &Peaks, report: &Report) -> serde_json::Value {
    json!({
        "op": "machine", "shape": "", "dtype": "f32", "isa": peaks.isa, "threads": peaks.threads, "unit": "GFLOP/s",
        "kiln": null, "limit": peaks.fma, "peers": {}, "ratio": null,
        "machine": machine, "peaks": peaks, "facts": report.facts, "command": command(),
    })
}

fn start_torch(args: &Args, isa: Isa, threads: usize) -> Torch {
    if args.no_torch || !args.peers().contains(&Peer::Torch) {
        return Torch::absent("left out");
    }
    Torch::start(Launch {
        python: args.python(),
        script: SCRIPT.into(),
        threads,
        avx2: isa.is_held(),
        device: TorchDevice::Cpu,
        timeout: TIMEOUT,
    })
}

/// Finds out which kernels PyTorch's linear layers really ran, for each dtype that has some.
fn explain_torch(cases: &[Case], session: &mut Session, report: &mut Report) {
    if !session.torch.is_running() {
        return;
    }
    for dtype in Dtype::ALL {
        let is_linear = |case: &&Case| case.dtype == dtype && matches!(case.shape, Shape::Linear { .. });
        if !cases.iter().any(|case| is_linear(&case)) {
            continue;
        }
        let probe = Case { op: Op::Gemm, shape: Shape::Linear { m: 512, n: 1024, k: 1024 }, dtype, cold: false };
        for variant in ["torch", "torch prepacked"] {
            let ran = session.torch.explain(&probe, variant).unwrap_or_else(|failure| failure.to_string());
            report.facts.push(format!("{variant}, {dtype} linear ran: {ran}"));
        }
    }
}
