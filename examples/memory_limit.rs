//! Measures a model whose weights are larger than their memory: pinned and streamed layers against demand faults and
//! against LRU.
//!
//! Demand faults: the checkpoint is mapped, and everything leaves memory before each pass, as it does by itself where
//! the page cache is smaller than what a pass reads in a cycle. LRU: whole layers in as many buffers as fit, the one
//! used the longest time ago evicted.

use burn_kiln_fusion::{FusedOps, TrainingOps};
use bytesize::ByteSize;
use clap::Parser;
use kiln_examples::backend::{Place, Program};
use kiln_examples::console::write_out;
use kiln_examples::{Error, program, say};
use kiln_kernels::prefetch::{Keep, drop_cached};
use qwen3_vl_burn::checkpoint::{progress_bar, write_random};
use qwen3_vl_burn::config::{MoeConfig, TextConfig, VisionConfig};
use qwen3_vl_burn::generate::{GenerateOptions, Session};
use qwen3_vl_burn::{Checkpoint, ModelInputs, Qwen3Vl, Qwen3VlConfig};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Measure prefill and decode under a memory limit
#[derive(Parser)]
struct Arguments {
    /// Folder of a checkpoint
    #[arg(long)]
    model: PathBuf,
    /// Write a checkpoint of random weights there first: 0.5 billion of them, 1 GB as bf16
    #[arg(long)]
    make: bool,
    /// With --make: layers of experts, of which each token uses an eighth
    #[arg(long, requires = "make")]
    experts: bool,
    /// Tokens of the prompt
    #[arg(long, default_value_t = 256)]
    prompt: u32,
    /// Tokens that are generated
    #[arg(long, default_value_t = 6)]
    tokens: usize,
    /// How often each way is measured; medians are shown
    #[arg(long, default_value_t = 2)]
    rounds: usize,
    #[command(flatten)]
    place: Place,
}

/// Ways to get on with less memory than weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Pinned layers, and a ring that is read ahead.
    Streamed,
    /// A cache of layers.
    Lru,
    /// The mapped file.
    Faults,
}

/// What one run took.
#[derive(Debug, Clone, Copy, Default)]
struct Times {
    prefill: Duration,
    /// One token, the first one left out: it teaches the order.
    token: Duration,
}

fn main() -> ExitCode {
    program::run(|arguments: Arguments| {
        if arguments.make {
            make(&arguments)?;
        }
        arguments.place.run(Measure(&arguments))
    })
}

fn make(arguments: &Arguments) -> Result<(), Error> {
    let mut text = TextConfig::new(32_000, 1024, 4096, 24, 16, 8, 128, [24, 20, 20], true);
    if arguments.experts {
        text.moe = Some(MoeConfig::new(32, 4, 192));
    }
    let vision = VisionConfig::new(2, 128, 256, 2, 1024, vec![0]);
    let config = Qwen3VlConfig::new(text, vision, 31_000, 31_001, 31_002, 31_003);
    Ok(write_random(&config, &arguments.model, burn_tensor::DType::BF16, 1)?)
}

struct Measure<'a>(&'a Arguments);

impl Program for Measure<'_> {
    type Out = ();

    fn run<B: TrainingOps>(self) -> Result<(), Error> {
        let arguments = self.0;
        let dir = &arguments.model;
        let checkpoint = Checkpoint::open(dir)?;
        let weights = checkpoint.total_bytes();
        let limit = arguments.place.memory_limit.unwrap_or(ByteSize(weights / 2));
        say!("{} of weights, limit {limit}, {} prompt tokens", ByteSize(weights), arguments.prompt)?;
        let ways = [Way::Streamed, Way::Lru, Way::Faults];
        let mut times: [Vec<Times>; 3] = Default::default();
        for _ in 0..arguments.rounds.max(1) {
            for (way, times) in ways.iter().zip(&mut times) {
                times.push(measure::<B>(arguments, *way, limit)?);
            }
        }
        let medians = times.map(|times| Times {
            prefill: median(times.iter().map(|times| times.prefill).collect()),
            token: median(times.iter().map(|times| times.token).collect()),
        });
        let ours = medians[0];
        for (way, Times { prefill, token }) in ways.iter().zip(medians) {
            let ratios =
                [prefill.as_secs_f64() / ours.prefill.as_secs_f64(), token.as_secs_f64() / ours.token.as_secs_f64()];
            say!("{way:?}: prefill {prefill:.2?} ({:.2}), a token {token:.2?} ({:.2})", ratios[0], ratios[1])?;
        }
        Ok(())
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn measure<B: FusedOps>(arguments: &Arguments, way: Way, limit: ByteSize) -> Result<Times, Error> {
    let dir = &arguments.model;
    let config = Qwen3VlConfig::from_dir(dir)?;
    let checkpoint = Checkpoint::open(dir)?;
    let mut options = arguments.place.load_options(None).with_progress(progress_bar());
    options.memory_limit = (way != Way::Faults).then_some(limit.as_u64());
    options.keep = if way == Way::Lru { Keep::Lru } else { Keep::Ring };
    drop_all(&checkpoint, dir)?;
    let model = Qwen3Vl::<B>::load_checkpoint(&config, &checkpoint, &Default::default(), options)?;
    let forget = || if way == Way::Faults { drop_all(&checkpoint, dir) } else { Ok(()) };

    let prompt = ModelInputs::from_text((0..arguments.prompt).map(|i| i * 97 % 30_000).collect());
    let options = GenerateOptions::new(arguments.tokens + 2);
    forget()?;
    let began = Instant::now();
    let prepared = Session::prepare(&model, &prompt, &options)?;
    let (mut session, _) = Session::start(&model, prepared, &options)?;
    let prefill = began.elapsed();
    forget()?;
    session.push(1)?;
    let before = model.streaming();
    let mut decode = Duration::ZERO;
    for token in 0..arguments.tokens {
        forget()?;
        let began = Instant::now();
        session.push(2 + token as u32)?;
        decode += began.elapsed();
    }
    let token = decode / arguments.tokens.max(1) as u32;
    write_out(format_args!("  {way:?}: prefill {prefill:.2?}, a token {token:.2?}"))?;
    if let Some((before, after)) = before.zip(model.streaming()) {
        let stats = after.stats.since(&before.stats);
        write_out(format_args!(
            ", hit rate {:.1} %, {} a token at {}/s, stalled {:.0} %, at most {} held",
            100.0 * stats.hit_rate(),
            ByteSize(stats.bytes_read / arguments.tokens.max(1) as u64),
            ByteSize((stats.bytes_read as f64 / stats.reading.as_secs_f64().max(1e-9)) as u64),
            100.0 * stats.stall.as_secs_f64() / decode.as_secs_f64(),
            ByteSize(after.high_water),
        ))?;
    }
    say!("")?;
    Ok(Times { prefill, token })
}

/// Takes the weights out of the process's memory and out of the page cache.
fn drop_all(checkpoint: &Checkpoint, dir: &Path) -> Result<(), Error> {
    let names: Vec<String> = checkpoint.names().map(str::to_owned).collect();
    names.iter().try_for_each(|name| checkpoint.release(name))?;
    let files = std::fs::read_dir(dir).map_err(|source| Error::File { path: dir.to_owned(), source })?;
    for file in
        files.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
    {
        drop_cached(&file).map_err(|source| Error::File { path: file.clone(), source })?;
    }
    Ok(())
}
