//! A conversation with a model: messages in, answers out, each turn computing only what is new.

use crate::generate::{GenerateOptions, Generation, stream_after};
use crate::processor::ProcessedMedia;
use crate::prompt::{
    Answer, AnswerPiece, Content, Message, RenderOptions, ThinkingStream, ToolAnswer, opens_thinking, parse_tool_calls,
    split_opened_thinking, split_thinking,
};
use crate::{PrefixCache, Qwen3Vl, Qwen3VlProcessor, Result};
use burn_kiln_fusion::FusedOps;
use std::ops::ControlFlow;

/// Tokens at the end of a prompt that can hold the opening of a thinking block, `<think>\n`, spelled out byte by byte
/// or as one token.
const OPENING_TOKENS: usize = 16;

/// A conversation under way.
///
/// Keys and values of everything so far are kept, and pictures and videos are decoded and encoded once: a turn costs
/// its own tokens. What a template changes in earlier turns (thoughts that it leaves out, say) is computed again from
/// there on.
///
/// ```no_run
/// use burn_flex::Flex;
/// use qwen3_vl_burn::generate::GenerationConfig;
/// use qwen3_vl_burn::prompt::{AnswerPiece, Content, Message};
/// use qwen3_vl_burn::{Chat, LoadOptions, Qwen3Vl, Qwen3VlProcessor};
/// use std::ops::ControlFlow;
///
/// let dir = "Qwen3-VL-2B-Instruct";
/// let model = Qwen3Vl::<Flex>::load(dir, &Default::default(), LoadOptions::default())?;
/// let processor = Qwen3VlProcessor::load(dir)?;
/// let options = GenerationConfig::load(dir)?.options(256);
///
/// let mut chat = Chat::new(&model, &processor);
/// chat.push(Message::new("user", vec![Content::image("cat.jpg"), Content::text("What is this?")]))?;
/// chat.reply(&options, |piece| {
///     if let AnswerPiece::Content(text) = piece {
///         print!("{text}");
///     }
///     ControlFlow::Continue(())
/// })?;
/// chat.push(Message::text("user", "And what colour is it?"))?;
/// println!("{}", chat.reply(&options, |_| ControlFlow::Continue(()))?.answer.content);
/// # Ok::<(), qwen3_vl_burn::Error>(())
/// ```
#[derive(Debug)]
pub struct Chat<'a, B: FusedOps> {
    model: &'a Qwen3Vl<B>,
    processor: &'a Qwen3VlProcessor,
    messages: Vec<Message>,
    /// The pictures and videos of each message.
    media: Vec<Vec<ProcessedMedia>>,
    render: RenderOptions,
    prefix: PrefixCache<B>,
}

/// An answer of the model.
#[derive(Debug)]
pub struct Reply {
    /// Thoughts and answer.
    pub answer: Answer,
    /// The answer with its calls of tools taken out.
    pub tools: ToolAnswer,
    /// Tokens, why they ended, and times.
    pub generation: Generation,
}

impl<'a, B: FusedOps> Chat<'a, B> {
    /// A conversation without a message.
    pub fn new(model: &'a Qwen3Vl<B>, processor: &'a Qwen3VlProcessor) -> Self {
        Self {
            model,
            processor,
            messages: Vec::new(),
            media: Vec::new(),
            render: RenderOptions::default(),
            prefix: PrefixCache::new(model),
        }
    }

    /// Tools, numbering of pictures, and whatever else the template is told.
    pub fn with_render_options(mut self, options: RenderOptions) -> Self {
        self.render = options;
        self
    }

    /// The model that answers.
    pub fn model(&self) -> &Qwen3Vl<B> {
        self.model
    }

    /// The messages so far.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Tokens whose keys and values are kept.
    pub fn kept_tokens(&self) -> usize {
        self.prefix.len()
    }

    /// Adds a message; its pictures and videos are read and processed now.
    ///
    /// # Errors
    /// Those of [`Qwen3VlProcessor::process_media`]; the conversation is as it was then.
    pub fn push(&mut self, message: Message) -> Result<()> {
        let media = message.content.iter().map(|part: &Content| self.processor.process_media(part));
        let media = media.collect::<Result<Vec<_>>>()?;
        self.media.push(media.into_iter().flatten().collect());
        self.messages.push(message);
        Ok(())
    }

    /// Takes the last message back.
    pub fn pop(&mut self) -> Option<Message> {
        self.media.pop();
        self.messages.pop()
    }

    /// Forgets all messages, and all keys and values.
    pub fn reset(&mut self) {
        self.messages.clear();
        self.media.clear();
        self.prefix = PrefixCache::new(self.model);
    }

    /// Lets the model answer and adds its answer to the conversation. `on_piece` is told of thoughts and text as they
    /// come, and may break off; what was said until then is the answer.
    ///
    /// [`GenerateOptions::max_new_tokens`] is cut to what the context has room for.
    ///
    /// # Errors
    /// As [`Qwen3VlProcessor::prepare_within`] and [`stream_after`]: the conversation is as it was then, and may be
    /// computed again.
    pub fn reply(
        &mut self,
        options: &GenerateOptions,
        mut on_piece: impl FnMut(&AnswerPiece) -> ControlFlow<()>,
    ) -> Result<Reply> {
        let media: Vec<&ProcessedMedia> = self.media.iter().flatten().collect();
        let limit = self.model.config().text.context_length();
        let inputs = self.processor.prepare_within(&self.messages, &media, &self.render, limit)?;
        let tokenizer = &self.processor.tokenizer;
        let ids = &inputs.input_ids;
        let opened = opens_thinking(&tokenizer.decode(&ids[ids.len().saturating_sub(OPENING_TOKENS)..], false));

        let room = limit.saturating_sub(ids.len()).max(1);
        let options = GenerateOptions { max_new_tokens: options.max_new_tokens.min(room), ..options.clone() };
        let mut pieces = ThinkingStream::new(opened);
        let generation = stream_after(self.model, Some(tokenizer), &inputs, &options, &mut self.prefix, |step| {
            pieces.push(&step.text).iter().try_for_each(&mut on_piece)
        })?;
        // Everything has been generated: breaking off changes nothing any more.
        let _ = pieces.finish().iter().try_for_each(&mut on_piece);

        let text = generation.text.as_deref().unwrap_or_default();
        let answer = if opened { split_opened_thinking(text) } else { split_thinking(text) };
        self.messages.push(Message::assistant_answer(&answer));
        self.media.push(Vec::new());
        Ok(Reply { tools: parse_tool_calls(&answer.content), answer, generation })
    }
}
