//! A conversation on whatever backend the command line names.
//!
//! Programs see a conversation behind one trait, so that the model is compiled for the backends here, once, and not in
//! every program.

use crate::Error;
use crate::backend::{Place, Program};
use crate::model::{Files, Loaded};
use burn_kiln_fusion::{FusedOps, TrainingOps};
use qwen3_vl_burn::generate::{GenerateOptions, GenerationConfig};
use qwen3_vl_burn::prompt::{AnswerPiece, Message, RenderOptions};
use qwen3_vl_burn::streaming::StreamReport;
use qwen3_vl_burn::{Chat, Qwen3VlProcessor, Reply};
use std::ops::ControlFlow;
use std::time::Duration;

/// What [`Chat`] does, on any backend.
pub trait Talk {
    /// [`Chat::push`].
    ///
    /// # Errors
    /// As there.
    fn push(&mut self, message: Message) -> qwen3_vl_burn::Result<()>;

    /// [`Chat::pop`].
    fn pop(&mut self) -> Option<Message>;

    /// [`Chat::reset`].
    fn reset(&mut self);

    /// [`Chat::messages`].
    fn messages(&self) -> &[Message];

    /// How the model gets on whose memory is limited; `None` where all weights are in memory.
    fn streaming(&self) -> Option<StreamReport>;

    /// [`Chat::reply`].
    ///
    /// # Errors
    /// As there.
    fn reply(
        &mut self,
        options: &GenerateOptions,
        on_piece: &mut dyn FnMut(&AnswerPiece) -> ControlFlow<()>,
    ) -> qwen3_vl_burn::Result<Reply>;
}

impl<B: FusedOps> Talk for Chat<'_, B> {
    fn push(&mut self, message: Message) -> qwen3_vl_burn::Result<()> {
        Chat::push(self, message)
    }

    fn pop(&mut self) -> Option<Message> {
        Chat::pop(self)
    }

    fn reset(&mut self) {
        Chat::reset(self);
    }

    fn messages(&self) -> &[Message] {
        Chat::messages(self)
    }

    fn streaming(&self) -> Option<StreamReport> {
        self.model().streaming()
    }

    fn reply(
        &mut self,
        options: &GenerateOptions,
        on_piece: &mut dyn FnMut(&AnswerPiece) -> ControlFlow<()>,
    ) -> qwen3_vl_burn::Result<Reply> {
        Chat::reply(self, options, on_piece)
    }
}

/// A loaded checkpoint and a conversation with it.
pub struct Opened<'a> {
    /// The conversation, without a message.
    pub chat: &'a mut dyn Talk,
    /// Messages to inputs.
    pub processor: &'a Qwen3VlProcessor,
    /// How the checkpoint wants its tokens chosen.
    pub generation: &'a GenerationConfig,
    /// What it runs on.
    pub backend: String,
    /// How long loading took.
    pub load: Duration,
}

/// What a program does with a conversation.
pub type Use<'a> = Box<dyn FnOnce(Opened<'_>) -> Result<(), Error> + Send + 'a>;

/// Loads a checkpoint on the backend of `place` and hands a conversation with it to `program`.
///
/// # Errors
/// [`Error::Model`] for a checkpoint that cannot be loaded, [`Error::Threads`], and those of `program`.
pub fn talk(files: &Files, place: &Place, render: RenderOptions, program: Use<'_>) -> Result<(), Error> {
    place.run(Conversing { files, place, render, program })
}

struct Conversing<'a> {
    files: &'a Files,
    place: &'a Place,
    render: RenderOptions,
    program: Use<'a>,
}

impl Program for Conversing<'_> {
    type Out = ();

    fn run<B: TrainingOps>(self) -> Result<(), Error> {
        let Loaded { model, processor, generation, time } = Loaded::<B>::load(self.files, self.place)?;
        let mut chat = Chat::new(&model, &processor).with_render_options(self.render);
        (self.program)(Opened {
            chat: &mut chat,
            processor: &processor,
            generation: &generation,
            backend: B::name(&Default::default()),
            load: time,
        })
    }
}
