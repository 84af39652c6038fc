//! Describes a picture: tokens go to standard output as they come, times and memory to standard error.

use burn_kiln_fusion::FusedOps;
use clap::Parser;
use kiln_examples::backend::{Dtype, Place, Program};
use kiln_examples::sampling::SamplingArgs;
use kiln_examples::{Error, embedded, memory};
use qwen3_vl_burn::checkpoint::progress_bar;
use qwen3_vl_burn::generate::{Generation, GenerationConfig, stream};
use qwen3_vl_burn::{LoadOptions, Qwen3Vl, Qwen3VlProcessor};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Describe a picture with Qwen3-VL
///
/// Without --model, a small checkpoint inside the program is used. Its weights are random, so its answer is, too.
#[derive(Parser)]
struct Arguments {
    /// Folder of a Qwen3-VL checkpoint (config.json, model.safetensors or its shards, tokenizer.json)
    #[arg(long)]
    model: Option<PathBuf>,
    /// Picture to look at; may be given several times. The embedded one if neither it nor --model is given
    #[arg(long)]
    image: Vec<PathBuf>,
    /// What to ask
    #[arg(long, default_value = "Describe this image.")]
    prompt: String,
    #[command(flatten)]
    sampling: SamplingArgs,
    #[command(flatten)]
    place: Place,
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut arguments: Arguments) -> Result<(), Error> {
    let embedded = if arguments.model.is_none() {
        let dir = embedded::unpack()?;
        eprintln!("note: this is the embedded checkpoint; its weights are random, so the answer means nothing.");
        eprintln!("      Give --model the folder of a Qwen3-VL checkpoint for a real one.");
        if arguments.image.is_empty() {
            arguments.image.push(dir.path().join("picture.png"));
        }
        arguments.model = Some(dir.path().to_owned());
        Some(dir)
    } else {
        None
    };
    let place = arguments.place.clone();
    place.run(Describe { arguments })?;
    drop(embedded);
    Ok(())
}

struct Describe {
    arguments: Arguments,
}

impl Program for Describe {
    type Out = ();

    fn run<B: FusedOps>(self) -> Result<(), Error> {
        let Arguments { model: dir, image, prompt, sampling, place } = self.arguments;
        let dir = dir.unwrap_or_default();
        let device = Default::default();
        eprintln!("backend: {}", B::name(&device));

        // Before the model: a bad option should not wait for its weights.
        let generation = sampling.apply(&GenerationConfig::load(&dir)?)?;
        let began = Instant::now();
        let processor = Qwen3VlProcessor::load(&dir)?;
        let options = LoadOptions { dtype: place.dtype.map(Dtype::burn), progress: Box::new(progress_bar()) };
        let model = Qwen3Vl::<B>::load(&dir, &device, options)?;
        let load = began.elapsed();

        let began = Instant::now();
        let inputs = processor.ask(&image, &prompt)?;
        let pictures = began.elapsed();

        let mut output = std::io::stdout().lock();
        let mut written = Ok(());
        let answer = stream(&model, Some(&processor.tokenizer), &inputs, &generation, |step| {
            written = output.write_all(step.text.as_bytes()).and_then(|()| output.flush());
            if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        written.and_then(|()| writeln!(output)).map_err(Error::Output)?;
        report(load, pictures, &answer);
        Ok(())
    }
}

/// Times and memory, on standard error.
fn report(load: Duration, pictures: Duration, answer: &Generation) {
    let times = answer.timings;
    eprintln!();
    if let Some(seed) = answer.seed {
        eprintln!("seed     {seed}");
    }
    eprintln!("load     {:9.1} ms", milliseconds(load));
    eprintln!("pictures {:9.1} ms", milliseconds(pictures));
    eprintln!("vision   {:9.1} ms", milliseconds(times.prepare));
    eprintln!(
        "prefill  {:9.1} ms  {:8.1} tokens/s  ({} tokens)",
        milliseconds(times.prefill),
        answer.prefill_rate(),
        answer.prompt_tokens
    );
    if let Some(rate) = answer.decode_rate() {
        eprintln!(
            "decode   {:9.1} ms  {rate:8.1} tokens/s  ({} tokens)",
            milliseconds(times.decode),
            answer.tokens.len()
        );
    }
    if let Some(peak) = memory::peak() {
        eprintln!("memory   {} at most", memory::format_bytes(peak));
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
