//! What can go wrong while generating.

/// Generation cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// Nothing would be generated.
    #[error("max_new_tokens is 0")]
    NoTokens,
    /// A logit is not a number: damaged weights, or an overflow.
    #[error("logit {token} after {position} tokens is NaN")]
    NotANumber {
        /// Tokens of the prompt and the answer before it.
        position: usize,
        /// The first token whose logit it is.
        token: usize,
    },
    /// The logits could not be read from the device.
    #[error("cannot read logits: {reason}")]
    Read {
        /// What the backend said.
        reason: String,
    },
}
