//! What is asked of a generation.

use super::{CancelToken, GenerateError, Sampling};

/// Most alternatives that can be asked for with each token.
pub const MAX_LOGPROBS: usize = 100;

/// How much is generated, how, and what ends it.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateOptions {
    /// At most this many tokens; at least 1.
    pub max_new_tokens: usize,
    /// Tokens that end the answer; the one that does is its last. Empty: none does.
    pub stop_ids: Vec<u32>,
    /// Texts that end the answer; the one that does is cut off its text. They are looked for in the text without
    /// special tokens, which [`stop_ids`](Self::stop_ids) are for.
    pub stop_strings: Vec<String>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Whether log-probabilities are given with each token, and of how many of the likeliest tokens beside its own; at
    /// most [`MAX_LOGPROBS`].
    pub logprobs: Option<usize>,
    /// Whether keys and values are kept. Without, each token costs a whole prefill: for verification.
    pub use_cache: bool,
    /// Ends the answer from elsewhere.
    pub cancel: Option<CancelToken>,
}

impl GenerateOptions {
    /// Up to `max_new_tokens` of the likeliest tokens, with a cache, and nothing that ends them earlier.
    pub fn new(max_new_tokens: usize) -> Self {
        Self {
            max_new_tokens,
            stop_ids: Vec::new(),
            stop_strings: Vec::new(),
            sampling: Sampling::greedy(),
            logprobs: None,
            use_cache: true,
            cancel: None,
        }
    }

    /// Ends at any of `stop_ids`.
    pub fn with_stop_ids(mut self, stop_ids: Vec<u32>) -> Self {
        self.stop_ids = stop_ids;
        self
    }

    /// Ends where the text has any of `stop_strings`.
    pub fn with_stop_strings<S: Into<String>>(mut self, stop_strings: impl IntoIterator<Item = S>) -> Self {
        self.stop_strings = stop_strings.into_iter().map(Into::into).collect();
        self
    }

    /// Chooses tokens so.
    pub fn with_sampling(mut self, sampling: Sampling) -> Self {
        self.sampling = sampling;
        self
    }

    /// Gives the log-probability of each token, and the `alternatives` likeliest tokens.
    pub fn with_logprobs(mut self, alternatives: usize) -> Self {
        self.logprobs = Some(alternatives);
        self
    }

    /// Keeps keys and values, or not.
    pub fn with_cache(mut self, use_cache: bool) -> Self {
        self.use_cache = use_cache;
        self
    }

    /// Ends when `cancel` is set.
    pub fn with_cancel(mut self, cancel: CancelToken) -> Self {
        self.cancel = Some(cancel);
        self
    }

    /// Whether [`cancel`](Self::cancel) is there and set.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.as_ref().is_some_and(CancelToken::is_cancelled)
    }

    /// Checks that every value is in its range.
    ///
    /// # Errors
    /// [`GenerateError::NoTokens`], [`GenerateError::Option`], [`GenerateError::EmptyStopString`].
    pub fn validate(&self) -> Result<(), GenerateError> {
        if self.max_new_tokens == 0 {
            return Err(GenerateError::NoTokens);
        }
        self.sampling.validate()?;
        if let Some(index) = self.stop_strings.iter().position(String::is_empty) {
            return Err(GenerateError::EmptyStopString { index });
        }
        match self.logprobs.filter(|&alternatives| alternatives > MAX_LOGPROBS) {
            Some(alternatives) => Err(GenerateError::Option {
                option: "logprobs",
                value: alternatives.to_string(),
                required: "at most 100",
            }),
            None => Ok(()),
        }
    }
}
