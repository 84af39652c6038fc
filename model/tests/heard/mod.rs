//! Hears what is logged.
#![allow(dead_code, reason = "each test program uses its part")]

use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Messages of events, with their fields behind them.
#[derive(Clone, Default)]
struct Listener {
    heard: Arc<Mutex<Vec<(Level, String)>>>,
}

#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // The message is a field too; the others follow it.
        self.0 += &match field.name() {
            "message" => format!("{value:?} "),
            name => format!("{name}={value:?} "),
        };
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("qwen3_vl_burn")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        self.heard.lock().unwrap().push((*event.metadata().level(), text.0.trim_end().to_owned()));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// What `work` returns, and what this thread logs meanwhile at `level`.
pub fn listen<T>(level: Level, work: impl FnOnce() -> T) -> (T, Vec<String>) {
    let listener = Listener::default();
    let result = tracing::subscriber::with_default(listener.clone(), work);
    let heard = listener.heard.lock().unwrap();
    (result, heard.iter().filter(|(of, _)| *of == level).map(|(_, text)| text.clone()).collect())
}

/// What `work` returns, and the warnings that this thread is given meanwhile.
pub fn warnings<T>(work: impl FnOnce() -> T) -> (T, Vec<String>) {
    listen(Level::WARN, work)
}
