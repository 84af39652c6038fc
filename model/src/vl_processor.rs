//! From messages and pictures to what the model takes: tokenizer, chat template and image processor of one checkpoint.

use crate::processor::{ImageProcessor, ProcessedImage, ProcessedImages};
use crate::prompt::{ChatTemplate, Content, Message, RenderOptions, Tokenizer, expand_prompt};
use crate::{ModelInputs, Result};
use std::path::Path;

/// Makes [`ModelInputs`] from conversations (HF's `Qwen3VLProcessor`).
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
    /// [`PromptError`](crate::error::PromptError) and [`ImageError`](crate::error::ImageError) for files that are missing or
    /// malformed. Only `tokenizer.json` must be there: the others have released defaults.
    pub fn load(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        Ok(Self {
            tokenizer: Tokenizer::load(dir)?,
            template: ChatTemplate::load(dir)?,
            images: ImageProcessor::load(dir)?,
        })
    }

    /// Inputs for one question of the user about the pictures at these paths, which come before it.
    ///
    /// # Errors
    /// As [`Qwen3VlProcessor::prepare`], and [`ImageError`](crate::error::ImageError) for a file that is no picture.
    pub fn ask(&self, pictures: &[impl AsRef<Path>], question: &str) -> Result<ModelInputs> {
        let processed: Vec<ProcessedImage> =
            pictures.iter().map(|path| self.images.process_path(path)).collect::<Result<_, _>>()?;
        let mut content: Vec<Content> = pictures.iter().map(|_| Content::Image(None)).collect();
        content.push(Content::Text(question.to_owned()));
        self.prepare(&[Message::new("user", content)], processed, &RenderOptions::default())
    }

    /// Inputs for a conversation whose pictures are given in their order.
    ///
    /// # Errors
    /// [`PromptError`](crate::error::PromptError) from the template, the tokenizer, or where the conversation has more or fewer
    /// pictures than are given.
    pub fn prepare(
        &self,
        messages: &[Message],
        pictures: impl IntoIterator<Item = ProcessedImage>,
        options: &RenderOptions,
    ) -> Result<ModelInputs> {
        let images: ProcessedImages = pictures.into_iter().collect();
        let prompt = self.template.render(messages, options)?;
        let merge = self.images.picture_config().merge_size;
        let expanded = expand_prompt(&self.tokenizer, &prompt, &images.grids, &[], merge)?;
        Ok(ModelInputs { input_ids: expanded.ids, images, videos: ProcessedImages::default() })
    }
}
