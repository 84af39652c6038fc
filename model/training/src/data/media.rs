//! Pictures and videos of a record, and the places in its texts where they belong.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use qwen3_vl_burn::processor::{ImageSource, VideoSource};
use qwen3_vl_burn::prompt::{Content, ImagePart, Modality, VideoPart};
use serde::Deserialize;

use super::Problem;
use super::json::{Json, mistype};

const IMAGE: &str = "<image>";
const VIDEO: &str = "<video>";

/// How the text around placeholders is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// As it is (ms-swift).
    Verbatim,
    /// Without blanks around each piece, and without pieces of blanks (qwen-vl-finetune).
    Trimmed,
}

/// Pictures and videos in the order in which placeholders take them.
pub(super) struct Media {
    images: Pool<ImagePart>,
    videos: Pool<VideoPart>,
    root: PathBuf,
}

/// Files that wait for their places.
struct Pool<T> {
    waiting: VecDeque<T>,
    given: usize,
    placeholders: usize,
}

impl<T> Pool<T> {
    fn new(parts: Vec<T>) -> Self {
        Self { given: parts.len(), waiting: parts.into(), placeholders: 0 }
    }

    /// The next file; `None` where there are fewer than placeholders, which [`Media::require_all_used`] refuses.
    fn next(&mut self) -> Option<T> {
        self.placeholders += 1;
        self.waiting.pop_front()
    }

    fn check(&self, modality: Modality) -> Result<(), Problem> {
        let Self { placeholders, given, .. } = *self;
        if placeholders == given { Ok(()) } else { Err(Problem::Placeholders { modality, placeholders, given }) }
    }
}

impl Media {
    /// Reads `image`, `images`, `video` and `videos` of a record.
    ///
    /// # Errors
    /// [`Problem::Type`] for what names no file.
    pub fn read<'a>(field: impl Fn(&str) -> Option<&'a Json>, root: &Path) -> Result<Self, Problem> {
        let (mut images, mut videos) = (Vec::new(), Vec::new());
        for name in ["image", "images"] {
            for (number, item) in list(field(name)).enumerate() {
                images.push(read_image(&format!("{name}[{number}]"), item, root)?);
            }
        }
        for name in ["video", "videos"] {
            for (number, item) in list(field(name)).enumerate() {
                videos.push(read_video(&format!("{name}[{number}]"), item, root)?);
            }
        }
        Ok(Self { images: Pool::new(images), videos: Pool::new(videos), root: root.to_owned() })
    }

    /// Cuts a text at its placeholders and puts files there.
    pub fn place(&mut self, text: &str, place: Place) -> Vec<Content> {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let found = [IMAGE, VIDEO].into_iter().filter_map(|mark| Some((rest.find(mark)?, mark))).min();
            let (before, after) = match found {
                Some((at, mark)) => (&rest[..at], &rest[at + mark.len()..]),
                None => (rest, ""),
            };
            let before = if place == Place::Trimmed { before.trim() } else { before };
            if !before.is_empty() {
                parts.push(Content::text(before));
            }
            match found {
                Some((_, IMAGE)) => parts.extend(self.images.next().map(Content::Image)),
                Some(_) => parts.extend(self.videos.next().map(Content::Video)),
                None => {}
            }
            rest = after;
        }
        parts
    }

    /// Reads a list of parts; a picture or video without a source takes the next file.
    ///
    /// # Errors
    /// [`Problem::Message`] for what is no part.
    pub fn read_parts(&mut self, message: usize, content: &Json) -> Result<Vec<Content>, Problem> {
        let parts = match content {
            Json::Null => return Ok(Vec::new()),
            Json::List(parts) => parts,
            other => return Err(mistype(format!("messages[{message}].content"), other, "a text or a list of parts")),
        };
        let mut contents = Vec::with_capacity(parts.len());
        for part in parts {
            let wrong = |error: serde_json::Error| Problem::Message { message, reason: error.to_string() };
            contents.push(match Content::deserialize(part.to_value()).map_err(wrong)? {
                Content::Image(part) if part.source.is_none() => match self.images.next() {
                    Some(next) => Content::Image(ImagePart { source: next.source, ..part }),
                    None => continue,
                },
                Content::Video(part) if part.source.is_none() => match self.videos.next() {
                    Some(next) => Content::Video(VideoPart { source: next.source, ..part }),
                    None => continue,
                },
                Content::Image(part) => Content::Image(resolve_image(part, &self.root)),
                Content::Video(part) => Content::Video(resolve_video(part, &self.root)),
                text => text,
            });
        }
        Ok(contents)
    }

    /// Checks that there were as many placeholders as files.
    ///
    /// # Errors
    /// [`Problem::Placeholders`].
    pub fn require_all_used(&self) -> Result<(), Problem> {
        self.images.check(Modality::Image)?;
        self.videos.check(Modality::Video)
    }
}

/// The items of a list, or what stands for a list of one.
fn list(value: Option<&Json>) -> impl Iterator<Item = &Json> {
    match value {
        Some(Json::List(items)) => items.as_slice(),
        Some(one) => std::slice::from_ref(one),
        None => &[],
    }
    .iter()
}

fn read_image(field: &str, item: &Json, root: &Path) -> Result<ImagePart, Problem> {
    const EXPECTED: &str = "a path, a data URI, or an object with one";
    let part = match item {
        Json::Text(text) => ImagePart::from(text.as_str()),
        Json::Object(_) => ImagePart::deserialize(item.to_value()).map_err(|error| refuse(field, &error, EXPECTED))?,
        other => return Err(mistype(field, other, EXPECTED)),
    };
    if part.source.is_none() {
        return Err(mistype(field, item, EXPECTED));
    }
    Ok(resolve_image(part, root))
}

fn read_video(field: &str, item: &Json, root: &Path) -> Result<VideoPart, Problem> {
    const EXPECTED: &str = "a path, a data URI, a list of frames, or an object with one";
    let part = match item {
        Json::Text(text) => VideoPart::from(text.as_str()),
        Json::List(frames) => {
            let frames: Option<Vec<_>> = frames.iter().map(|frame| frame.as_text().map(ImageSource::from)).collect();
            VideoPart::from(frames.ok_or_else(|| mistype(field, item, EXPECTED))?)
        }
        Json::Object(_) => VideoPart::deserialize(item.to_value()).map_err(|error| refuse(field, &error, EXPECTED))?,
        other => return Err(mistype(field, other, EXPECTED)),
    };
    if part.source.is_none() {
        return Err(mistype(field, item, EXPECTED));
    }
    Ok(resolve_video(part, root))
}

fn refuse(field: &str, error: &serde_json::Error, expected: &'static str) -> Problem {
    Problem::Type { field: field.to_owned(), found: format!("wrong ({error})"), expected }
}

fn resolve_image(mut part: ImagePart, root: &Path) -> ImagePart {
    part.source = part.source.map(|source| resolve_source(source, root));
    part
}

fn resolve_video(mut part: VideoPart, root: &Path) -> VideoPart {
    part.source = part.source.map(|source| match source {
        VideoSource::Location(text) if is_path(&text) => VideoSource::Path(root.join(text)),
        VideoSource::List(frames) => {
            VideoSource::List(frames.into_iter().map(|frame| resolve_source(frame, root)).collect())
        }
        other => other,
    });
    part
}

fn resolve_source(source: ImageSource, root: &Path) -> ImageSource {
    match source {
        ImageSource::Location(text) if is_path(&text) => ImageSource::Path(root.join(text)),
        other => other,
    }
}

/// Whether a source is a path; what is none, or nothing, keeps its text, which says what is wrong with it.
fn is_path(text: &str) -> bool {
    let data = text.get(..5).is_some_and(|head| head.eq_ignore_ascii_case("data:"));
    !text.is_empty() && !data && !text.contains("://")
}
