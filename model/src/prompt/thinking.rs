//! What the model thought, apart from what it answered.
//!
//! A Thinking checkpoint writes `<think>`, its thoughts, `</think>`, and then the answer. Its template puts the opening
//! tag at the end of the prompt, so that what is generated holds only the closing one ([`opens_thinking`] tells). One
//! block at the very beginning is all there is: tags that come later are part of the answer (a user may have asked
//! about them).
//!
//! Line breaks next to the tags belong to the format and are dropped, as Qwen3's template drops them.

const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";

/// A generated text, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The thoughts; `None` where there was no block, empty where the block was.
    pub thinking: Option<String>,
    /// What follows them.
    pub content: String,
    /// Whether the block was never closed: generation ended while the model was thinking, and there is no content.
    pub unfinished: bool,
}

/// A piece of a streamed answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AnswerPiece {
    /// Some of the thoughts.
    Thinking(String),
    /// Some of the answer.
    Content(String),
}

/// Whether `prompt` ends inside a thinking block, so that the answer begins with thoughts and no tag.
pub fn opens_thinking(prompt: &str) -> bool {
    prompt.trim_end().ends_with(OPEN)
}

/// Takes a whole generated text apart: a block that it opens itself, or, where it only closes one, a block that the
/// prompt opened.
///
/// A text with neither tag is an answer without thoughts. Where the prompt is known, [`split_opened_thinking`] also
/// knows a block that was opened there and never closed.
pub fn split_thinking(text: &str) -> Answer {
    let opens = text.trim_start().starts_with(OPEN);
    collect_answer(text, !opens && text.contains(CLOSE))
}

/// Takes apart what follows a prompt for which [`opens_thinking`]: without a closing tag all of it is thoughts.
pub fn split_opened_thinking(text: &str) -> Answer {
    collect_answer(text, true)
}

fn collect_answer(text: &str, opened: bool) -> Answer {
    let mut stream = ThinkingStream::new(opened);
    let mut pieces = stream.push(text);
    let unfinished = stream.is_thinking();
    let thinks = stream.thinks();
    pieces.extend(stream.finish());
    let mut answer = Answer { thinking: thinks.then(String::new), content: String::new(), unfinished };
    for piece in pieces {
        match piece {
            AnswerPiece::Thinking(text) => answer.thinking.get_or_insert_default().push_str(&text),
            AnswerPiece::Content(text) => answer.content.push_str(&text),
        }
    }
    answer
}

/// Tells thoughts from answer while the text arrives.
///
/// No tag is ever part of a piece, however the text is cut: what may become one waits, and so do line breaks that may
/// turn out to stand before a tag. The pieces joined equal [`split_thinking`] of the whole (or
/// [`split_opened_thinking`]).
#[derive(Clone, Debug)]
pub struct ThinkingStream {
    state: State,
    pending: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing but white space yet, or the beginning of an opening tag.
    Start { opened: bool },
    /// Inside the block; `begun` after its first character that is no line break.
    Thinking { begun: bool },
    /// After the block, where line breaks are still to be dropped.
    AfterBlock,
    /// In the answer; `thought` where a block came before.
    Content { thought: bool },
}

impl ThinkingStream {
    /// A stream that begins inside a block if the prompt `opened` one ([`opens_thinking`]).
    pub fn new(opened: bool) -> Self {
        Self { state: State::Start { opened }, pending: String::new() }
    }

    /// Takes more text; returns what is certain.
    pub fn push(&mut self, text: &str) -> Vec<AnswerPiece> {
        self.pending.push_str(text);
        self.take(false)
    }

    /// Ends the text; returns what was waiting.
    pub fn finish(mut self) -> Vec<AnswerPiece> {
        self.take(true)
    }

    /// Whether the text so far ends inside the block.
    pub fn is_thinking(&self) -> bool {
        matches!(self.state, State::Start { opened: true } | State::Thinking { .. })
    }

    /// Whether there is a block.
    fn thinks(&self) -> bool {
        self.state != State::Start { opened: false } && self.state != State::Content { thought: false }
    }

    fn take(&mut self, last: bool) -> Vec<AnswerPiece> {
        let mut pieces = Vec::new();
        while let Some(next) = self.step(last, &mut pieces) {
            self.state = next;
        }
        pieces
    }

    /// Takes what it can in this state; returns the next one, or `None` to wait for more text.
    fn step(&mut self, last: bool, pieces: &mut Vec<AnswerPiece>) -> Option<State> {
        match self.state {
            State::Start { opened } => {
                let rest = self.pending.trim_start();
                if let Some(after) = rest.strip_prefix(OPEN) {
                    self.pending = after.to_owned();
                    return Some(State::Thinking { begun: false });
                }
                let waits = !last && OPEN.starts_with(rest);
                let next = if opened { State::Thinking { begun: false } } else { State::Content { thought: false } };
                (!waits && !self.pending.is_empty()).then_some(next)
            }
            State::Thinking { begun } => {
                if !begun {
                    self.drop_line_breaks();
                }
                let end = self.pending.find(CLOSE);
                let certain = match end {
                    Some(at) => self.pending[..at].trim_end_matches('\n').len(),
                    None if last => self.pending.trim_end_matches('\n').len(),
                    None => count_certain(&self.pending),
                };
                if certain > 0 {
                    pieces.push(AnswerPiece::Thinking(self.pending[..certain].to_owned()));
                }
                self.pending.drain(..end.map_or(certain, |at| at + CLOSE.len()));
                if end.is_some() {
                    return Some(State::AfterBlock);
                }
                self.state = State::Thinking { begun: begun || certain > 0 };
                None
            }
            State::AfterBlock => {
                self.drop_line_breaks();
                (!self.pending.is_empty()).then_some(State::Content { thought: true })
            }
            State::Content { .. } => {
                if !self.pending.is_empty() {
                    pieces.push(AnswerPiece::Content(std::mem::take(&mut self.pending)));
                }
                None
            }
        }
    }

    fn drop_line_breaks(&mut self) {
        let breaks = self.pending.len() - self.pending.trim_start_matches('\n').len();
        self.pending.drain(..breaks);
    }
}

/// Bytes of `thoughts` that stand neither in a tag that is just being written nor in line breaks before one.
fn count_certain(thoughts: &str) -> usize {
    // A `<` is one byte, so every cut is at a character.
    let tag = (1..CLOSE.len()).rev().find(|&length| thoughts.ends_with(&CLOSE[..length])).unwrap_or(0);
    thoughts[..thoughts.len() - tag].trim_end_matches('\n').len()
}
