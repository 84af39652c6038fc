//! How every program begins and ends.

use crate::console::has_colours;
use crate::interrupt::Interrupt;
use crate::{Error, note, scratch};
use clap::Parser;
use kiln_kernels::simd::Tier;
use std::io::Write;
use std::process::ExitCode;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::{Layer, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// The crates whose warnings are shown.
const OURS: [&str; 6] =
    ["kiln_kernels", "burn_kiln", "burn_kiln_fusion", "qwen3_vl_burn", "qwen3_vl_train", "kiln_examples"];

/// Runs a program on the arguments of its command line; its exit status tells scripts what was wrong
/// ([`Error::exit_code`]). As [`run_checks`] otherwise.
pub fn run<A: Parser>(program: impl FnOnce(A) -> Result<(), Error>) -> ExitCode {
    start(|arguments| program(arguments).map(|()| ExitCode::SUCCESS), |error| error.exit_code())
}

/// Runs a program that counts failures: its exit status is 0 without any, 1 with some, and 2 where it could not do what
/// was asked for.
///
/// Warnings go to standard error, as does all else that it logs where `RUST_LOG` says so (`debug`, or
/// `qwen3_vl_burn=debug,warn`), and its error. Ctrl-C ends it with the status 130, and nothing of it stays in the
/// temporary folder.
pub fn run_checks<A: Parser>(program: impl FnOnce(A) -> Result<usize, Error>) -> ExitCode {
    let checks =
        |arguments| program(arguments).map(|failed| if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    start(checks, |_| 2)
}

fn start<A: Parser>(program: impl FnOnce(A) -> Result<ExitCode, Error>, status: impl FnOnce(&Error) -> u8) -> ExitCode {
    struct Scratch;
    impl Drop for Scratch {
        fn drop(&mut self) {
            scratch::remove();
        }
    }
    let arguments = match A::try_parse() {
        Ok(arguments) => arguments,
        // Help and versions are output too.
        Err(told) => {
            let written = told.print().and_then(|()| std::io::stdout().flush());
            let status = u8::try_from(told.exit_code()).unwrap_or(2);
            return ExitCode::from(if written.is_err() { status.max(1) } else { status });
        }
    };
    start_log();
    let _scratch = Scratch;
    let outcome = (|| {
        Interrupt::install()?;
        // An instruction set that was asked for and isn't there is no matter for a warning.
        Tier::from_env()?;
        let status = program(arguments)?;
        // What waits for the end of a line is written, or is an error.
        std::io::stdout().flush().map_err(Error::Output)?;
        Ok(status)
    })();
    outcome.unwrap_or_else(|error: Error| {
        note!("error: {error}");
        ExitCode::from(status(&error))
    })
}

/// Shows warnings, or what `RUST_LOG` asks for.
fn start_log() {
    let usual = || {
        OURS.into_iter().fold(Targets::new().with_default(LevelFilter::ERROR), |targets, name| {
            targets.with_target(name, LevelFilter::WARN)
        })
    };
    let wanted = std::env::var_os("RUST_LOG").filter(|levels| !levels.is_empty());
    let parsed = wanted.as_ref().map(|levels| levels.to_string_lossy().parse::<Targets>());
    let layer = fmt::layer().with_writer(std::io::stderr).with_ansi(has_colours()).log_internal_errors(false);
    let registry = tracing_subscriber::registry();
    match parsed {
        Some(Ok(targets)) => registry.with(layer.with_filter(targets)).init(),
        other => {
            // For people, not for a file of many runs.
            registry.with(layer.without_time().with_target(false).with_filter(usual())).init();
            if let (Some(Err(error)), Some(levels)) = (other, wanted) {
                note!("warning: RUST_LOG={} is not understood: {error}", levels.display());
            }
        }
    }
}
