//! The processor against HF's, without a model: every case of a folder with `cases.json`.
//!
//! | file | holds |
//! | --- | --- |
//! | `cases.json` | for each name: `messages`, `add_vision_id`, the rendered `prompt`, `expanded` (runs of pads written `<\|image_pad\|>*N`), `length`, for a video `frames` and `fps` |
//! | `NAME.safetensors` | `input_ids`, `pixel_values*`, `*_grid_thw` |
//! | `NAME.N.png`, `NAME.frameNNN.png` | pictures, and all frames of the video, from which are sampled |
//! | `chat_template.jinja`, `settings.json` | the template; settings for pictures (`image`) and videos (`video`) |

use super::pixels::compare_pixels;
use super::tokenizer::load_tokenizer;
use super::{Case, Report, Row, Verdict};
use crate::Error;
use qwen3_vl_burn::Qwen3VlProcessor;
use qwen3_vl_burn::processor::{ImageProcessor, ImageSource, PreprocessorConfig, VideoConfig, VideoSource};
use qwen3_vl_burn::prompt::{ChatTemplate, Content, Message, RenderOptions};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// One entry of `cases.json`.
#[derive(Deserialize)]
struct Conversation {
    messages: Vec<Message>,
    #[serde(default)]
    add_vision_id: bool,
    prompt: String,
    expanded: String,
    length: usize,
    video: Option<Video>,
}

/// The video of a case.
#[derive(Deserialize)]
struct Video {
    frames: usize,
    fps: Option<f64>,
}

/// Whether a folder has cases of a processor.
pub fn has_processor_cases(dir: &Path) -> bool {
    dir.join("cases.json").is_file()
}

/// Runs every case of `cases.json`; the tokenizer is in `dir` if no other folder or file is given.
///
/// # Errors
/// Files that cannot be read or are no such cases; whatever differs is a row of the report.
pub fn check_processor(dir: &Path, tokenizer: Option<&Path>) -> Result<Report, Error> {
    let path = dir.join("cases.json");
    let cases: BTreeMap<String, Conversation> = read_json(&path)?;
    if cases.is_empty() {
        return Err(Error::NoCases { path });
    }
    let processor = Qwen3VlProcessor {
        tokenizer: load_tokenizer(tokenizer.unwrap_or(dir))?,
        template: ChatTemplate::load(dir)?,
        images: load_settings(dir)?,
    };
    let mut report = Report::default();
    for (name, conversation) in cases {
        check_case(&processor, dir, &name, conversation, &mut report)?;
    }
    Ok(report)
}

fn check_case(
    processor: &Qwen3VlProcessor,
    dir: &Path,
    name: &str,
    mut conversation: Conversation,
    report: &mut Report,
) -> Result<(), Error> {
    let case = Case::open(dir, name)?;
    name_sources(&case, &mut conversation)?;
    let Conversation { messages, add_vision_id, prompt, expanded, length, .. } = conversation;
    let options = RenderOptions { add_vision_id, ..RenderOptions::default() };
    report.push(compare_texts(name, "prompt", &processor.template.render(&messages, &options)?, &prompt));

    let found = processor.process(&messages, &options)?;
    let expected = case.inputs()?;
    let decoded = processor.tokenizer.decode(&found.input_ids, false);
    report.push(compare_texts(name, "expanded", &decoded, &write_out(&expanded)));
    let equal = found.input_ids.iter().zip(&expected.input_ids).take_while(|(a, b)| a == b).count();
    let count = found.input_ids.len();
    let pass = found.input_ids == expected.input_ids && count == length;
    report.push(row(name, "ids", format!("{equal} of {count} equal"), format!("{length} equal"), pass));
    for (stage, found, expected) in
        [("pixels", &found.images, &expected.images), ("video pixels", &found.videos, &expected.videos)]
    {
        if found != expected || !found.grids.is_empty() {
            report.push(compare_pixels(name, stage, found, expected));
        }
    }
    Ok(())
}

/// Gives pictures and videos without a source the files beside the case.
fn name_sources(case: &Case, conversation: &mut Conversation) -> Result<(), Error> {
    let mut pictures = case.pictures().into_iter();
    for part in conversation.messages.iter_mut().flat_map(|message| &mut message.content) {
        match part {
            Content::Image(part) if part.source.is_none() => part.source = pictures.next().map(ImageSource::Path),
            Content::Video(part) if part.source.is_none() => {
                let frames = case.frames();
                let video = conversation.video.as_ref();
                let expected = video.map_or(0, |video| video.frames);
                if frames.len() != expected {
                    return Err(case.error(format!("{} frames beside it, {expected} in cases.json", frames.len())));
                }
                part.source = Some(VideoSource::List(frames.into_iter().map(ImageSource::Path).collect()));
                part.options.raw_fps = video.and_then(|video| video.fps);
                part.options.do_sample_frames = Some(true);
            }
            _ => {}
        }
    }
    Ok(())
}

/// The settings in `settings.json`, or those that a checkpoint would have.
fn load_settings(dir: &Path) -> Result<ImageProcessor, Error> {
    let path = dir.join("settings.json");
    if !path.is_file() {
        return Ok(ImageProcessor::load(dir)?);
    }
    let settings: serde_json::Value = read_json(&path)?;
    let pictures = PreprocessorConfig::from_json(&settings["image"].to_string(), &path)?;
    let videos = VideoConfig::from_json(&settings["video"].to_string(), &path, &pictures)?;
    Ok(ImageProcessor::new(pictures, videos)?)
}

fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
    serde_json::from_str(&text).map_err(|error| Error::Case { path: path.to_owned(), reason: error.to_string() })
}

fn row(case: &str, stage: &str, found: String, allowed: String, pass: bool) -> Row {
    let verdict = if pass { Verdict::Pass } else { Verdict::Fail };
    Row { case: case.to_owned(), stage: stage.to_owned(), found, allowed, verdict }
}

/// Tells where two texts begin to differ, if they do.
fn compare_texts(case: &str, stage: &str, found: &str, expected: &str) -> Row {
    let equal = found.chars().zip(expected.chars()).take_while(|(a, b)| a == b).count();
    let text = if found == expected { "equal".to_owned() } else { format!("differs from character {equal}") };
    row(case, stage, text, format!("{} characters", expected.chars().count()), found == expected)
}

/// A text whose runs are written `<|image_pad|>*N`, in full.
fn write_out(expanded: &str) -> String {
    let mut pieces = expanded.split("_pad|>*");
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let end = piece.find(|c: char| !c.is_ascii_digit()).unwrap_or(piece.len());
        let start = text.rfind("<|").unwrap_or(text.len());
        let pad = format!("{}_pad|>", &text[start..]);
        text.truncate(start);
        // A number too long for a count is no run that any prompt has.
        text += &pad.repeat(piece[..end].parse().unwrap_or(0).min(1 << 20));
        text += &piece[end..];
    }
    text
}
