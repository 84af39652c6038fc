//! How every conversing program begins and ends.

use crate::Error;
use std::process::ExitCode;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::{Layer, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// Runs a program: what it logs goes to standard error (`RUST_LOG` chooses: `warn`, or `qwen3_vl_burn=debug,warn`), its
/// error too, and its exit status tells scripts what was wrong ([`Error::exit_code`]).
pub fn run(program: impl FnOnce() -> Result<(), Error>) -> ExitCode {
    let chosen = std::env::var("RUST_LOG").ok().and_then(|levels| levels.parse().ok());
    let chosen: Targets = chosen.unwrap_or_else(|| Targets::new().with_default(LevelFilter::ERROR));
    tracing_subscriber::registry().with(fmt::layer().with_writer(std::io::stderr).with_filter(chosen)).init();
    match program() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
