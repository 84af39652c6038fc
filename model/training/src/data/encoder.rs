//! From a record to tokens, pixels and labels.

use qwen3_vl_burn::processor::{Grid, ImageOptions, ProcessedMedia, VideoOptions};
use qwen3_vl_burn::prompt::{Content, ImagePart, RenderOptions, VideoPart, VideoPrompt, expand_prompt};
use qwen3_vl_burn::{Error, ModelInputs, Qwen3VlProcessor};

use super::labels::{ASSISTANT, TurnTokens, label_answers, refuse_control_tokens};
use super::objects::fill_objects;
use super::sample::count_targets;
use super::{DataError, Problem, Record, Sample};

/// How records become samples.
#[derive(Debug, Clone, PartialEq)]
pub struct EncodeOptions {
    /// Most tokens of a sample; a longer one is a [`Problem::TooLong`] (4096).
    pub max_tokens: usize,
    /// Pixel limits of pictures that have none of their own, in place of the checkpoint's.
    pub images: ImageOptions,
    /// Sampling and pixel limits of videos that have none of their own, in place of the checkpoint's.
    pub videos: VideoOptions,
    /// Train on the last answer of a conversation alone; the others are its past.
    pub last_answer_only: bool,
    /// What the template is told: variables such as `enable_thinking`, whether pictures are numbered. Tools come from
    /// the record, where it has some, and no answer is asked for at the end.
    pub render: RenderOptions,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        Self {
            max_tokens: 4096,
            images: ImageOptions::default(),
            videos: VideoOptions::default(),
            last_answer_only: false,
            render: RenderOptions::default(),
        }
    }
}

/// Makes samples of records, with the tokenizer, the chat template and the picture settings of a checkpoint.
#[derive(Debug, Clone)]
pub struct Encoder {
    processor: Qwen3VlProcessor,
    options: EncodeOptions,
    turns: TurnTokens,
}

/// What a record is made of, without its pixels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Measure {
    /// Tokens, those of pictures and videos too.
    pub tokens: usize,
    /// Labels that count.
    pub targets: usize,
    /// Pictures.
    pub images: usize,
    /// Patches of all pictures.
    pub image_patches: usize,
    /// Videos.
    pub videos: usize,
    /// Patches of all videos.
    pub video_patches: usize,
}

impl Measure {
    /// Counts what a sample has.
    pub fn of(sample: &Sample) -> Self {
        let patches = |grids: &[Grid]| grids.iter().map(Grid::patches).sum();
        let (images, videos) = (&sample.inputs.images.grids, &sample.inputs.videos.grids);
        Self {
            tokens: sample.len(),
            targets: sample.targets(),
            images: images.len(),
            image_patches: patches(images),
            videos: videos.len(),
            video_patches: patches(videos),
        }
    }
}

/// How much room a picture or video takes among the tokens.
#[derive(Debug, Clone, PartialEq)]
enum Shape {
    Image(Grid),
    Video(VideoPrompt),
}

/// Pictures and videos of a record: their shapes, and height and width of each picture in its file.
#[derive(Debug, Default)]
struct Shapes {
    shapes: Vec<Shape>,
    sizes: Vec<(usize, usize)>,
}

impl Encoder {
    /// An encoder for a checkpoint's processor.
    ///
    /// # Errors
    /// [`DataError::NoTurnToken`] for a tokenizer without ChatML's tokens; [`DataError::Option`].
    pub fn new(processor: Qwen3VlProcessor, options: EncodeOptions) -> Result<Self, DataError> {
        if options.max_tokens == 0 {
            let value = options.max_tokens.to_string();
            return Err(DataError::Option { name: "max_tokens", value, expected: "a positive number" });
        }
        let turns = TurnTokens::find(&processor.tokenizer)?;
        Ok(Self { processor, options, turns })
    }

    /// The options.
    pub fn options(&self) -> &EncodeOptions {
        &self.options
    }

    /// The checkpoint's processor.
    pub fn processor(&self) -> &Qwen3VlProcessor {
        &self.processor
    }

    /// Encodes a record: its text, labels, and the pixels of its pictures and videos. Nothing is decoded of a record
    /// that is too long.
    ///
    /// # Errors
    /// [`DataError::Record`] with the [`Problem`].
    pub fn encode(&self, record: &Record) -> Result<Sample, DataError> {
        self.try_encode(record).map_err(|problem| DataError::at(&record.source, problem))
    }

    /// Tells what a record will be, from the headers of its pictures and the beginnings of its videos.
    ///
    /// # Errors
    /// As [`Self::encode`], but for damage behind these.
    pub fn measure(&self, record: &Record) -> Result<Measure, DataError> {
        self.try_measure(record).map_err(|problem| DataError::at(&record.source, problem))
    }

    fn try_measure(&self, record: &Record) -> Result<Measure, Problem> {
        let shapes = self.measure_media(record)?;
        let (ids, labels) = self.lay_out(record, &shapes)?;
        let mut measure = Measure { tokens: ids.len(), targets: count_targets(&labels), ..Measure::default() };
        for shape in &shapes.shapes {
            match shape {
                Shape::Image(grid) => {
                    measure.images += 1;
                    measure.image_patches += grid.patches();
                }
                Shape::Video(video) => {
                    measure.videos += 1;
                    measure.video_patches += video.grid.patches();
                }
            }
        }
        Ok(measure)
    }

    fn try_encode(&self, record: &Record) -> Result<Sample, Problem> {
        let mut shapes = self.measure_media(record)?;
        let (mut ids, mut labels) = self.lay_out(record, &shapes)?;
        let (mut images, mut videos, mut decoded) = (Vec::new(), Vec::new(), Vec::new());
        for part in record.messages.iter().flat_map(|message| &message.content) {
            match self.processor.process_media(&self.limit(part))? {
                None => {}
                Some(ProcessedMedia::Image(image)) => {
                    decoded.push(Shape::Image(image.grid));
                    images.push(image);
                }
                Some(ProcessedMedia::Video(video)) => {
                    decoded.push(Shape::Video(VideoPrompt { grid: video.pixels.grid, timestamps: video.timestamps }));
                    videos.push(video.pixels);
                }
            }
        }
        // A container may announce frames that are not there.
        if decoded != shapes.shapes {
            shapes.shapes = decoded;
            (ids, labels) = self.lay_out(record, &shapes)?;
        }
        let inputs =
            ModelInputs { input_ids: ids, images: images.into_iter().collect(), videos: videos.into_iter().collect() };
        Ok(Sample { inputs, labels, source: record.source.clone() })
    }

    /// The part with this encoder's limits where it has none of its own.
    fn limit(&self, part: &Content) -> Content {
        match part {
            Content::Text(_) => Content::Text(String::new()),
            Content::Image(part) => {
                let (own, all) = (part.options, self.options.images);
                // A limit of its own replaces both: two that contradict each other are an error.
                let options = if own == ImageOptions::default() { all } else { own };
                Content::Image(ImagePart { source: part.source.clone(), options })
            }
            Content::Video(part) => {
                let own = part.options != VideoOptions::default();
                let options = if own { &part.options } else { &self.options.videos };
                Content::Video(VideoPart { source: part.source.clone(), options: options.clone() })
            }
        }
    }

    fn measure_media(&self, record: &Record) -> Result<Shapes, Problem> {
        let images = &self.processor.images;
        let mut found = Shapes::default();
        for (number, message) in record.messages.iter().enumerate() {
            for part in &message.content {
                let missing = || Problem::Message {
                    message: number,
                    reason: "a picture or video without a source: expected a path, a data URI or data".to_owned(),
                };
                match self.limit(part) {
                    Content::Text(_) => {}
                    Content::Image(part) => {
                        let source = part.source.ok_or_else(missing)?;
                        let picture = images.measure_source(&source, &part.options).map_err(Error::from)?;
                        found.sizes.push((picture.height, picture.width));
                        found.shapes.push(Shape::Image(picture.grid));
                    }
                    Content::Video(part) => {
                        let source = part.source.ok_or_else(missing)?;
                        let video = images.measure_video_source(&source, &part.options).map_err(Error::from)?;
                        let (grid, timestamps) = (video.grid, video.timestamps);
                        found.shapes.push(Shape::Video(VideoPrompt { grid, timestamps }));
                    }
                }
            }
        }
        Ok(found)
    }

    /// Token ids and labels.
    fn lay_out(&self, record: &Record, found: &Shapes) -> Result<(Vec<u32>, Vec<i64>), Problem> {
        let merge = self.processor.images.picture_config().merge_size;
        let limit = self.options.max_tokens;
        let (mut images, mut videos) = (Vec::new(), Vec::new());
        for shape in &found.shapes {
            match shape {
                Shape::Image(grid) => images.push(*grid),
                Shape::Video(video) => videos.push(video.clone()),
            }
        }
        let pads = images.iter().chain(videos.iter().map(|video| &video.grid)).map(|grid| grid.tokens(merge));
        let tokens = pads.fold(0, usize::saturating_add);
        if tokens >= limit {
            return Err(Problem::TooLong { tokens, limit });
        }

        let messages = fill_objects(&record.messages, record.objects.as_ref(), &found.sizes)?;
        let trained = self.choose_answers(record)?;
        refuse_control_tokens(&messages, &record.tools)?;
        let mut options = RenderOptions { add_generation_prompt: false, ..self.options.render.clone() };
        if !record.tools.is_empty() {
            options.tools.clone_from(&record.tools);
        }
        let prompt = self.processor.template.render(&messages, &options).map_err(Error::from)?;
        let tokenizer = &self.processor.tokenizer;
        if let Some(tokens) = tokenizer.count_beyond(&prompt, limit).map_err(Error::from)? {
            return Err(Problem::TooLong { tokens, limit });
        }
        let ids = expand_prompt(tokenizer, &prompt, &images, &videos, merge).map_err(Error::from)?.ids;
        if ids.len() > limit {
            return Err(Problem::TooLong { tokens: ids.len(), limit });
        }
        let answers = self.turns.find_answers(&ids, tokenizer);
        if answers.len() != trained.len() {
            return Err(Problem::Turns { expected: trained.len(), found: answers.len() });
        }
        let labels = label_answers(&ids, answers.iter().zip(&trained).filter(|&(_, &on)| on).map(|(answer, _)| answer));
        Ok((ids, labels))
    }

    /// For each answer of a record, in order, whether it is trained on.
    fn choose_answers(&self, record: &Record) -> Result<Vec<bool>, Problem> {
        let answers = record.messages.iter().enumerate().filter(|(_, message)| message.role == ASSISTANT);
        let mut trained: Vec<bool> = answers.clone().map(|(number, _)| !record.untrained.contains(&number)).collect();
        if self.options.last_answer_only {
            let last = trained.len().saturating_sub(1);
            trained[..last].fill(false);
        }
        if !trained.contains(&true) {
            return Err(Problem::NoAnswer);
        }
        for ((message, answer), &trained) in answers.zip(&trained) {
            let says = |part: &Content| !matches!(part, Content::Text(text) if text.trim().is_empty());
            if trained && answer.extra.is_empty() && !answer.content.iter().any(says) {
                return Err(Problem::EmptyAnswer { message });
            }
        }
        Ok(trained)
    }
}
