//! Kiln and one peer at a time, in turn.

use super::Result;
use super::args::{Args, Peer, Worker};
use super::report::Row;
use super::workload::Workload;
use crate::measure::median;
use crate::state::{Span, Watch, part_alone, ratio_of_near};
use crate::torch::{Child, SETTLE};
use qwen3_vl_burn::Qwen3VlConfig;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// PyTorch's side.
const SCRIPT: &str = include_str!("../../peers/train_torch.py");

/// Longer than loading a checkpoint, or a step on a small machine, takes.
const TIMEOUT: Duration = Duration::from_secs(1800);

/// A running engine and what it did.
struct Client {
    child: Child,
    seconds: Vec<f64>,
    /// What the cores were in each step.
    spans: Vec<Span>,
    losses: Vec<f64>,
}

impl Client {
    fn start(worker: Worker, args: &Args, dir: &Path) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--worker", worker.name(), "--dtype", args.dtype.name(), "--recipe", args.recipe.name()]);
        command.arg("--checkpoint").arg(dir);
        command.args(["--rank", &args.rank.to_string(), "--image-px", &args.image_px.to_string()]);
        command.args(["--tokens", &args.tokens.to_string(), "--threads", &args.thread_count().to_string()]);
        if args.checkpointing {
            command.arg("--checkpointing");
        }
        if let Some(limit) = args.memory_limit {
            command.args(["--memory-limit", &limit.as_u64().to_string()]);
        }
        command.env("RAYON_NUM_THREADS", args.thread_count().to_string());
        Self::of(command, worker.name())
    }

    fn start_torch(args: &Args, dir: &Path, workload: &Workload) -> Result<Self> {
        let mut command = Command::new(&args.python);
        command.args(["-u", "-c", SCRIPT, &args.thread_count().to_string(), args.dtype.name(), args.recipe.name()]);
        command.arg(dir).arg(workload.to_json().to_string());
        command.env("OMP_NUM_THREADS", args.thread_count().to_string());
        Self::of(command, &args.python.to_string_lossy())
    }

    fn of(command: Command, name: &str) -> Result<Self> {
        let child = Child::spawn(command, name, TIMEOUT, TIMEOUT)?;
        Ok(Self { child, seconds: Vec::new(), spans: Vec::new(), losses: Vec::new() })
    }

    fn facts(&self) -> Vec<String> {
        let facts = self.child.greeting()["facts"].as_array().cloned().unwrap_or_default();
        facts.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    fn ask(&mut self, request: Value) -> Result<Value> {
        let reply = self.child.ask(&request);
        std::thread::sleep(SETTLE);
        Ok(reply?)
    }

    fn step(&mut self, watch: &Watch) -> Result<()> {
        let began = Instant::now();
        let reply = self.ask(json!({ "do": "step" }))?;
        let number = |field: &str| {
            let found = reply[field].as_f64().filter(|value| value.is_finite());
            found.ok_or_else(|| format!("the engine told no {field}: {reply}"))
        };
        self.seconds.push(number("step_s")?);
        self.spans.push(watch.between(began, Instant::now()));
        self.losses.push(number("loss")?);
        Ok(())
    }

    fn row(&mut self, engine: &str) -> Row {
        let peak_bytes = self.ask(json!({ "do": "peak" })).ok().and_then(|reply| reply["bytes"].as_u64());
        let ends = self.losses.first().zip(self.losses.last());
        Row {
            engine: engine.to_owned(),
            step_s: median(self.seconds.get(1..).unwrap_or_default()),
            alone: part_alone(self.spans.iter().skip(1)),
            losses: ends.map(|(&first, &last)| [first, last]),
            peak_bytes,
            ratio: None,
            loss_difference: None,
            facts: self.facts(),
            missing: None,
        }
    }
}

/// Runs everything that is there: a row for Kiln, and one for each way of each peer. Every pair starts Kiln anew, so
/// that both take the same steps. `tell` hears what is done next.
///
/// # Errors
/// Kiln's own: a peer's failure is its row.
pub fn run(args: &Args, dir: &Path, tell: &mut dyn FnMut(&str)) -> Result<Vec<Row>> {
    let workload = Workload::new(args, &Qwen3VlConfig::from_dir(dir)?)?;
    let watch = Watch::start(args.thread_count());
    let mut rows = Vec::new();
    let mut peers = Vec::new();
    if args.wants(Peer::Torch) {
        peers.push(("torch, sdpa", Some("sdpa")));
        peers.push(("torch, eager attention", Some("eager")));
    }
    if args.wants(Peer::Flex) {
        peers.push(("plain flex", None));
    }
    if peers.is_empty() {
        tell("kiln runs");
        let mut kiln = Client::start(Worker::Kiln, args, dir)?;
        (0..args.rounds).try_for_each(|_| kiln.step(&watch))?;
        rows.push(kiln.row("kiln"));
    }
    for (name, attention) in peers {
        tell(&format!("kiln and {name} run in turn"));
        let mut kiln = Client::start(Worker::Kiln, args, dir)?;
        let peer = run_peer((args, dir), &workload, &mut kiln, (name, attention), &watch);
        if !kiln.seconds.is_empty() {
            rows.push(kiln.row(&format!("kiln, beside {name}")));
        }
        rows.push(peer.unwrap_or_else(|error| Row::missing(name, error.to_string())));
    }
    Ok(rows)
}

fn run_peer(
    (args, dir): (&Args, &Path),
    workload: &Workload,
    kiln: &mut Client,
    (name, attention): (&str, Option<&str>),
    watch: &Watch,
) -> Result<Row> {
    let mut peer = match attention {
        None => Client::start(Worker::Flex, args, dir)?,
        Some(attention) => {
            let mut torch = Client::start_torch(args, dir, workload)?;
            torch.ask(json!({ "do": "form", "attention": attention, "checkpointing": args.checkpointing }))?;
            torch
        }
    };
    for _ in 0..args.rounds {
        kiln.step(watch)?;
        peer.step(watch)?;
    }
    // The first step warms up.
    let list = |client: &Client| -> Vec<(f64, Span)> {
        client.seconds.iter().copied().zip(client.spans.iter().copied()).skip(1).collect()
    };
    let ratio = ratio_of_near(&list(kiln), &list(&peer));
    let apart = |(theirs, ours): (&f64, &f64)| ((theirs - ours) / ours).abs();
    let difference = peer.losses.iter().zip(&kiln.losses).map(apart).fold(0.0, f64::max);
    Ok(Row { ratio, loss_difference: Some(difference), ..peer.row(name) })
}
