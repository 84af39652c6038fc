//! How every conversing program begins and ends.

use crate::Error;
use std::process::ExitCode;

/// Runs a program: what it logs goes to standard error (`RUST_LOG` chooses), its error too, and its exit status tells scripts what was
/// wrong ([`Error::exit_code`]).
pub fn run(program: impl FnOnce() -> Result<(), Error>) -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    match program() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
