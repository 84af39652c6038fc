//! PyTorch in a child process, which times inside itself.
//!
//! The child gets a request and answers it, one JSON object a line each way, so while it computes this process sleeps,
//! and the other way round. OpenMP's threads spin for some milliseconds after their work: [`SETTLE`] lets that pass
//! before anyone else is timed.

mod child;
mod kernels;

use crate::case::{Case, Dtype, Op, Shape};
use crate::measure::{Engine, Failure, Prepared};
use crate::operands::count_sets;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

pub use child::{Child, SCRIPT};
pub use kernels::describe_kernel;

/// Pause after the child computed: libgomp's threads spin for 1 to 3 ms when nothing is said about it, and telling them
/// not to (`OMP_WAIT_POLICY=passive`) would slow PyTorch down, as each of its regions would wake them up by the kernel.
pub const SETTLE: Duration = Duration::from_millis(6);

/// How to start the child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// The interpreter.
    pub python: PathBuf,
    /// What it runs; tests put a fake in.
    pub script: String,
    /// Threads of PyTorch.
    pub threads: usize,
    /// Whether PyTorch, oneDNN and MKL are held to AVX2.
    pub avx2: bool,
    /// Where PyTorch computes.
    pub device: TorchDevice,
    /// An answer that takes longer is none.
    pub timeout: Duration,
}

/// Where PyTorch computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TorchDevice {
    /// Host memory, timed by the clock.
    Cpu,
    /// The first NVIDIA card, timed by its events.
    Cuda,
}

impl TorchDevice {
    /// PyTorch's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        }
    }
}

/// The environment that holds PyTorch's own kernels, oneDNN and MKL to AVX2.
pub const HELD_TO_AVX2: [(&str, &str); 3] =
    [("ATEN_CPU_CAPABILITY", "avx2"), ("ONEDNN_MAX_CPU_ISA", "AVX2"), ("MKL_ENABLE_INSTRUCTIONS", "AVX2")];

/// PyTorch as a source of engines. A child that died is started again for the next case, a few times.
#[derive(Debug)]
pub struct Torch {
    launch: Launch,
    child: Rc<RefCell<Option<Child>>>,
    starts_left: usize,
    gone: Option<Failure>,
}

impl Torch {
    /// Starts the child.
    pub fn start(launch: Launch) -> Self {
        let mut torch = Self { launch, child: Rc::default(), starts_left: 4, gone: None };
        torch.revive();
        torch
    }

    /// PyTorch that is not wanted.
    pub fn absent(why: &str) -> Self {
        let launch = Launch {
            python: PathBuf::new(),
            script: String::new(),
            threads: 1,
            avx2: false,
            device: TorchDevice::Cpu,
            timeout: Duration::ZERO,
        };
        Self { launch, child: Rc::default(), starts_left: 0, gone: Some(Failure::Child(why.into())) }
    }

    /// Starts the child if there is none.
    fn revive(&mut self) {
        let mut child = self.child.borrow_mut();
        if child.as_ref().is_some_and(Child::is_alive) || self.starts_left == 0 {
            return;
        }
        self.starts_left -= 1;
        match Child::start(&self.launch) {
            Ok(started) => *child = Some(started),
            // Nothing says that a second try would find Python.
            Err(failure) => {
                *child = None;
                self.starts_left = 0;
                self.gone = Some(failure);
            }
        }
    }

    /// Version and capability, as the child told; or why there is none.
    pub fn describe(&self) -> String {
        match (self.child.borrow().as_ref(), &self.gone) {
            (Some(child), _) => {
                let told = child.greeting();
                let text = |field: &str| told[field].as_str().unwrap_or("?").to_string();
                format!("torch {} ({}, {} threads)", text("torch"), text("capability"), told["threads"])
            }
            (None, Some(failure)) => format!("torch: {failure}"),
            (None, None) => "torch: not running".into(),
        }
    }

    /// Whether there is a child to ask.
    pub fn is_running(&self) -> bool {
        self.child.borrow().as_ref().is_some_and(Child::is_alive)
    }

    /// What really runs a linear layer of `case`: kernel names from the reports of oneDNN and MKL.
    pub fn explain(&mut self, case: &Case, variant: &str) -> Result<String, Failure> {
        self.revive();
        let mut child = self.child.borrow_mut();
        let child = child.as_mut().ok_or_else(|| self.failure())?;
        let mut request = request(case, self.launch.avx2);
        request["do"] = "explain".into();
        request["variant"] = variant.into();
        let reply = child.ask(&request)?;
        let lines = reply["lines"].as_array().cloned().unwrap_or_default();
        Ok(describe_kernel(lines.iter().filter_map(Value::as_str)))
    }

    fn failure(&self) -> Failure {
        self.gone.clone().unwrap_or(Failure::Child("the child ended several times".into()))
    }

    /// The engines of PyTorch for `case`, and columns that have none with the reason.
    pub fn prepare(&mut self, case: &Case) -> Prepared {
        self.prepare_request(&request(case, self.launch.avx2))
    }

    /// The same for a request as the script reads it (`do` is `prepare`).
    pub fn prepare_request(&mut self, request: &Value) -> Prepared {
        self.revive();
        let prepared = match self.child.borrow_mut().as_mut() {
            Some(child) => child.ask(request),
            None => Err(self.failure()),
        };
        let reply = match prepared {
            Ok(reply) => reply,
            Err(failure) => return (Vec::new(), vec![("torch".into(), failure)]),
        };
        let variants = reply["variants"].as_object().cloned().unwrap_or_default();
        let engine = |(name, what): (String, Value)| -> Box<dyn Engine> {
            Box::new(Variant { name, what: what.as_str().unwrap_or_default().into(), child: Rc::clone(&self.child) })
        };
        (variants.into_iter().map(engine).collect(), Vec::new())
    }

    /// Frees the case's memory in the child.
    pub fn finish(&mut self) {
        if let Some(child) = self.child.borrow_mut().as_mut() {
            // A child that cannot even do this will be noticed by the next case.
            let _ = child.ask(&json!({ "do": "drop" }));
        }
    }
}

/// The request that prepares `case`.
fn request(case: &Case, avx2: bool) -> Value {
    let sizes = match case.shape {
        Shape::Linear { m, n, k } => json!({ "m": m, "n": n, "k": k }),
        Shape::Square { n } => json!({ "square": true, "n": n }),
        Shape::Heads { heads, queries, dim, .. } if case.op == Op::Rope => {
            json!({ "heads": heads, "length": queries, "dim": dim })
        }
        Shape::Heads { heads, kv_heads, queries, keys, dim } => {
            json!({ "heads": heads, "kv_heads": kv_heads, "queries": queries, "keys": keys, "dim": dim })
        }
        Shape::Rows { rows, d } => json!({ "rows": rows, "d": d }),
    };
    json!({
        "do": "prepare",
        "op": case.op.to_string(),
        "dtype": case.dtype.to_string(),
        "sizes": sizes,
        "sets": count_sets(case),
        // Without AVX-512 PyTorch may be faster on f32 than on bf16: the better of both is what counts.
        "also_f32": avx2 && case.dtype == Dtype::Bf16,
    })
}

/// One way in which the child runs its case.
#[derive(Debug)]
struct Variant {
    name: String,
    what: String,
    child: Rc<RefCell<Option<Child>>>,
}

impl Engine for Variant {
    fn name(&self) -> &str {
        &self.name
    }

    fn run(&mut self, calls: usize) -> Result<Duration, Failure> {
        let mut child = self.child.borrow_mut();
        let child = child.as_mut().ok_or_else(|| Failure::Child("the child ended".into()))?;
        let reply = child.ask(&json!({ "do": "run", "variant": self.name, "calls": calls }));
        std::thread::sleep(SETTLE);
        let seconds = reply?["seconds"].as_f64().filter(|seconds| *seconds >= 0.0);
        let seconds = seconds.ok_or_else(|| Failure::Child("the child told no time".into()))?;
        Ok(Duration::from_secs_f64(seconds))
    }

    fn note(&self) -> Option<String> {
        Some(self.what.clone()).filter(|what| !what.is_empty())
    }
}
