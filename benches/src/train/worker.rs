//! An engine's process: loads the checkpoint, says that it is ready, and answers requests.
//!
//! ```text
//! {"do": "step"}  -> {"step_s", "loss"}
//! {"do": "peak"}  -> {"bytes"}
//! ```
//!
//! Anything that goes wrong is `{"error": message}`; the process goes on.

use super::Result;
use super::args::{Args, Worker};
use super::engine::{Engine, Trainer};
use super::workload::Workload;
use burn_flex::Flex;
use burn_kiln::Kiln;
use qwen3_vl_burn::Qwen3VlConfig;
use serde_json::{Value, json};
use std::io::{BufRead, Write};

/// Runs as an engine until the requests end.
///
/// # Errors
/// Where the checkpoint cannot be loaded, or there is nobody to answer to.
pub fn serve(worker: Worker, args: &Args) -> Result<()> {
    let dir = args.checkpoint.as_deref().ok_or("a worker needs --checkpoint")?;
    let workload = Workload::new(args, &Qwen3VlConfig::from_dir(dir)?)?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(args.thread_count()).build()?;
    pool.install(|| {
        let mut trainer: Box<dyn Trainer> = match worker {
            Worker::Kiln => Box::new(Engine::<Kiln<Flex>>::load(args, dir, workload.batch())?),
            Worker::Flex => Box::new(Engine::<Flex>::load(args, dir, workload.batch())?),
        };
        let mut out = std::io::stdout();
        let mut say = |reply: Value| -> Result<()> {
            writeln!(out, "{reply}")?;
            Ok(out.flush()?)
        };
        say(json!({ "ready": true, "facts": trainer.facts() }))?;
        for line in std::io::stdin().lock().lines() {
            let reply = answer(&mut *trainer, &line?);
            say(reply.unwrap_or_else(|error| json!({ "error": error.to_string() })))?;
        }
        Ok(())
    })
}

fn answer(trainer: &mut dyn Trainer, line: &str) -> Result<Value> {
    let request: Value = serde_json::from_str(line)?;
    match request["do"].as_str().unwrap_or_default() {
        "step" => {
            let step = trainer.step()?;
            Ok(json!({ "step_s": step.seconds, "loss": step.loss }))
        }
        "peak" => Ok(json!({ "bytes": crate::machine::peak_bytes() })),
        other => Err(format!("unknown request `{other}`").into()),
    }
}
