//! What a generation gives.

use super::Logprobs;
use std::time::Duration;

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// A stop id.
    Stop,
    /// A stop string: its index in [`GenerateOptions::stop_strings`](super::GenerateOptions::stop_strings).
    StopString(usize),
    /// `max_new_tokens`.
    Length,
    /// The caller, or a [`CancelToken`](super::CancelToken).
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
#[derive(Debug, Clone, PartialEq)]
pub struct Generation {
    /// The tokens generated, with a stop id and those of a stop string.
    pub tokens: Vec<u32>,
    /// Their text without special tokens, up to a stop string; `None` without a tokenizer.
    pub text: Option<String>,
    /// Log-probabilities of each token, where they were asked for.
    pub logprobs: Option<Vec<Logprobs>>,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Those of them that were not computed, because they were kept from before.
    pub reused_tokens: usize,
    /// Why there are no more.
    pub finish: FinishReason,
    /// The seed of the draws, given or found: with it, the same options give the same answer. `None` where nothing was
    /// drawn.
    pub seed: Option<u64>,
    /// How long it took.
    pub timings: Timings,
}

impl Generation {
    /// Prompt tokens computed a second of prefill; 0 where it was cancelled before.
    pub fn prefill_rate(&self) -> f64 {
        match self.timings.prefill {
            Duration::ZERO => 0.0,
            prefill => (self.prompt_tokens - self.reused_tokens) as f64 / prefill.as_secs_f64(),
        }
    }

    /// Tokens a second after the first; `None` where there was only one.
    pub fn decode_rate(&self) -> Option<f64> {
        let after_first = self.tokens.len().checked_sub(1).filter(|&count| count > 0)?;
        Some(after_first as f64 / self.timings.decode.as_secs_f64())
    }
}
