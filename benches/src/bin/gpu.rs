//! Kernels on a card against its limits, plain Burn and PyTorch: `gpu --help`.

use clap::Parser;
use kiln_benches::gpu::args::{Args, Backend};
use std::error::Error;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gpu: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let cases = args.cases();
    if cases.is_empty() {
        return Err("no case is left: see --list for operations and shapes".into());
    }
    if args.list {
        for case in &cases {
            println!("{:<12} {:<5} {}", case.op, case.dtype, case.label());
        }
        return Ok(());
    }
    match args.backend {
        #[cfg(feature = "wgpu")]
        Backend::Wgpu => {
            let missing = "no Vulkan adapter: install a driver, such as mesa-vulkan-drivers with libvulkan1";
            card::run::<cubecl::wgpu::WgpuRuntime, u32>(args, &cases, missing)
        }
        #[cfg(feature = "cuda")]
        Backend::Cuda => {
            let missing = "no CUDA device: it needs NVIDIA's driver (libcuda.so.1) and NVRTC 12 on the loader's path";
            card::run::<cubecl::cuda::CudaRuntime, u8>(args, &cases, missing)
        }
        #[allow(unreachable_patterns)] // where both are built in
        Backend::Cuda => {
            let command = "CUDARC_CUDA_VERSION=12080 cargo run --release -p kiln-benches --features cuda --bin gpu";
            Err(format!("this program was built without CUDA; build it with: {command}").into())
        }
        #[allow(unreachable_patterns)]
        Backend::Wgpu => {
            let command = "cargo run --release -p kiln-benches --features wgpu --bin gpu";
            Err(format!("this program was built without Vulkan; build it with: {command}").into())
        }
    }
}

#[cfg(feature = "cards")]
mod card {
    use super::{Args, Error};
    use burn_backend::DeviceOps;
    use burn_cubecl::{CubeRuntime, cubecl::server::ComputeServer, element::BoolElement};
    use burn_kiln::Engine;
    use burn_kiln_fusion::KernelConfig;
    use indicatif::{ProgressBar, ProgressStyle};
    use kiln_benches::engines::hide_panics_of_engines;
    use kiln_benches::gpu::card::{Card, Plain};
    use kiln_benches::gpu::case::Case;
    use kiln_benches::gpu::row::{HEADER, Row, render};
    use kiln_benches::gpu::session::{OnCard, Session};
    use kiln_benches::machine::Machine;
    use kiln_benches::measure::Effort;
    use kiln_benches::report::{Record, describe_command};
    use kiln_benches::torch::{Launch, SCRIPT, Torch, TorchDevice};
    use serde_json::json;
    use std::time::Duration;

    /// Longer than any case takes.
    const TIMEOUT: Duration = Duration::from_secs(180);

    /// Runs the cases on the first device of `R`, whose booleans are `BT`.
    pub fn run<R, BT>(args: &Args, cases: &[Case], missing: &str) -> Result<(), Box<dyn Error>>
    where
        R: CubeRuntime,
        R::Server: ComputeServer,
        R::Device: DeviceOps + Default,
        BT: BoolElement,
        Plain<R, BT>: Engine + OnCard<R>,
    {
        let card = Card::<R, BT>::open(missing)?;
        hide_panics_of_engines();
        let command = describe_command("gpu", std::env::args());
        let record = args.record.as_deref().map(|path| Record::open(path, HEADER, command.clone())).transpose()?;
        let torch = start_torch(args);
        let mut facts = vec![format!("machine: {}", Machine::detect().cpu)];
        facts.extend(card.describe());
        facts.push(torch.describe());
        let (cases, left_out): (Vec<&Case>, Vec<&Case>) = cases.iter().partition(|case| card.stores(case.dtype));
        if let Some(case) = left_out.first() {
            facts.push(format!("{}: the device does not store it", case.dtype));
        }
        eprintln!("measuring the card's limits");
        let mut config = KernelConfig::default();
        config.gpu.tune = args.tune;
        let mut session = Session::start(card, torch, config, args.shapes, Effort::of_seconds(args.seconds))?;
        if args.json {
            println!("{}", json!({ "op": "card", "facts": facts, "peaks": session.peaks, "command": command }));
        }
        let style = ProgressStyle::with_template("{pos}/{len} [{elapsed_precise} of about {duration_precise}] {msg}")?;
        let bar = ProgressBar::new(cases.len() as u64).with_style(style);
        let mut rows: Vec<Row> = Vec::new();
        for case in cases {
            bar.set_message(format!("{} {} {}", case.op, case.dtype, case.label()));
            let row = session.measure(case)?;
            if args.json {
                let line = serde_json::to_string(&row)?;
                bar.suspend(|| println!("{line}"));
            }
            rows.push(row);
            if let Some(record) = &record {
                record.write(&render(&facts, &rows))?;
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        session.measure_peaks()?;
        facts.push(session.peaks.describe());
        let text = render(&facts, &rows);
        if let Some(record) = &record {
            record.write(&text)?;
        }
        if !args.json {
            println!("{text}");
        }
        Ok(())
    }

    fn start_torch(args: &Args) -> Torch {
        if args.no_torch {
            return Torch::absent("left out (--no-torch)");
        }
        Torch::start(Launch {
            python: args.python.clone(),
            script: SCRIPT.into(),
            threads: std::thread::available_parallelism().map_or(1, |threads| threads.get()),
            avx2: false,
            device: TorchDevice::Cuda,
            timeout: TIMEOUT,
        })
    }
}
