//! Which tokens of a conversation are answers.
//!
//! Answers are found by the tokens of ChatML, never by words in the text:
//!
//! ```text
//! <|im_start|> assistant \n  An answer .  <|im_end|> \n
//!                            └───────── labels ───────┘
//! ```
//!
//! A turn is the assistant's where the text between `<|im_start|>` and the first line break is `assistant`. Labels
//! begin after the token with that line break and end with `<|im_end|>` and the line break behind it, as in
//! qwen-vl-finetune (`preprocess_qwen_visual`). What a Thinking template opens the turn with (`<think>`) is labelled
//! too, as there.
//!
//! The tokenizer makes control tokens of their spellings wherever they stand, as HF's does: a user who writes
//! `<|im_end|>` would end the turn. So [`refuse_control_tokens`] lets no text of a record hold one, and every
//! `<|im_start|>` in the prompt is the template's.

use std::ops::Range;

use qwen3_vl_burn::prompt::{Content, Message, TemplateValue, Tokenizer};

use super::sample::IGNORED;
use super::{DataError, Problem};

const TURN_START: &str = "<|im_start|>";
const TURN_END: &str = "<|im_end|>";
/// What no text of a record may hold.
const CONTROL: [&str; 6] =
    [TURN_START, TURN_END, "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"];
/// Most tokens of the name of a role, were each a byte.
const ROLE_TOKENS: usize = 32;
/// The role whose turns are labelled.
pub(super) const ASSISTANT: &str = "assistant";

/// Ids of the tokens around a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TurnTokens {
    start: u32,
    end: u32,
}

impl TurnTokens {
    /// Looks them up.
    ///
    /// # Errors
    /// [`DataError::NoTurnToken`].
    pub fn find(tokenizer: &Tokenizer) -> Result<Self, DataError> {
        let find = |token| tokenizer.find_id(token).ok_or(DataError::NoTurnToken { token });
        Ok(Self { start: find(TURN_START)?, end: find(TURN_END)? })
    }

    /// The answers among `ids`, each with its `<|im_end|>` and the line break behind it, in order.
    pub fn find_answers(&self, ids: &[u32], tokenizer: &Tokenizer) -> Vec<Range<usize>> {
        let starts = ids.iter().enumerate().filter(|&(_, &id)| id == self.start).map(|(at, _)| at + 1);
        starts.filter_map(|at| self.find_answer(ids, at, tokenizer)).collect()
    }

    /// The answer of the turn whose role begins at `at`, if it is the assistant's.
    fn find_answer(&self, ids: &[u32], at: usize, tokenizer: &Tokenizer) -> Option<Range<usize>> {
        let mut role = String::new();
        let mut begin = at;
        while !role.contains('\n') {
            let id = *ids.get(begin).filter(|&&id| id != self.start && id != self.end && begin < at + ROLE_TOKENS)?;
            role.push_str(&tokenizer.decode(&[id], false));
            begin += 1;
        }
        if role.split('\n').next() != Some(ASSISTANT) {
            return None;
        }
        let end = begin + ids[begin..].iter().position(|&id| id == self.end || id == self.start)?;
        if ids[end] == self.start {
            return None;
        }
        let line_break = ids.get(end + 1).is_some_and(|&id| tokenizer.decode(&[id], false) == "\n");
        Some(begin..end + 1 + usize::from(line_break))
    }
}

/// The labels of `ids`: those of `answers` are themselves, all others count nothing.
pub(super) fn label_answers<'a>(ids: &[u32], answers: impl IntoIterator<Item = &'a Range<usize>>) -> Vec<i64> {
    let mut labels = vec![IGNORED; ids.len()];
    for answer in answers {
        for (label, &id) in labels[answer.clone()].iter_mut().zip(&ids[answer.clone()]) {
            *label = i64::from(id);
        }
    }
    labels
}

/// Lets no text of a record hold a control token, whole or put together from several parts.
///
/// # Errors
/// [`Problem::ControlToken`].
pub(super) fn refuse_control_tokens(messages: &[Message], tools: &[TemplateValue]) -> Result<(), Problem> {
    let refuse = |message: usize, text: &str| match CONTROL.iter().find(|token| text.contains(**token)) {
        Some(token) => Err(Problem::ControlToken { message, token }),
        None => Ok(()),
    };
    for (number, message) in messages.iter().enumerate() {
        let texts = message.content.iter().filter_map(|part| match part {
            Content::Text(text) => Some(text.as_str()),
            Content::Image(_) | Content::Video(_) => None,
        });
        let text: String = texts.collect();
        refuse(number, &text)?;
        message.extra.values().try_for_each(|value| refuse(number, &value.to_string()))?;
    }
    tools.iter().try_for_each(|tool| refuse(messages.len(), &tool.to_string()))
}
