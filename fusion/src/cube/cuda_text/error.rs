//! Why a launch failed.

use cubecl::{backtrace::BackTrace, server::ServerError};
use std::path::PathBuf;
use thiserror::Error;

/// A launch that did not run, or whose kernel is wrong. It reaches the caller as the reason of a
/// [`cubecl::server::ServerError`] when the stream is flushed, read or synchronised.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HostError {
    /// CubeCL's compiler panicked.
    #[error("CubeCL cannot write {kernel} as CUDA: {message}")]
    Text {
        /// Name of the kernel's type.
        kernel: String,
        /// The panic's message.
        message: String,
    },
    /// The launch asks for more than the device has.
    #[error("{kernel} asks for {found} {what}, the device has {limit}")]
    Limit {
        /// Name of the kernel.
        kernel: String,
        /// Of what.
        what: &'static str,
        /// What was asked for.
        found: usize,
        /// The device's limit.
        limit: usize,
    },
    /// A compiler or a processor that this runtime needs is not there.
    #[error("the CUDA text cannot be run here: {reason}")]
    Missing {
        /// What is missing.
        reason: String,
    },
    /// A file or a process of this runtime failed.
    #[error("{action} {path}: {message}")]
    System {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// The system's answer.
        message: String,
    },
    /// g++ rejects the text.
    #[error("g++ rejects the text of {path}:\n{message}")]
    Rejected {
        /// The program that it should become; the text lies beside it.
        path: PathBuf,
        /// The first of the compiler's messages.
        message: String,
    },
    /// The kernel did what a GPU would answer with a fault, a hang or a wrong number.
    #[error("{kernel}: {message}; lines are those of {path}")]
    Kernel {
        /// Name of the kernel.
        kernel: String,
        /// What it did, which unit, where.
        message: String,
        /// The text.
        path: PathBuf,
    },
    /// Reading from a device that runs nothing.
    #[error("launches are recorded on this device, so there is nothing to read")]
    NothingRan,
}

impl From<HostError> for ServerError {
    fn from(error: HostError) -> Self {
        Self::Generic { reason: error.to_string(), backtrace: BackTrace::capture() }
    }
}
