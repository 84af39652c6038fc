//! How the next token is chosen.

use super::GenerateError;

/// Largest presence and frequency penalty, as in OpenAI's API.
const MAX_PENALTY: f64 = 2.0;

/// How a token is chosen from its logits: penalties, temperature, top-k, top-p, min-p and a draw, in this order, which
/// is that of the fields and HF's ([`Sampler`](super::Sampler)).
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// Scores of tokens that stand in the prompt or the answer are divided by it where positive and multiplied where
    /// negative, once however often they stand there. 1 for none; above 0. Source: Keskar et al. 2019 (CTRL), section
    /// 4.1.
    pub repetition_penalty: f64,
    /// Is subtracted from the scores of tokens that stand in the answer. 0 for none; within -2..=2. Source: OpenAI's
    /// API.
    pub presence_penalty: f64,
    /// Is subtracted from the scores of tokens as often as they stand in the answer. 0 for none; within -2..=2.
    pub frequency_penalty: f64,
    /// Scores are divided by it. 0 takes the likeliest token, the first of equals, and leaves out all further steps; at
    /// least 0.
    pub temperature: f64,
    /// Only this many of the likeliest tokens remain, and those as likely as the last of them. 0 for all.
    pub top_k: usize,
    /// Of those, the likeliest remain until they hold this share of the probability. 1 for all; above 0, at most 1.
    /// Source: Holtzman et al. 2020, section 3.1.
    pub top_p: f64,
    /// Of those, the ones remain that have at least this fraction of the likeliest one's probability. 0 for all; within
    /// 0..=1. Source: Nguyen et al. 2024, section 3.
    pub min_p: f64,
    /// Fixes the draws: the same seed gives the same tokens, whatever the number of threads. `None` takes a seed from
    /// the operating system, which [`Generation::seed`](super::Generation::seed) tells.
    pub seed: Option<u64>,
}

impl Default for Sampling {
    /// [`Sampling::greedy`].
    fn default() -> Self {
        Self::greedy()
    }
}

impl Sampling {
    /// The likeliest token each time, without penalties. With a temperature: draws from all tokens.
    pub fn greedy() -> Self {
        Self {
            repetition_penalty: 1.0,
            presence_penalty: 0.0,
            frequency_penalty: 0.0,
            temperature: 0.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            seed: None,
        }
    }

    /// What Qwen publishes for the Instruct models: temperature 0.7, top-k 20, top-p 0.8, presence penalty 1.5.
    /// Source: Qwen3-VL's model cards.
    pub fn instruct() -> Self {
        Self::greedy().with_temperature(0.7).with_top_k(20).with_top_p(0.8).with_presence_penalty(1.5)
    }

    /// Sets [`repetition_penalty`](Self::repetition_penalty).
    pub fn with_repetition_penalty(mut self, repetition_penalty: f64) -> Self {
        self.repetition_penalty = repetition_penalty;
        self
    }

    /// Sets [`presence_penalty`](Self::presence_penalty).
    pub fn with_presence_penalty(mut self, presence_penalty: f64) -> Self {
        self.presence_penalty = presence_penalty;
        self
    }

    /// Sets [`frequency_penalty`](Self::frequency_penalty).
    pub fn with_frequency_penalty(mut self, frequency_penalty: f64) -> Self {
        self.frequency_penalty = frequency_penalty;
        self
    }

    /// Sets [`temperature`](Self::temperature).
    pub fn with_temperature(mut self, temperature: f64) -> Self {
        self.temperature = temperature;
        self
    }

    /// Sets [`top_k`](Self::top_k).
    pub fn with_top_k(mut self, top_k: usize) -> Self {
        self.top_k = top_k;
        self
    }

    /// Sets [`top_p`](Self::top_p).
    pub fn with_top_p(mut self, top_p: f64) -> Self {
        self.top_p = top_p;
        self
    }

    /// Sets [`min_p`](Self::min_p).
    pub fn with_min_p(mut self, min_p: f64) -> Self {
        self.min_p = min_p;
        self
    }

    /// Sets [`seed`](Self::seed).
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Whether nothing is drawn: the temperature is 0.
    pub fn is_greedy(&self) -> bool {
        self.temperature == 0.0
    }

    /// Checks that every value is in its range.
    ///
    /// # Errors
    /// [`GenerateError::Option`], of the first that isn't.
    pub fn validate(&self) -> Result<(), GenerateError> {
        let penalty = |value: f64| value.abs() <= MAX_PENALTY;
        let checks: [(&'static str, f64, bool, &'static str); 6] = [
            (
                "repetition_penalty",
                self.repetition_penalty,
                self.repetition_penalty.is_finite() && self.repetition_penalty > 0.0,
                "a finite number above 0",
            ),
            ("presence_penalty", self.presence_penalty, penalty(self.presence_penalty), "within -2..=2"),
            ("frequency_penalty", self.frequency_penalty, penalty(self.frequency_penalty), "within -2..=2"),
            (
                "temperature",
                self.temperature,
                self.temperature.is_finite() && self.temperature >= 0.0,
                "a finite number of at least 0",
            ),
            ("top_p", self.top_p, self.top_p > 0.0 && self.top_p <= 1.0, "above 0 and at most 1"),
            ("min_p", self.min_p, (0.0..=1.0).contains(&self.min_p), "within 0..=1"),
        ];
        match checks.into_iter().find(|(_, _, holds, _)| !holds) {
            Some((option, value, _, required)) => {
                Err(GenerateError::Option { option, value: value.to_string(), required })
            }
            None => Ok(()),
        }
    }
}
