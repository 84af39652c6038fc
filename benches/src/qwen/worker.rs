//! An engine's process: loads the checkpoint, says that it is ready, and answers requests.
//!
//! ```text
//! {"do": "run"}                  -> {"vision_s", "prefill_s", "decode_s"}    prefill_s counts the vision tower in
//! {"do": "text"}                 -> {"prefill_s"}                            as many tokens, all text
//! {"do": "configure", "config"}  -> {}                                       Kiln: another configuration, TOML
//! {"do": "peak"}                 -> {"bytes"}
//! ```
//!
//! Anything that goes wrong is `{"error": message}`; the process goes on.

use super::args::{Args, Backend, Worker};
use super::burn::{KilnRunner, PlainRunner};
use super::runner::{Runner, Times};
use super::{Result, workload::Workload};
use crate::engines::catch;
use burn_flex::Flex;
use burn_kiln::Engine;
use burn_kiln_fusion::FusedOps;
use qwen3_vl_burn::Qwen3VlConfig;
use serde_json::{Value, json};
use std::io::{BufRead, Write};
use std::path::Path;

/// Runs as an engine until the requests end.
///
/// # Errors
/// Where the checkpoint cannot be loaded, or there is nobody to answer to.
pub fn serve(worker: Worker, args: &Args) -> Result<()> {
    let dir = args.checkpoint.as_deref().ok_or("a worker needs --checkpoint")?;
    let workload = Workload::new(args, &Qwen3VlConfig::from_dir(dir)?);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(args.thread_count()).build()?;
    pool.install(|| {
        let mut runner: Box<dyn Runner> = match args.backend {
            Backend::Cpu => load::<Flex>(worker, args, dir)?,
            #[cfg(feature = "wgpu")]
            Backend::Wgpu => {
                load::<burn_cubecl::CubeBackend<cubecl::wgpu::WgpuRuntime, f32, i32, u32>>(worker, args, dir)?
            }
            #[cfg(not(feature = "wgpu"))]
            Backend::Wgpu => return Err("built without the feature `wgpu`".into()),
            #[cfg(feature = "cuda")]
            Backend::Cuda => {
                load::<burn_cubecl::CubeBackend<cubecl::cuda::CudaRuntime, f32, i32, u8>>(worker, args, dir)?
            }
            #[cfg(not(feature = "cuda"))]
            Backend::Cuda => return Err("built without the feature `cuda`".into()),
        };
        let mut out = std::io::stdout();
        let mut say = |reply: Value| -> Result<()> {
            writeln!(out, "{reply}")?;
            Ok(out.flush()?)
        };
        say(json!({ "ready": true }))?;
        for line in std::io::stdin().lock().lines() {
            let reply = answer(&mut *runner, &workload, &line?);
            say(reply.unwrap_or_else(|error| json!({ "error": error.to_string() })))?;
        }
        Ok(())
    })
}

/// An engine over `B`.
fn load<B: Engine + FusedOps>(worker: Worker, args: &Args, dir: &Path) -> Result<Box<dyn Runner>> {
    // A runtime panics where there is no card.
    catch(|| drop(B::name(&Default::default())))
        .map_err(|why| format!("no device for --backend {} ({why})", args.backend.name()))?;
    Ok(match worker {
        Worker::Kiln => Box::new(KilnRunner::<B>::load(args, dir)?),
        Worker::Flex => Box::new(PlainRunner::<B>::load(args, dir)?),
        #[cfg(feature = "peers")]
        Worker::Candle => Box::new(super::candle::CandleRunner::load(args, dir)?),
        #[cfg(not(feature = "peers"))]
        Worker::Candle => return Err("built without the feature `peers`".into()),
    })
}

fn answer(runner: &mut dyn Runner, workload: &Workload, line: &str) -> Result<Value> {
    let request: Value = serde_json::from_str(line)?;
    match request["do"].as_str().unwrap_or_default() {
        "run" => {
            let Times { vision_s, prefill_s, decode_s } = runner.run(workload)?;
            Ok(json!({ "vision_s": vision_s, "prefill_s": prefill_s, "decode_s": decode_s }))
        }
        "text" => Ok(json!({ "prefill_s": runner.run_text(workload)? })),
        "configure" => {
            runner.configure(request["config"].as_str().unwrap_or_default())?;
            Ok(json!({}))
        }
        "peak" => Ok(json!({ "bytes": crate::machine::peak_bytes() })),
        other => Err(format!("unknown request `{other}`").into()),
    }
}
