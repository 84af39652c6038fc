//! A text that refuses to become too long, and the error that says so.

use minijinja::{Error, ErrorKind};

/// What a template exceeded, as the cause of an engine's error.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Exceeded(pub(super) String);

/// The engine's error for a template that does too much.
pub(super) fn exceed(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, "limit").with_source(Exceeded(what.into()))
}

/// A text under construction, of so many bytes at most: checked before they are written, so that a width of a billion
/// blanks costs nothing.
pub(super) struct BoundedText {
    text: String,
    left: usize,
}

impl BoundedText {
    /// An empty text that may have `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { text: String::new(), left: limit }
    }

    /// Appends `text`.
    pub(super) fn push(&mut self, text: &str) -> Result<(), Error> {
        self.take(text.len())?;
        self.text.push_str(text);
        Ok(())
    }

    /// Appends one character.
    pub(super) fn push_char(&mut self, character: char) -> Result<(), Error> {
        self.push(character.encode_utf8(&mut [0; 4]))
    }

    /// Appends `text` so many times.
    pub(super) fn repeat(&mut self, text: &str, times: usize) -> Result<(), Error> {
        self.take(text.len().saturating_mul(times))?;
        // Nothing, any number of times, is nothing.
        if !text.is_empty() {
            self.text.extend(std::iter::repeat_n(text, times));
        }
        Ok(())
    }

    /// How many bytes may still be written.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// The text.
    pub(super) fn finish(self) -> String {
        self.text
    }

    fn take(&mut self, bytes: usize) -> Result<(), Error> {
        self.left = self.left.checked_sub(bytes).ok_or_else(|| exceed("it builds a text that is too long"))?;
        Ok(())
    }
}
