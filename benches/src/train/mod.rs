//! The bench `train`: steps of training of a whole Qwen3-VL, against PyTorch and plain Burn.
//!
//! Every engine is a process of its own, which loads the checkpoint once and takes a step when it is asked to; while
//! one computes, the others sleep. Kiln and one peer at a time run A B A B.
//!
//! ```text
//! args.rs      command line
//! workload.rs  the sample: the same numbers for every engine
//! engine.rs    Kiln and plain Flex
//! worker.rs    an engine's side: requests and answers; `train --worker ENGINE`
//! session.rs   starts engines, A B A B, medians
//! report.rs    rows, table, JSON
//! ```

pub mod args;
mod engine;
pub mod report;
pub mod session;
pub mod worker;
mod workload;

pub use crate::qwen::Result;
