//! What can be wrong with inputs.

use crate::prompt::Modality;

/// Inputs that don't fit the model, or each other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// There is no token.
    #[error("the prompt is empty")]
    Empty,
    /// A token id that has no embedding.
    #[error("token {index} is {id}, but the vocabulary has {vocab_size} tokens")]
    TokenId {
        /// Its place in the prompt.
        index: usize,
        /// The id.
        id: u32,
        /// Tokens that have an embedding.
        vocab_size: usize,
    },
    /// The pixel values are not those of the grids.
    #[error("the {modality} grids need {expected} pixel values ({patches} patches), {found} were given")]
    PixelCount {
        /// Pictures or videos.
        modality: Modality,
        /// Patches of all grids.
        patches: usize,
        /// Values that they need.
        expected: usize,
        /// Values given.
        found: usize,
    },
    /// The prompt, with what is to be generated, exceeds the model's context.
    #[error("{prompt} prompt tokens and {added} to be generated exceed the context of {limit} tokens")]
    TooLong {
        /// Tokens of the prompt, or as many as were counted.
        prompt: usize,
        /// Tokens to be generated.
        added: usize,
        /// [`TextConfig::context_length`](crate::config::TextConfig::context_length).
        limit: usize,
    },
}
