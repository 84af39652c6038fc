//! Calls of tools in an answer, and the messages that carry them.
//!
//! Qwen3 writes each call as a block of its own (the format of Hermes), after whatever it has to say:
//!
//! ```text
//! I'll look.
//! <tool_call>
//! {"name": "find", "arguments": {"what": "cats"}}
//! </tool_call>
//! ```

use minijinja::Value as TemplateValue;
use minijinja::value::ValueKind;
use serde::de::DeserializeOwned;
use thiserror::Error;

use super::thinking::Answer;
use super::{Content, Message};

const OPEN: &str = "<tool_call>";
const CLOSE: &str = "</tool_call>";

/// A call that the model asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCall {
    /// Name of the function.
    pub name: String,
    /// An object with its arguments, in the order in which the model wrote them: it shows when a template prints them
    /// again.
    pub arguments: TemplateValue,
}

impl ToolCall {
    /// The arguments as a type of the caller's (`serde_json::Value` among them).
    ///
    /// # Errors
    /// [`ToolCallError::Type`] for arguments that don't fit.
    pub fn read_arguments<T: DeserializeOwned>(&self) -> Result<T, ToolCallError> {
        T::deserialize(self.arguments.clone()).map_err(|error| ToolCallError::Type {
            raw: self.arguments.to_string(),
            name: self.name.clone(),
            reason: error.to_string(),
        })
    }
}

/// An answer, its calls apart from the rest.
#[derive(Debug, Default)]
pub struct ToolAnswer {
    /// The text outside the blocks, without the line break before each of them.
    pub content: String,
    /// The blocks in order: calls, and blocks that are none.
    pub calls: Vec<Result<ToolCall, ToolCallError>>,
}

/// A block that is no call. Each variant keeps the text of the block, so that it can be shown to the model again.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ToolCallError {
    /// The block holds no JSON.
    #[error("a tool call is not JSON ({source}): {raw}")]
    Json {
        /// The text between the tags.
        raw: String,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// The block holds JSON that isn't an object.
    #[error("a tool call is {found}, not an object: {raw}")]
    NotAnObject {
        /// The text between the tags.
        raw: String,
        /// What it is instead.
        found: ValueKind,
    },
    /// The object has no `name`, or one that is no text.
    #[error("a tool call has no name: {raw}")]
    MissingName {
        /// The text between the tags.
        raw: String,
    },
    /// The `arguments` are neither an object nor a text that holds one.
    #[error("the arguments of the tool call `{name}` are {found}, not an object: {raw}")]
    Arguments {
        /// The text between the tags.
        raw: String,
        /// Name of the function.
        name: String,
        /// What they are instead.
        found: ValueKind,
    },
    /// The answer ends before the block does.
    #[error("a tool call is not closed: {raw}")]
    Unclosed {
        /// The text after the opening tag.
        raw: String,
    },
    /// The arguments aren't of the type that the caller wants.
    #[error("the arguments of the tool call `{name}` don't fit ({reason}): {raw}")]
    Type {
        /// The arguments.
        raw: String,
        /// Name of the function.
        name: String,
        /// What doesn't fit.
        reason: String,
    },
}

impl ToolCallError {
    /// The text of the block.
    pub fn raw(&self) -> &str {
        match self {
            Self::Json { raw, .. }
            | Self::NotAnObject { raw, .. }
            | Self::MissingName { raw }
            | Self::Arguments { raw, .. }
            | Self::Unclosed { raw }
            | Self::Type { raw, .. } => raw,
        }
    }
}

/// Takes the calls out of an answer (without its thoughts: see [`split_thinking`](super::split_thinking)).
///
/// A block that is no call is an error in its place; calls before and after it are kept. A closing tag inside a JSON
/// text doesn't close the block. Arguments that are absent are an empty object; those written as a text with JSON in it
/// are read.
pub fn parse_tool_calls(text: &str) -> ToolAnswer {
    let mut answer = ToolAnswer::default();
    let mut rest = text;
    while let Some((before, block)) = rest.split_once(OPEN) {
        answer.content.push_str(before.strip_suffix('\n').unwrap_or(before));
        let (raw, after) = cut_block(block);
        rest = after.unwrap_or_default();
        answer.calls.push(match after {
            Some(_) => read_call(raw),
            None => Err(ToolCallError::Unclosed { raw: raw.to_owned() }),
        });
    }
    answer.content.push_str(rest);
    answer
}

/// Cuts the text after an opening tag into the block and what follows its closing tag, `None` if that is missing.
fn cut_block(block: &str) -> (&str, Option<&str>) {
    // Where the JSON is whole it says itself where it ends.
    let mut values = serde_json::Deserializer::from_str(block).into_iter::<serde::de::IgnoredAny>();
    let json_end = match values.next() {
        Some(Ok(_)) => values.byte_offset(),
        _ => 0,
    };
    match block[json_end..].find(CLOSE) {
        Some(at) => (&block[..json_end + at], Some(&block[json_end + at + CLOSE.len()..])),
        None => (block, None),
    }
}

fn read_call(block: &str) -> Result<ToolCall, ToolCallError> {
    let raw = || block.to_owned();
    let call: TemplateValue =
        serde_json::from_str(block).map_err(|source| ToolCallError::Json { raw: raw(), source })?;
    if call.kind() != ValueKind::Map {
        return Err(ToolCallError::NotAnObject { raw: raw(), found: call.kind() });
    }
    let field = |key| call.get_attr(key).unwrap_or_default();
    let name = field("name").as_str().map(str::to_owned).ok_or_else(|| ToolCallError::MissingName { raw: raw() })?;
    let mut arguments = field("arguments");
    if arguments.is_undefined() {
        arguments = TemplateValue::from_iter(std::iter::empty::<(String, TemplateValue)>());
    } else if let Some(text) = arguments.as_str() {
        arguments = serde_json::from_str(text).map_err(|source| ToolCallError::Json { raw: raw(), source })?;
    }
    if arguments.kind() != ValueKind::Map {
        return Err(ToolCallError::Arguments { raw: raw(), name, found: arguments.kind() });
    }
    Ok(ToolCall { name, arguments })
}

impl Message {
    /// The assistant's turn in which it called tools, after saying `content` (which may be empty).
    pub fn assistant_tool_calls(content: impl Into<String>, calls: &[ToolCall]) -> Self {
        let object = |entries: [(&'static str, TemplateValue); 2]| TemplateValue::from_iter(entries);
        let calls = calls.iter().map(|call| {
            let function = object([("name", call.name.as_str().into()), ("arguments", call.arguments.clone())]);
            object([("type", "function".into()), ("function", function)])
        });
        let mut message = Self::text("assistant", content);
        message.extra.insert("tool_calls".to_owned(), calls.collect());
        message
    }

    /// What a tool gave back. Templates join the answers to several calls into one turn of the user.
    pub fn tool_response(content: impl Into<String>) -> Self {
        Self::new("tool", vec![Content::Text(content.into())])
    }

    /// The assistant's turn, its thoughts apart, so that templates leave them out of earlier turns
    /// (`reasoning_content`).
    pub fn assistant_answer(answer: &Answer) -> Self {
        let mut message = Self::text("assistant", answer.content.as_str());
        if let Some(thinking) = &answer.thinking {
            message.extra.insert("reasoning_content".to_owned(), thinking.as_str().into());
        }
        message
    }
}
