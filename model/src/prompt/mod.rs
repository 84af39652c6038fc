//! Conversations in, token ids out.
//!
//! [`Message`]s are rendered by the checkpoint's own [`ChatTemplate`] into one text, in which each picture and video is
//! a placeholder; [`expand_prompt`] repeats the placeholders once for every image token, adds the timestamps of videos,
//! and encodes the text with the [`Tokenizer`]. Generated ids become text again through a [`TokenStream`].
//!
//! Rendered texts and ids equal what HF transformers' `Qwen3VLProcessor` gives (`tests/prompts/prompt.rs`).

mod bounded_text;
mod builtin;
mod byte_level;
mod byte_vocabulary;
mod ends;
mod error;
mod expand;
mod ignored;
mod message;
mod modality;
mod part;
mod part_json;
mod python;
mod stream;
mod strftime;
mod template;
mod template_code;
mod template_file;
mod template_functions;
mod template_limits;
mod template_operators;
mod template_size;
mod template_source;
mod thinking;
mod tokenizer;
mod tool_calls;
mod whole_messages;

pub use builtin::CHATML_TEMPLATE;
pub use byte_vocabulary::{CHAT_TOKENS, byte_level_tokenizer};
pub use ends::find_turn_ends;
pub use error::PromptError;
pub use expand::{ExpandedPrompt, VideoPrompt, VisionTokens, expand_prompt};
pub use message::{Content, Message};
pub use minijinja::Value as TemplateValue;
pub use modality::{Modality, classify_tokens};
pub use part::{ImagePart, VideoPart};
pub use stream::TokenStream;
pub use template::{ChatTemplate, RenderOptions};
pub use thinking::{Answer, AnswerPiece, ThinkingStream, opens_thinking, split_opened_thinking, split_thinking};
pub use tokenizer::Tokenizer;
pub use tool_calls::{ToolAnswer, ToolCall, ToolCallError, parse_tool_calls};
