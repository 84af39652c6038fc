//! What programs with engines of their own processes begin with.

use crate::qwen::Result;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::process::ExitCode;
use std::time::Duration;

/// Runs as an engine's process, where one is asked for, or else the program `name`.
pub fn main<W>(
    name: &str,
    worker: Option<W>,
    serve: impl FnOnce(W) -> Result<()>,
    run: impl FnOnce() -> Result<()>,
) -> ExitCode {
    if let Some(worker) = worker {
        // Who asks reads lines of JSON, errors too.
        if let Err(error) = serve(worker) {
            println!("{}", json!({ "error": error.to_string() }));
            return ExitCode::FAILURE;
        }
        return ExitCode::SUCCESS;
    }
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Says what is done, and for how long.
pub fn start_spinner() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} [{elapsed_precise}] {msg}");
    let bar = ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}
