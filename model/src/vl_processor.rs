//! From messages and pictures to what the model takes: tokenizer, chat template and image processor of one checkpoint.

use std::borrow::Borrow;
use std::path::Path;

use crate::checkpoint::find_adapter;
use crate::processor::{ImageProcessor, ProcessedImages, ProcessedMedia};
use crate::prompt::{
    ChatTemplate, Content, Message, Modality, PromptError, RenderOptions, Tokenizer, VideoPrompt, expand_prompt,
};
use crate::{Error, InputError, ModelInputs, Qwen3VlConfig, Result};

/// How many tokens a prompt may have, and those of its pictures and videos.
#[derive(Clone, Copy)]
struct Room {
    limit: usize,
    pictures: usize,
    /// How many pictures and videos they are.
    media: usize,
}

impl Room {
    /// Tokens of a text that its pictures make way for: a placeholder, and of a video the marks around it.
    const PLACEHOLDER: usize = 3;

    /// Tokens of the text beyond which the prompt is too long for certain.
    fn for_text(self) -> usize {
        self.limit.saturating_sub(self.pictures).saturating_add(Self::PLACEHOLDER * self.media)
    }

    /// Tokens of the prompt at least, whose text has so many.
    fn count_with(self, text: usize) -> usize {
        (text + self.pictures).saturating_sub(Self::PLACEHOLDER * self.media)
    }
}

/// Makes [`ModelInputs`] from conversations (HF's `Qwen3VLProcessor`).
///
/// [`Self::process`] does everything at once. A conversation that goes on keeps what [`Self::process_media`] made of
/// its pictures and videos, and gives it to [`Self::prepare`] again, so that each is decoded once.
///
/// ```no_run
/// use qwen3_vl_burn::Qwen3VlProcessor;
/// let processor = Qwen3VlProcessor::load("Qwen3-VL-2B-Instruct")?;
/// let inputs = processor.ask(&["cat.png"], "What is this?")?;
/// assert!(inputs.input_ids.len() > 10);
/// # Ok::<(), qwen3_vl_burn::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Qwen3VlProcessor {
    /// Text to ids and back.
    pub tokenizer: Tokenizer,
    /// Messages to text.
    pub template: ChatTemplate,
    /// Pictures to patches.
    pub images: ImageProcessor,
}

impl Qwen3VlProcessor {
    /// Reads `tokenizer.json`, the chat template and the picture settings in the folder of a checkpoint.
    ///
    /// # Errors
    /// [`PromptError`](crate::error::PromptError) and [`ImageError`](crate::error::ImageError) for files that are
    /// missing or malformed. Only `tokenizer.json` must be there: the others have released defaults. For the folder of
    /// an adapter without its base model, [`CheckpointError::Foreign`](crate::error::CheckpointError::Foreign).
    pub fn load(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        // Most lack a tokenizer, and that they are adapters is what should be said.
        find_adapter(dir)?;
        let images = ImageProcessor::load(dir)?;
        // A configuration that is missing or damaged is for the model to say.
        if let Ok(config) = Qwen3VlConfig::from_dir(dir) {
            images.check_fit(&config.vision)?;
        }
        Ok(Self { tokenizer: Tokenizer::load(dir)?, template: ChatTemplate::load(dir)?, images })
    }

    /// Inputs for one question of the user about the pictures at these paths, which come before it.
    ///
    /// # Errors
    /// As [`Self::process`].
    pub fn ask(&self, pictures: &[impl AsRef<Path>], question: &str) -> Result<ModelInputs> {
        let pictures = pictures.iter().map(|path| Content::image(path.as_ref()));
        let content = pictures.chain([Content::text(question)]).collect();
        self.process(&[Message::new("user", content)], &RenderOptions::default())
    }

    /// Inputs for a conversation, its pictures and videos read from where the messages say they are.
    ///
    /// # Errors
    /// As [`Self::process_all_media`] and [`Self::prepare`].
    pub fn process(&self, messages: &[Message], options: &RenderOptions) -> Result<ModelInputs> {
        let media = self.process_all_media(messages)?;
        self.assemble(messages, media, options, Room { limit: usize::MAX, pictures: 0, media: 0 })
    }

    /// Reads and processes the picture or video of one part; `None` for a text.
    ///
    /// # Errors
    /// [`ImageError`](crate::error::ImageError) for what cannot be read, [`PromptError::NoSource`] for a part without a
    /// source.
    pub fn process_media(&self, part: &Content) -> Result<Option<ProcessedMedia>> {
        let missing = |modality| PromptError::NoSource { modality, index: 0 };
        Ok(match part {
            Content::Text(_) => None,
            Content::Image(part) => {
                let source = part.source.as_ref().ok_or(missing(Modality::Image))?;
                Some(self.images.process_source(source, &part.options)?.into())
            }
            Content::Video(part) => {
                let source = part.source.as_ref().ok_or(missing(Modality::Video))?;
                Some(self.images.process_video_source(source, &part.options)?.into())
            }
        })
    }

    /// Reads and processes the pictures and videos of all messages, in order.
    ///
    /// # Errors
    /// As [`Self::process_media`]; what names no file or address is a [`PromptError::Media`], which says which picture
    /// of which message it is.
    pub fn process_all_media(&self, messages: &[Message]) -> Result<Vec<ProcessedMedia>> {
        let mut media = Vec::new();
        for (number, message) in messages.iter().enumerate() {
            for part in &message.content {
                let modality = match part {
                    Content::Video(_) => Modality::Video,
                    _ => Modality::Image,
                };
                let processed = self.process_media(part).map_err(|error| match error {
                    Error::Prompt(PromptError::NoSource { modality, .. }) => {
                        PromptError::NoSource { modality, index: media.len() }.into()
                    }
                    Error::Image(source) if !source.names_source() => {
                        let source = Box::new(source);
                        PromptError::Media { modality, index: media.len(), message: number, source }.into()
                    }
                    other => other,
                })?;
                media.extend(processed);
            }
        }
        Ok(media)
    }

    /// Inputs for a conversation whose pictures and videos have been processed, given in their order.
    ///
    /// Their pixels are copied: 6 KiB for each patch of the released models.
    ///
    /// # Errors
    /// [`PromptError`] from the template, the tokenizer, or where the conversation has more or fewer pictures or videos
    /// than are given.
    pub fn prepare(
        &self,
        messages: &[Message],
        media: &[impl Borrow<ProcessedMedia>],
        options: &RenderOptions,
    ) -> Result<ModelInputs> {
        self.prepare_within(messages, media, options, usize::MAX)
    }

    /// As [`Self::prepare`], for a model that takes at most `limit` tokens: a conversation that is longer is refused as
    /// soon as that is certain, before pixels are copied and the rest of its text is encoded.
    ///
    /// # Errors
    /// As [`Self::prepare`]; [`InputError::TooLong`], with as many tokens as were counted.
    pub fn prepare_within(
        &self,
        messages: &[Message],
        media: &[impl Borrow<ProcessedMedia>],
        options: &RenderOptions,
        limit: usize,
    ) -> Result<ModelInputs> {
        let merge = self.images.picture_config().merge_size;
        let pictures: usize = media.iter().map(|media| media.borrow().tokens(merge)).sum();
        if pictures >= limit {
            return Err(InputError::TooLong { prompt: pictures, added: 1, limit }.into());
        }
        let room = Room { limit, pictures, media: media.len() };
        self.assemble(messages, media.iter().map(|media| media.borrow().clone()), options, room)
    }

    fn assemble(
        &self,
        messages: &[Message],
        media: impl IntoIterator<Item = ProcessedMedia>,
        options: &RenderOptions,
        room: Room,
    ) -> Result<ModelInputs> {
        let prompt = self.template.render(messages, options)?;
        if let Some(text) = self.tokenizer.count_beyond(&prompt, room.for_text())? {
            let prompt = room.count_with(text);
            return Err(InputError::TooLong { prompt, added: 1, limit: room.limit }.into());
        }
        let (mut images, mut videos, mut prompts) = (Vec::new(), Vec::new(), Vec::new());
        for media in media {
            match media {
                ProcessedMedia::Image(image) => images.push(image),
                ProcessedMedia::Video(video) => {
                    prompts.push(VideoPrompt { grid: video.pixels.grid, timestamps: video.timestamps });
                    videos.push(video.pixels);
                }
            }
        }
        let images: ProcessedImages = images.into_iter().collect();
        let merge = self.images.picture_config().merge_size;
        let expanded = expand_prompt(&self.tokenizer, &prompt, &images.grids, &prompts, merge)?;
        Ok(ModelInputs { input_ids: expanded.ids, images, videos: videos.into_iter().collect() })
    }
}
