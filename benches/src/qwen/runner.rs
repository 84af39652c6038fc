//! What a worker asks of an engine.

use super::{Result, workload::Workload};

/// Seconds of one run.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Times {
    /// The vision tower.
    pub vision_s: f64,
    /// From the prompt to the first token, the vision tower included.
    pub prefill_s: f64,
    /// From the first token to the last.
    pub decode_s: f64,
}

/// An engine with a loaded checkpoint.
pub trait Runner {
    /// The whole prompt, then new tokens one by one.
    fn run(&mut self, workload: &Workload) -> Result<Times>;
    /// Seconds to the first token of a prompt of as many tokens, all text.
    fn run_text(&mut self, workload: &Workload) -> Result<f64>;
    /// Changes the configuration.
    fn configure(&mut self, toml: &str) -> Result<()> {
        let _ = toml;
        Err("this engine has no configuration".into())
    }
}
