//! How much of the limits a value takes, and what is left for rendering.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use minijinja::value::ValueKind;
use minijinja::{Error, Value};

use super::bounded_text::{BoundedText, exceed};
use super::python::write_text;

/// The longest prompt, bytes. The longest context of a released checkpoint, 262,144 tokens, is about a megabyte of
/// English.
pub(super) const MAX_PROMPT_BYTES: usize = 16 << 20;
/// The deepest nesting of lists.
const MAX_DEPTH: usize = 64;

/// Bytes that may still be rendered, or made on the way.
#[derive(Clone)]
pub(super) struct Budget {
    left: Arc<AtomicUsize>,
    /// What is done with more, and how many there were.
    what: &'static str,
    all: usize,
}

impl Budget {
    /// So many bytes; `what` a template does that takes more.
    pub(super) fn new(bytes: usize, what: &'static str) -> Self {
        Self { left: Arc::new(AtomicUsize::new(bytes)), what, all: bytes }
    }

    /// Takes bytes.
    pub(super) fn spend(&self, bytes: usize) -> Result<(), Error> {
        match self.left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes)) {
            Ok(_) => Ok(()),
            Err(_) => Err(exceed(format!("it {} more than {} bytes", self.what, self.all))),
        }
    }
}

/// What a value may still take.
#[derive(Clone, Copy)]
pub(super) struct Size {
    pub(super) bytes: usize,
    pub(super) items: usize,
}

impl Size {
    pub(super) fn unlimited() -> Self {
        Self { bytes: usize::MAX / 4, items: usize::MAX / 4 }
    }

    pub(super) fn used_bytes(&self) -> usize {
        Self::unlimited().bytes - self.bytes
    }

    pub(super) fn used_items(&self) -> usize {
        Self::unlimited().items - self.items
    }

    pub(super) fn check(mut self, value: &Value) -> Result<(), Error> {
        self.add(value, 0)
    }

    pub(super) fn take(&mut self, bytes: usize) -> Result<(), Error> {
        self.bytes = self.bytes.checked_sub(bytes).ok_or_else(|| exceed("it builds a text that is too long"))?;
        Ok(())
    }

    /// Counts a value and all that is in it. Lists that are made on the way are not walked: nothing of them exists yet.
    pub(super) fn add(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        let too_large = || exceed("it builds a list that is too large");
        self.items = self.items.checked_sub(1).ok_or_else(too_large)?;
        match value.kind() {
            // The engine's length of a text is its characters.
            ValueKind::String => self.take(value.as_str().map_or(0, str::len)),
            ValueKind::Bytes => self.take(value.len().unwrap_or(0)),
            ValueKind::Seq | ValueKind::Map => {
                if depth == MAX_DEPTH || value.len().is_some_and(|length| length > self.items) {
                    return Err(too_large());
                }
                let is_map = value.kind() == ValueKind::Map;
                for key in value.try_iter()? {
                    if is_map {
                        self.add(&value.get_item(&key)?, depth + 1)?;
                    }
                    self.add(&key, depth + 1)?;
                }
                Ok(())
            }
            ValueKind::Iterable if value.len().is_some_and(|length| length > self.items) => Err(too_large()),
            _ => self.take(32),
        }
    }

    /// `str(value)`: quotes and escapes may make it longer than what it is made of.
    pub(super) fn write_text(&self, value: &Value) -> Result<String, Error> {
        let mut text = BoundedText::new(self.bytes);
        write_text(&mut text, value)?;
        Ok(text.finish())
    }

    /// Checks what a text becomes with `to` in place of `from`; returns bytes that it has at most.
    pub(super) fn check_replaced(mut self, text: &str, from: &str, to: &str) -> Result<usize, Error> {
        let added = text.matches(from).count().saturating_mul(to.len());
        self.take(text.len())?;
        self.take(added)?;
        Ok(text.len() + added)
    }
}
