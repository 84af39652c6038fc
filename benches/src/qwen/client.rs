//! Starting engines and asking them.

use super::args::{Args, Backend, Worker};
use super::runner::Times;
use super::{Result, workload::Workload};
use crate::torch::{Child, HELD_TO_AVX2, SETTLE, TorchDevice};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// PyTorch's side.
pub const SCRIPT: &str = include_str!("../../peers/qwen_torch.py");

/// Longer than loading a released checkpoint, or a prompt on a small machine, takes.
const TIMEOUT: Duration = Duration::from_secs(1800);

/// A running engine.
#[derive(Debug)]
pub struct Client {
    child: Child,
    /// How the engine runs, where it has more than one way.
    form: Option<&'static str>,
    /// What it said of itself when it was ready.
    pub facts: Vec<String>,
}

impl Client {
    /// Starts this program as `worker`.
    ///
    /// # Errors
    /// Where it cannot be started, or fails to load the checkpoint.
    pub fn start(worker: Worker, args: &Args, dir: &Path) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--worker", worker.name(), "--dtype", args.dtype.name()]).arg("--checkpoint").arg(dir);
        command.args(["--image-px", &args.image_px.to_string(), "--text-tokens", &args.text_tokens.to_string()]);
        command.args(["--backend", args.backend.name()]);
        command.args(["--new-tokens", &args.new_tokens.to_string(), "--threads", &args.thread_count().to_string()]);
        if worker == Worker::Kiln {
            if let Some(isa) = &args.isa {
                command.args(["--isa", isa]);
            }
            if let Some(config) = &args.config {
                command.arg("--config").arg(config);
            }
            if let Some(limit) = args.memory_limit {
                command.args(["--memory-limit", &limit.as_u64().to_string()]);
            }
            if let Some(limit) = args.gpu_memory {
                command.args(["--gpu-memory", &limit.as_u64().to_string()]);
            }
            if args.keep_lru {
                command.arg("--keep-lru");
            }
        }
        command.env("RAYON_NUM_THREADS", args.thread_count().to_string());
        let child = Child::spawn(command, worker.name(), TIMEOUT, TIMEOUT)?;
        Ok(Self { child, form: None, facts: Vec::new() })
    }

    /// Starts HF transformers on PyTorch; it runs as `form` says: "conv" as released, "linear" with its patch embedding
    /// as a linear layer.
    ///
    /// # Errors
    /// Where there is no such interpreter, torch or transformers, or the checkpoint is refused.
    pub fn start_torch(args: &Args, dir: &Path, workload: &Workload) -> Result<Self> {
        let mut command = Command::new(&args.python);
        command.args(["-u", "-c", SCRIPT, &args.thread_count().to_string(), args.torch_dtype().name()]);
        command.arg(dir).arg(workload.to_json().to_string()).arg(match args.backend {
            Backend::Cpu => TorchDevice::Cpu.name(),
            Backend::Wgpu | Backend::Cuda => TorchDevice::Cuda.name(),
        });
        command.env("OMP_NUM_THREADS", args.thread_count().to_string());
        if args.isa.as_deref().is_some_and(|isa| matches!(isa, "avx2" | "portable")) {
            command.envs(HELD_TO_AVX2);
        }
        let name = args.python.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let child = Child::spawn(command, &name, TIMEOUT, TIMEOUT)?;
        let facts = child.greeting()["facts"].as_array().cloned().unwrap_or_default();
        let facts = facts.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        Ok(Self { child, form: Some("conv"), facts })
    }

    /// Changes how it runs.
    pub fn set_form(&mut self, form: &'static str) {
        self.form = Some(form);
    }

    /// One run of the whole prompt.
    ///
    /// # Errors
    /// The engine's own.
    pub fn run(&mut self) -> Result<Times> {
        let reply = self.ask(json!({ "do": "run", "form": self.form }))?;
        Ok(Times {
            // Null where the engine's tower cannot be run alone.
            vision_s: if reply["vision_s"].is_null() { f64::NAN } else { seconds(&reply, "vision_s")? },
            prefill_s: seconds(&reply, "prefill_s")?,
            decode_s: seconds(&reply, "decode_s")?,
        })
    }

    /// Seconds to the first token of a prompt of text.
    ///
    /// # Errors
    /// The engine's own.
    pub fn run_text(&mut self) -> Result<f64> {
        seconds(&self.ask(json!({ "do": "text", "form": self.form }))?, "prefill_s")
    }

    /// Another configuration, as TOML.
    ///
    /// # Errors
    /// The engine's own.
    pub fn configure(&mut self, toml: &str) -> Result<()> {
        self.ask(json!({ "do": "configure", "config": toml })).map(drop)
    }

    /// The most memory that it had, bytes.
    pub fn peak_bytes(&mut self) -> Option<u64> {
        self.ask(json!({ "do": "peak" })).ok()?["bytes"].as_u64()
    }

    fn ask(&mut self, request: Value) -> Result<Value> {
        let reply = self.child.ask(&request);
        std::thread::sleep(SETTLE);
        Ok(reply?)
    }
}

fn seconds(reply: &Value, field: &str) -> Result<f64> {
    let found = reply[field].as_f64().filter(|seconds| seconds.is_finite() && *seconds >= 0.0);
    found.ok_or_else(|| format!("the engine told no {field}: {reply}").into())
}
