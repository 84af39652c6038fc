//! What can be wrong with a tokenizer, a template or a prompt.

use std::path::PathBuf;

use thiserror::Error;

use super::Modality;
use crate::processor::{Grid, ImageError};

/// Why a prompt could not be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PromptError {
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },

    /// A file is larger than it can be.
    #[error("{} has more than {limit} bytes, too many for what it should hold", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The most that is read, bytes.
        limit: u64,
    },

    /// A file is not the JSON that it should be.
    #[error("{} is not the JSON that it should be: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },

    /// A tokenizer file is damaged.
    #[error("{} is no tokenizer: {reason}", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What the tokenizer library said.
        reason: String,
    },

    /// A tokenizer of another kind than Qwen's, whose tokens are bytes.
    #[error("{} has {found} for a decoder; only byte-level tokenizers are supported", path.display())]
    Decoder {
        /// The file.
        path: PathBuf,
        /// The decoder found.
        found: String,
    },

    /// The tokenizer refused a text.
    #[error("cannot encode a text of {bytes} bytes: {reason}")]
    Encode {
        /// Length of the text.
        bytes: usize,
        /// What the tokenizer library said.
        reason: String,
    },

    /// The tokenizer lacks a token that prompts with pictures need.
    #[error("the tokenizer has no token `{token}`")]
    MissingToken {
        /// The token.
        token: &'static str,
    },

    /// A chat template is not valid Jinja, or failed on these messages.
    #[error("chat template {origin}: {source}")]
    Template {
        /// Where the template came from.
        origin: String,
        /// What the template engine said, with the line.
        source: minijinja::Error,
    },

    /// A chat template refused the messages through `raise_exception`.
    #[error("chat template {origin} refuses these messages: {message}")]
    Refused {
        /// Where the template came from.
        origin: String,
        /// What the template said.
        message: String,
    },

    /// A chat template does more than a prompt can need: it loops for ever, builds texts without end, or is no template
    /// at all.
    #[error("chat template {origin} is stopped: {reason}")]
    Unbounded {
        /// Where the template came from.
        origin: String,
        /// What there was too much of.
        reason: String,
    },

    /// The template engine itself failed: a fault of its own, which this template brings out.
    #[error("chat template {origin} makes the template engine fail: {reason}")]
    Engine {
        /// Where the template came from.
        origin: String,
        /// What the engine said.
        reason: String,
    },

    /// A prompt has more or fewer placeholders than pictures (or videos) were given.
    #[error("the prompt has {placeholders} {modality} placeholders, {given} were given")]
    Count {
        /// Pictures or videos.
        modality: Modality,
        /// Placeholders in the prompt.
        placeholders: usize,
        /// Pictures or videos given.
        given: usize,
    },

    /// A picture or video of a message cannot be decoded or processed, and its error doesn't say where it comes from.
    #[error("{modality} {index} of the conversation, in message {message} (both counted from 0): {source}")]
    Media {
        /// Picture or video.
        modality: Modality,
        /// Which one of all pictures and videos, from 0.
        index: usize,
        /// Which message, from 0.
        message: usize,
        /// What is wrong.
        source: Box<ImageError>,
    },

    /// A picture or video of a message that says nothing about where it is.
    #[error("{modality} {index} of the conversation has no source: expected a path, a data URI or data")]
    NoSource {
        /// Picture or video.
        modality: Modality,
        /// Which one of all pictures and videos, from 0.
        index: usize,
    },

    /// A grid doesn't consist of whole merge blocks.
    #[error("{modality} {index} has {grid:?}, which is not whole blocks of {merge} x {merge} patches")]
    Grid {
        /// Picture or video.
        modality: Modality,
        /// Which one, from 0.
        index: usize,
        /// Its grid in patches.
        grid: Grid,
        /// Side of a merge block in patches.
        merge: usize,
    },

    /// A video needs one timestamp for each temporal patch.
    #[error("video {index} has {expected} temporal patches and {found} timestamps")]
    Timestamps {
        /// Which video, from 0.
        index: usize,
        /// Its temporal patches.
        expected: usize,
        /// Timestamps given.
        found: usize,
    },

    /// A run of image (or video) tokens is not as long as its grid.
    #[error("{modality} {index} needs {expected} tokens, the prompt has {found} at position {position}")]
    RunLength {
        /// Picture or video frame.
        modality: Modality,
        /// Which picture, or which frame of all videos, from 0.
        index: usize,
        /// Index of its first token in the prompt.
        position: usize,
        /// Tokens of its grid.
        expected: usize,
        /// Tokens in the prompt.
        found: usize,
    },
}
