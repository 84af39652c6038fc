//! From a prompt to its continuation.

mod error;
mod greedy;
mod options;
mod session;

pub use error::GenerateError;
pub use greedy::{generate_greedy, stream_greedy};
pub use options::{FinishReason, GenerateOptions, Generation, Timings};
pub use session::Session;
