//! The text of an answer: tokens to characters, characters to what may be shown.

use super::stop::StopMatcher;
use crate::prompt::{TokenStream, Tokenizer};

/// The text of one answer under way.
#[derive(Debug, Clone)]
pub(super) struct AnswerText<'a> {
    stream: TokenStream<'a>,
    stops: StopMatcher,
    /// All that has been shown.
    shown: String,
}

impl<'a> AnswerText<'a> {
    /// Nothing yet; ends at any of `stops`, none of them empty.
    pub(super) fn new(tokenizer: &'a Tokenizer, stops: Vec<String>) -> Self {
        Self { stream: tokenizer.stream(true), stops: StopMatcher::new(stops), shown: String::new() }
    }

    /// Takes a token, the last one or not; returns what may be shown now and the stop string that it completes. After
    /// the last one nothing is held back: an unfinished character becomes U+FFFD.
    pub(super) fn push(&mut self, token: u32, last: bool) -> (String, Option<usize>) {
        let mut text = self.stream.push(token);
        if last {
            text += &self.stream.clone().finish();
        }
        let (mut shown, stop) = self.stops.push(&text);
        if last && stop.is_none() {
            shown += &self.stops.finish();
        }
        self.shown += &shown;
        (shown, stop)
    }

    /// Shows what was held back.
    pub(super) fn break_off(&mut self) {
        let (text, stop) = self.stops.push(&self.stream.clone().finish());
        self.shown += &text;
        if stop.is_none() {
            self.shown += &self.stops.finish();
        }
    }

    /// All of it.
    pub(super) fn into_shown(self) -> String {
        self.shown
    }
}
