//! From a prompt to its continuation.
//!
//! [`generate`] and [`stream`] run a model, [`generate_batch`] runs it on several prompts side by side,
//! [`stream_after`] on the next turn of a conversation; [`GenerateOptions`] say how tokens are chosen and what ends the
//! answer, by hand or from a checkpoint's [`GenerationConfig`]. For other loops: [`Session`] gives logits,
//! [`Continuation`] takes them and makes tokens and text of them, and neither knows the other.

mod answer_text;
mod batch;
mod cancel;
mod candidates;
mod config;
mod continuation;
mod decoding;
mod draw;
mod error;
mod generation;
mod history;
mod logprobs;
mod options;
mod sampler;
mod sampling;
mod session;
mod stop;

pub use batch::{generate_batch, stream_batch};
pub use cancel::CancelToken;
pub use candidates::Candidate;
pub use config::GenerationConfig;
pub use continuation::{Continuation, Step};
pub use decoding::{generate, stream, stream_after};
pub use error::GenerateError;
pub use generation::{FinishReason, Generation, Timings};
pub use logprobs::{Alternative, Logprobs};
pub use options::{GenerateOptions, MAX_LOGPROBS};
pub use sampler::Sampler;
pub use sampling::Sampling;
pub use session::Session;
