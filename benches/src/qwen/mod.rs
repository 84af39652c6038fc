//! The bench `qwen`: a whole Qwen3-VL against the machine's limit and the other engines.
//!
//! Every engine is a process of its own (so that its peak of memory is its own) which loads the checkpoint once and
//! then answers requests, one JSON object a line each way; while one computes, the others sleep. Kiln and one peer at a
//! time run A B A B.
//!
//! ```text
//! args.rs      command line
//! workload.rs  the prompt: the same numbers for every engine
//! runner.rs    what a worker asks of an engine
//! worker.rs    an engine's side: requests and answers; `qwen --worker ENGINE`
//! burn.rs      Kiln and plain Flex
//! candle.rs    candle's Qwen3-VL (feature `peers`)
//! client.rs    this side: starts a worker or PyTorch's script and asks it
//! external.rs  llama.cpp and mistral.rs, by their own benches
//! session.rs   A B A B, medians, the limit of decoding
//! report.rs    rows, table, JSON
//! ablate.rs    each technique off, and on alone
//! plot.rs      the ablation as SVG
//! ```

pub mod ablate;
pub mod args;
mod burn;
#[cfg(feature = "peers")]
mod candle;
pub mod client;
pub mod external;
pub mod plot;
pub mod report;
pub mod runner;
pub mod session;
pub mod worker;
pub mod workload;

/// A message for people.
pub type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;
