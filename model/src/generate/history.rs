//! Penalties on tokens that have been there.
//!
//! For a token of score `s` that stands in the prompt or the answer, `n` times in the answer:
//!
//! ```text
//! s <- s < 0 ? s · repetition : s / repetition
//! s <- s - frequency · n - (n > 0 ? presence : 0)
//! ```
//!
//! Sources: HF's `RepetitionPenaltyLogitsProcessor`; OpenAI's API reference, "frequency and presence penalties".

use super::Sampling;
use std::collections::HashMap;

/// The tokens so far, as far as the penalties ask for them.
#[derive(Debug, Clone)]
pub(super) struct History {
    repetition: f64,
    presence: f64,
    frequency: f64,
    /// How often each token stands in the answer; 0 for those of the prompt alone.
    counts: HashMap<u32, u32>,
    /// Tokens of the prompt and the answer.
    length: usize,
}

impl History {
    /// The tokens of a prompt.
    pub(super) fn new(sampling: &Sampling, prompt: &[u32]) -> Self {
        let mut history = Self {
            repetition: sampling.repetition_penalty,
            presence: sampling.presence_penalty,
            frequency: sampling.frequency_penalty,
            counts: HashMap::new(),
            length: prompt.len(),
        };
        if history.repetition != 1.0 {
            history.counts.extend(prompt.iter().map(|&token| (token, 0)));
        }
        history
    }

    /// Whether there is a penalty.
    fn is_active(&self) -> bool {
        self.repetition != 1.0 || self.presence != 0.0 || self.frequency != 0.0
    }

    /// Tokens of the prompt and the answer.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Appends a token of the answer.
    pub(super) fn push(&mut self, token: u32) {
        self.length += 1;
        if self.is_active() {
            *self.counts.entry(token).or_insert(0) += 1;
        }
    }

    /// Applies the penalties. Tokens without a score (a tokenizer can have more than a head) are passed over.
    pub(super) fn penalize(&self, scores: &mut [f64]) {
        for (&token, &count) in &self.counts {
            let Some(score) = scores.get_mut(token as usize) else { continue };
            *score = if *score < 0.0 { *score * self.repetition } else { *score / self.repetition };
            if count > 0 {
                *score -= self.frequency * f64::from(count) + self.presence;
            }
        }
    }
}
