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
//! Operators and filters whose result can be far larger than what they are given are replaced by ones that look at its
//! size first, or left out. What products and `format` make counts to what is rendered, so that many of them in one tag
//! are no way around; what `~`, `tojson`, `replace` and others make out of what is there has a budget of its own.

use std::io;

use minijinja::value::ValueKind;
use minijinja::{Environment, Error, ErrorKind, Value};

use super::bounded_text::Exceeded;
use super::template_functions::{Limits, add_filters, call_method};
use super::template_size::{Budget, MAX_PROMPT_BYTES, Size};
use super::template_source::{CHECK, SPEND};

/// Instructions for a conversation without messages.
const BASE_FUEL: u64 = 1_000_000;
/// Instructions for each message; released templates take about 100, and one that looks back at all messages is
/// quadratic.
const MESSAGE_FUEL: u64 = 20_000;
/// How often each text of the conversation may be rendered: released templates do so up to four times.
const PASSES: usize = 8;
/// The most bytes of texts that are made on the way to the prompt: a second's copying.
const MAX_MADE_BYTES: usize = 256 << 20;
/// The largest value besides the conversation itself, bytes.
const MAX_VALUE_BYTES: usize = 4 << 20;
/// The most items of a value, those of inner lists counted.
const MAX_ITEMS: usize = 1 << 18;

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
    let budget = Budget::new(MAX_PROMPT_BYTES + given.used_bytes().saturating_mul(PASSES), "renders");
    // A template that joins a prompt out of all messages copies what it has for each of them.
    let making = Budget::new(MAX_MADE_BYTES + given.used_bytes().saturating_mul(messages.len() + PASSES), "makes");
    let limits = Limits { sizes, budget, making };
    let budget = limits.budget.clone();
    environment.add_function(SPEND, move |bytes: usize| budget.spend(bytes).map(|()| ""));
    environment.add_function(CHECK, move |values: Value| sizes.check(&values).map(|()| false));
    let budget = limits.budget.clone();
    environment.set_formatter(move |output, state, value| {
        let mut size = sizes;
        size.add(value, 0)?;
        budget.spend(sizes.bytes - size.bytes)?;
        match value.kind() {
            ValueKind::Number | ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => {
                output.write_str(&sizes.write_text(value)?).map_err(Error::from)
            }
            _ => minijinja::escape_formatter(output, state, value),
        }
    });
    add_filters(environment, &limits);
    environment.set_unknown_method_callback(move |state, value, method, arguments| {
        call_method(&limits, state, value, method, arguments)
    });
    LimitedWriter { bytes: Vec::new(), left: prompt_bytes }
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
