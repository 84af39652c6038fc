//! How much a chat template may do.
//!
//! A template comes with a checkpoint, from whoever made that, and is a program. Three limits stop one that has gone
//! wrong:
//!
//! - instructions (the engine's fuel), more of them for longer conversations;
//! - the length of the prompt;
//! - the size of every value that it gives a name to, and of what it renders into one. Names are how a text is doubled
//!   again and again: [`super::template_source`] inserts the calls that look at them.
//!
//! Filters whose result can be far larger than what they are given are replaced or left out.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use minijinja::value::{Kwargs, Rest, ValueKind, from_args};
use minijinja::{Environment, Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::json;
use super::template_source::{CHECK, SPEND};

/// Instructions for a conversation without messages.
const BASE_FUEL: u64 = 1_000_000;
/// Instructions for each message; released templates take about 100, and one that looks back at all messages is
/// quadratic.
const MESSAGE_FUEL: u64 = 20_000;
/// The longest prompt, bytes. The longest context of a released checkpoint, 262,144 tokens, is about a megabyte of
/// English.
const MAX_PROMPT_BYTES: usize = 16 << 20;
/// How often each text of the conversation may be rendered: released templates do so up to four times.
const PASSES: usize = 8;
/// The largest value besides the conversation itself, bytes.
const MAX_VALUE_BYTES: usize = 4 << 20;
/// The most items of a value, those of inner lists counted.
const MAX_ITEMS: usize = 1 << 18;
/// The deepest nesting of lists.
const MAX_DEPTH: usize = 64;

/// What was exceeded, as the cause of an engine's error.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Exceeded(String);

fn exceed(what: String) -> Error {
    Error::new(ErrorKind::InvalidOperation, "limit").with_source(Exceeded(what))
}

/// Finds what was exceeded among the causes of an error.
pub(super) fn find_exceeded(error: &Error) -> Option<String> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(Exceeded(what)) = error.downcast_ref() {
            return Some(what.clone());
        }
        // The writer's refusal comes wrapped in an `io::Error`, which doesn't name it as its source.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(Exceeded(what)) = inner.and_then(|inner| inner.downcast_ref()) {
            return Some(what.clone());
        }
        if error.downcast_ref::<Error>().is_some_and(|error| error.kind() == ErrorKind::OutOfFuel) {
            return Some("it takes too many instructions".to_owned());
        }
        cause = error.source();
    }
    None
}

/// Sets the limits for rendering `messages`; returns what to render them to.
pub(super) fn limit(environment: &mut Environment, messages: &[Value]) -> LimitedWriter {
    let fuel = (messages.len() as u64).saturating_mul(MESSAGE_FUEL).saturating_add(BASE_FUEL);
    environment.set_fuel(Some(fuel));

    // A conversation may be larger than a value: `{% set all = messages %}` is fine.
    let mut given = Size::unlimited();
    messages.iter().for_each(|message| drop(given.add(message, 0)));
    let sizes = Size { bytes: MAX_VALUE_BYTES + given.used_bytes(), items: MAX_ITEMS + given.used_items() };

    let prompt_bytes = MAX_PROMPT_BYTES + given.used_bytes();
    // A text on its way into the prompt may be rendered into a name, or through a macro, a few times.
    let left = Arc::new(AtomicUsize::new(MAX_PROMPT_BYTES + given.used_bytes().saturating_mul(PASSES)));
    let spend = move |bytes: usize| match left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes)) {
        Ok(_) => Ok(()),
        Err(_) => Err(exceed(format!("it renders more than {MAX_PROMPT_BYTES} bytes"))),
    };
    let spend_text = spend.clone();
    environment.add_function(SPEND, move |bytes: usize| spend_text(bytes).map(|()| ""));
    environment.add_function(CHECK, move |values: Value| sizes.check(&values).map(|()| false));
    environment.set_formatter(move |output, state, value| {
        let mut size = sizes;
        size.add(value, 0)?;
        spend(sizes.bytes - size.bytes)?;
        minijinja::escape_formatter(output, state, value)
    });

    for name in ["format", "batch", "slice", "pprint", "urlencode", "chain", "zip"] {
        environment.remove_filter(name);
    }
    environment.add_filter("tojson", move |value: Value, kwargs: Kwargs| {
        sizes.check(&value)?;
        sizes.check_text(json::format_json(&value, kwargs)?)
    });
    environment.add_filter("string", move |value: Value| {
        if value.as_str().is_some() {
            return Ok(value);
        }
        sizes.check(&value)?;
        sizes.check_text(value.to_string()).map(Value::from)
    });
    environment.add_filter("replace", move |text: Cow<'_, str>, from: Cow<'_, str>, to: Cow<'_, str>| {
        sizes.check_replaced(&text, &from, &to).map(|()| text.replace(&*from, &to))
    });
    environment.add_filter("join", move |values: &Value, separator: Option<Cow<'_, str>>| {
        join_values(&sizes, values, separator.as_deref().unwrap_or_default())
    });
    environment.add_filter("indent", move |text: Cow<'_, str>, arguments: Rest<Value>| {
        let (width, first, blank, named): (Option<usize>, Option<bool>, Option<bool>, Kwargs) = from_args(&arguments)?;
        let width = width.or(named.get("width")?).unwrap_or(4);
        let first = first.or(named.get("first")?).unwrap_or(false);
        let blank = blank.or(named.get("blank")?).unwrap_or(false);
        named.assert_all_used()?;
        indent_lines(&sizes, &text, width, first, blank)
    });
    environment.set_unknown_method_callback(move |state, value, method, arguments| {
        call_method(&sizes, state, value, method, arguments)
    });
    LimitedWriter { bytes: Vec::new(), left: prompt_bytes }
}

/// What a value may still take.
#[derive(Clone, Copy)]
struct Size {
    bytes: usize,
    items: usize,
}

impl Size {
    fn unlimited() -> Self {
        Self { bytes: usize::MAX / 4, items: usize::MAX / 4 }
    }

    fn used_bytes(&self) -> usize {
        Self::unlimited().bytes - self.bytes
    }

    fn used_items(&self) -> usize {
        Self::unlimited().items - self.items
    }

    fn check(mut self, value: &Value) -> Result<(), Error> {
        self.add(value, 0)
    }

    fn take(&mut self, bytes: usize) -> Result<(), Error> {
        self.bytes =
            self.bytes.checked_sub(bytes).ok_or_else(|| exceed("it builds a text that is too long".to_owned()))?;
        Ok(())
    }

    /// Counts a value and all that is in it. Lists that are made on the way are not walked: nothing of them exists yet.
    fn add(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        let too_large = || exceed("it builds a list that is too large".to_owned());
        self.items = self.items.checked_sub(1).ok_or_else(too_large)?;
        match value.kind() {
            ValueKind::String | ValueKind::Bytes => self.take(value.len().unwrap_or(0)),
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

    /// Checks a text that was just made: quotes and escapes may make it longer than what it was made of.
    fn check_text(mut self, text: String) -> Result<String, Error> {
        self.take(text.len()).map(|()| text)
    }

    fn check_replaced(mut self, text: &str, from: &str, to: &str) -> Result<(), Error> {
        self.take(text.len())?;
        self.take(text.matches(from).count().saturating_mul(to.len()))
    }
}

fn join_values(sizes: &Size, values: &Value, separator: &str) -> Result<String, Error> {
    let mut size = *sizes;
    let mut joined = String::new();
    for (index, value) in values.try_iter()?.enumerate() {
        size.add(&value, 0)?;
        if index > 0 {
            size.take(separator.len())?;
            joined.push_str(separator);
        }
        match value.as_str() {
            Some(text) => joined.push_str(text),
            None => joined.push_str(&value.to_string()),
        }
    }
    sizes.check_text(joined)
}

/// Indents all lines but the first, and empty ones, unless they are asked for (Jinja's `indent`).
fn indent_lines(size: &Size, text: &str, width: usize, first: bool, blank: bool) -> Result<String, Error> {
    let mut size = *size;
    let mut indented = String::new();
    for (index, line) in text.split('\n').enumerate() {
        if index > 0 {
            indented.push('\n');
        }
        size.take(line.len() + 1)?;
        if if index == 0 { first } else { blank || !line.is_empty() } {
            size.take(width)?;
            indented.push_str(&" ".repeat(width));
        }
        indented.push_str(line);
    }
    Ok(indented)
}

/// Python's methods of texts, lists and dictionaries.
fn call_method(size: &Size, state: &State, value: &Value, method: &str, arguments: &[Value]) -> Result<Value, Error> {
    match (value.as_str(), method, arguments) {
        (Some(text), "replace", [from, to, ..]) => {
            if let (Some(from), Some(to)) = (from.as_str(), to.as_str()) {
                size.check_replaced(text, from, to)?;
            }
        }
        (Some(separator), "join", [values]) => return join_values(size, values, separator).map(Value::from),
        (Some(_), "format", _) => {
            return Err(Error::new(ErrorKind::UnknownMethod, "`format` is not supported: join the values with `~`"));
        }
        _ => {}
    }
    unknown_method_callback(state, value, method, arguments)
}

/// A prompt that refuses to become too long. Long texts of the template itself are counted by [`SPEND`], short ones
/// only here.
pub(super) struct LimitedWriter {
    pub(super) bytes: Vec<u8>,
    left: usize,
}

impl io::Write for LimitedWriter {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let Some(left) = self.left.checked_sub(text.len()) else {
            return Err(io::Error::other(Exceeded(format!("it renders more than {MAX_PROMPT_BYTES} bytes"))));
        };
        self.left = left;
        self.bytes.extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
