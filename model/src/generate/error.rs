//! What can go wrong while generating.

use std::path::PathBuf;

/// Generation cannot start, or cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// Nothing would be generated.
    #[error("max_new_tokens is 0")]
    NoTokens,
    /// An option is out of its range.
    #[error("{option} is {value}, but must be {required}")]
    Option {
        /// Its name, as in [`GenerateOptions`](super::GenerateOptions) and [`Sampling`](super::Sampling).
        option: &'static str,
        /// The value that was found.
        value: String,
        /// What it must be.
        required: &'static str,
    },
    /// A stop string that every text contains.
    #[error("stop string {index} is empty")]
    EmptyStopString {
        /// Which one, from 0.
        index: usize,
    },
    /// Stop strings are looked for in text, which takes a tokenizer.
    #[error("{count} stop strings are given, but no tokenizer that would make text of tokens")]
    StopStringsWithoutTokenizer {
        /// Stop strings given.
        count: usize,
    },
    /// A logit is not a number: damaged weights, or an overflow.
    #[error("logit {token} after {position} tokens is NaN")]
    NotANumber {
        /// Tokens of the prompt and the answer before it.
        position: usize,
        /// The first token whose logit it is.
        token: usize,
    },
    /// No token has a probability.
    #[error("no token can follow the first {position}: all {vocab_size} logits are -inf")]
    NoCandidate {
        /// Tokens of the prompt and the answer before it.
        position: usize,
        /// Logits given.
        vocab_size: usize,
    },
    /// Logits were given to an answer that has ended.
    #[error("the answer ended after {tokens} tokens, and takes no more")]
    Ended {
        /// Tokens of the answer.
        tokens: usize,
    },
    /// The logits could not be read from the device.
    #[error("cannot read logits: {reason}")]
    Read {
        /// What the backend said.
        reason: String,
    },
    /// `generation_config.json` is there and cannot be read.
    #[error("cannot read {}: {reason}", path.display())]
    ReadConfig {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        reason: String,
    },
    /// `generation_config.json` is larger than such a file can be.
    #[error("{} is larger than {limit} bytes, too large for generation settings", path.display())]
    ConfigTooLarge {
        /// The file.
        path: PathBuf,
        /// The most that is read, bytes.
        limit: u64,
    },
    /// `generation_config.json` is not JSON, or not a JSON object.
    #[error("{} is not a JSON object: {reason}", path.display())]
    ConfigJson {
        /// The file.
        path: PathBuf,
        /// What the parser said, with line and column.
        reason: String,
    },
    /// A value of `generation_config.json` has the wrong type or is out of its range.
    #[error("{}: {key} is {value}, but must be {required}", path.display())]
    ConfigValue {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// The value that was found.
        value: String,
        /// What it must be.
        required: &'static str,
    },
}
