//! From a rendered prompt to token ids, with room for pictures and videos.
//!
//! ```text
//! picture:  <|image_pad|>                                    ->  <|image_pad|> * (t h w / merge^2)
//! video:    <|vision_start|><|video_pad|><|vision_end|>      ->  for each temporal patch:
//!           <{seconds:.1f} seconds><|vision_start|><|video_pad|> * (h w / merge^2)<|vision_end|>
//! ```
//!
//! The timestamps join the text around them before it is encoded, since `: <` is cut into tokens otherwise than `: `
//! and `<`. Pads are special tokens and can be repeated as ids afterwards, which spares encoding thousands of them.
//! Source: HF transformers 4.57, `Qwen3VLProcessor`.

use super::{Modality, PromptError, Tokenizer};
use crate::processor::Grid;

const VISION_START: &str = "<|vision_start|>";
const VISION_END: &str = "<|vision_end|>";
const IMAGE_PAD: &str = "<|image_pad|>";
const VIDEO_PAD: &str = "<|video_pad|>";

/// Ids of the tokens that mark pictures and videos.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VisionTokens {
    /// Before a picture or frame.
    pub vision_start: u32,
    /// After a picture or frame.
    pub vision_end: u32,
    /// One token of a picture.
    pub image_pad: u32,
    /// One token of a video.
    pub video_pad: u32,
}

impl VisionTokens {
    /// Looks the marks up.
    ///
    /// # Errors
    /// [`PromptError::MissingToken`] for a tokenizer without one of them.
    pub fn find(tokenizer: &Tokenizer) -> Result<Self, PromptError> {
        let find = |token| tokenizer.find_id(token).ok_or(PromptError::MissingToken { token });
        Ok(Self {
            vision_start: find(VISION_START)?,
            vision_end: find(VISION_END)?,
            image_pad: find(IMAGE_PAD)?,
            video_pad: find(VIDEO_PAD)?,
        })
    }
}

/// What a prompt needs to know of a video.
#[derive(Clone, Debug, PartialEq)]
pub struct VideoPrompt {
    /// Its grid in patches.
    pub grid: Grid,
    /// The time of each temporal patch, in seconds ([`crate::processor::compute_timestamps`]).
    pub timestamps: Vec<f64>,
}

/// A prompt as the model takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpandedPrompt {
    /// Token ids, pads repeated.
    pub ids: Vec<u32>,
    /// What each token stands for (HF's `mm_token_type_ids`).
    pub modalities: Vec<Modality>,
}

/// Encodes a rendered prompt and makes room for its pictures and videos, in the order of their placeholders.
///
/// `merge` is the side in patches of the square that becomes one token.
///
/// # Errors
/// [`PromptError::Count`] when there are more or fewer placeholders than `images` or `videos`; [`PromptError::Grid`]
/// for a grid that isn't whole blocks; [`PromptError::Timestamps`] for a video without one for each temporal patch;
/// [`PromptError::MissingToken`] and [`PromptError::Encode`] from the tokenizer.
pub fn expand_prompt(
    tokenizer: &Tokenizer,
    prompt: &str,
    images: &[Grid],
    videos: &[VideoPrompt],
    merge: usize,
) -> Result<ExpandedPrompt, PromptError> {
    let images = count_tokens(images.iter(), merge, Modality::Image)?;
    let frames = count_frame_tokens(videos, merge)?;
    require_count(prompt, IMAGE_PAD, Modality::Image, images.len())?;
    require_count(prompt, VIDEO_PAD, Modality::Video, videos.len())?;
    let ids = tokenizer.encode(&insert_timestamps(prompt, videos))?;
    if images.is_empty() && frames.is_empty() {
        let modalities = vec![Modality::Text; ids.len()];
        return Ok(ExpandedPrompt { ids, modalities });
    }

    let tokens = VisionTokens::find(tokenizer)?;
    let length = ids.len() + images.iter().chain(&frames).sum::<usize>();
    let mut expanded = ExpandedPrompt { ids: Vec::with_capacity(length), modalities: Vec::with_capacity(length) };
    let (mut images, mut frames) = (images.into_iter(), frames.into_iter());
    for id in ids {
        // The counts agree, so neither runs out; a pad beyond them would stay one token.
        let (modality, count) = match id {
            id if id == tokens.image_pad => (Modality::Image, images.next().unwrap_or(1)),
            id if id == tokens.video_pad => (Modality::Video, frames.next().unwrap_or(1)),
            _ => (Modality::Text, 1),
        };
        expanded.ids.extend(std::iter::repeat_n(id, count));
        expanded.modalities.extend(std::iter::repeat_n(modality, count));
    }
    Ok(expanded)
}

/// Tokens of each grid.
fn count_tokens<'a>(
    grids: impl Iterator<Item = &'a Grid>,
    merge: usize,
    modality: Modality,
) -> Result<Vec<usize>, PromptError> {
    grids
        .enumerate()
        .map(|(index, grid)| {
            let whole = merge > 0 && grid.h.is_multiple_of(merge) && grid.w.is_multiple_of(merge);
            if !whole || grid.patches() == 0 {
                return Err(PromptError::Grid { modality, index, grid: *grid, merge });
            }
            Ok(grid.tokens(merge))
        })
        .collect()
}

/// Tokens of each temporal patch of each video.
fn count_frame_tokens(videos: &[VideoPrompt], merge: usize) -> Result<Vec<usize>, PromptError> {
    let counts = count_tokens(videos.iter().map(|video| &video.grid), merge, Modality::Video)?;
    let mut frames = Vec::new();
    for (index, (video, count)) in videos.iter().zip(counts).enumerate() {
        let (expected, found) = (video.grid.t, video.timestamps.len());
        if expected != found {
            return Err(PromptError::Timestamps { index, expected, found });
        }
        frames.extend(std::iter::repeat_n(count / expected, expected));
    }
    Ok(frames)
}

fn require_count(prompt: &str, pad: &str, modality: Modality, given: usize) -> Result<(), PromptError> {
    let placeholders = prompt.matches(pad).count();
    if placeholders == given { Ok(()) } else { Err(PromptError::Count { modality, placeholders, given }) }
}

/// Replaces each video placeholder, with the marks around it if it has them, by one timestamped block for each temporal
/// patch, in which the pad stands once.
fn insert_timestamps(prompt: &str, videos: &[VideoPrompt]) -> String {
    let mut text = String::with_capacity(prompt.len());
    let mut pieces = prompt.split(VIDEO_PAD);
    text.push_str(pieces.next().unwrap_or_default());
    for (video, after) in videos.iter().zip(pieces) {
        let wrapped = text.ends_with(VISION_START) && after.starts_with(VISION_END);
        if wrapped {
            text.truncate(text.len() - VISION_START.len());
        }
        for seconds in &video.timestamps {
            text.push_str(&format!("<{seconds:.1} seconds>{VISION_START}{VIDEO_PAD}{VISION_END}"));
        }
        text.push_str(if wrapped { &after[VISION_END.len()..] } else { after });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn video(timestamps: &[f64]) -> VideoPrompt {
        VideoPrompt { grid: Grid { t: timestamps.len(), h: 2, w: 2 }, timestamps: timestamps.to_vec() }
    }

    #[test]
    fn a_placeholder_becomes_timestamped_blocks() {
        let block = |seconds: &str| format!("<{seconds} seconds>{VISION_START}{VIDEO_PAD}{VISION_END}");
        // 0.25 and 0.75 are ties in binary too: Python gives 0.2 and 0.8.
        let wrapped = format!("a{VISION_START}{VIDEO_PAD}{VISION_END}b");
        let expected = format!("a{}{}b", block("0.2"), block("0.8"));
        assert_eq!(insert_timestamps(&wrapped, &[video(&[0.25, 0.75])]), expected);
        // Without marks around it, and two of them.
        let bare = format!("{VIDEO_PAD}, {VIDEO_PAD}");
        let expected = format!("{}, {}", block("12.3"), block("0.0"));
        assert_eq!(insert_timestamps(&bare, &[video(&[12.3]), video(&[0.04])]), expected);
    }
}
