//! What is asked of a generation, and what it gives.

use std::time::Duration;

/// How much is generated, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenerateOptions {
    /// At most this many tokens.
    pub max_new_tokens: usize,
    /// Tokens that end the answer; the one that does is its last. Empty: only `max_new_tokens` ends it.
    pub stop_ids: Vec<u32>,
    /// Whether keys and values are kept. Without, each token costs a whole prefill: for verification.
    pub use_cache: bool,
}

impl GenerateOptions {
    /// Up to `max_new_tokens`, with a cache and without stop ids.
    pub fn new(max_new_tokens: usize) -> Self {
        Self { max_new_tokens, stop_ids: Vec::new(), use_cache: true }
    }

    /// Ends at any of `stop_ids`.
    pub fn with_stop_ids(mut self, stop_ids: Vec<u32>) -> Self {
        self.stop_ids = stop_ids;
        self
    }

    /// Keeps keys and values, or not.
    pub fn with_cache(mut self, use_cache: bool) -> Self {
        self.use_cache = use_cache;
        self
    }
}

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// A stop id.
    Stop,
    /// `max_new_tokens`.
    Length,
    /// The caller.
    Cancelled,
}

/// Wall-clock times of a generation's parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timings {
    /// Vision tower and token embedding.
    pub prepare: Duration,
    /// Decoder over the prompt, up to the first token.
    pub prefill: Duration,
    /// All tokens after the first.
    pub decode: Duration,
}

/// A continuation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// The tokens generated, a stop id included.
    pub tokens: Vec<u32>,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Why there are no more.
    pub finish: FinishReason,
    /// How long it took.
    pub timings: Timings,
}

impl Generation {
    /// Prompt tokens a second of prefill.
    pub fn prefill_rate(&self) -> f64 {
        self.prompt_tokens as f64 / self.timings.prefill.as_secs_f64()
    }

    /// Tokens a second after the first; `None` where there was only one.
    pub fn decode_rate(&self) -> Option<f64> {
        let after_first = self.tokens.len().checked_sub(1).filter(|&count| count > 0)?;
        Some(after_first as f64 / self.timings.decode.as_secs_f64())
    }
}
