//! Pictures and videos of a message.

use std::borrow::Cow;

use serde::de::Error as _;
use serde::ser::{Error as _, SerializeMap};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::processor::{ImageOptions, ImageSource, VideoOptions, VideoSource};

/// A picture of a message.
///
/// In JSON the options stand beside the source: `{"type": "image", "image": "cat.png", "max_pixels": 50176}`. Sources in memory
/// become `data:` URIs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImagePart {
    /// Where it is; `None` where whoever prepares the prompt supplies the processed picture.
    pub source: Option<ImageSource>,
    /// Limits of its own.
    pub options: ImageOptions,
}

/// A video of a message.
///
/// In JSON the options stand beside the source: `{"type": "video", "video": "cat.mp4", "fps": 1}`; a list of frames is
/// `"video": ["f0.png", "f1.png"]`. Sources in memory become `data:` URIs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VideoPart {
    /// Where it is; `None` where whoever prepares the prompt supplies the processed video.
    pub source: Option<VideoSource>,
    /// Sampling and limits of its own.
    pub options: VideoOptions,
}

impl ImagePart {
    /// The same picture with these options.
    pub fn with_options(mut self, options: ImageOptions) -> Self {
        self.options = options;
        self
    }
}

impl VideoPart {
    /// The same video with these options.
    pub fn with_options(mut self, options: VideoOptions) -> Self {
        self.options = options;
        self
    }
}

impl<T: Into<ImageSource>> From<T> for ImagePart {
    fn from(source: T) -> Self {
        Self { source: Some(source.into()), options: ImageOptions::default() }
    }
}

impl<T: Into<VideoSource>> From<T> for VideoPart {
    fn from(source: T) -> Self {
        Self { source: Some(source.into()), options: VideoOptions::default() }
    }
}

impl Serialize for ImagePart {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut part = serializer.serialize_map(None)?;
        part.serialize_entry("type", "image")?;
        if let Some(source) = &self.source {
            part.serialize_entry("image", &write_source(source)?)?;
        }
        write_options(&mut part, &self.options)?;
        part.end()
    }
}

impl Serialize for VideoPart {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut part = serializer.serialize_map(None)?;
        part.serialize_entry("type", "video")?;
        match &self.source {
            None => {}
            Some(VideoSource::List(frames)) => {
                let frames: Vec<_> = frames.iter().map(write_source).collect::<Result<_, S::Error>>()?;
                part.serialize_entry("video", &frames)?;
            }
            Some(VideoSource::Frames(frames)) => {
                let frames = frames.iter().map(|frame| write_source(&frame.clone().into()).map(Cow::into_owned));
                part.serialize_entry("video", &frames.collect::<Result<Vec<String>, S::Error>>()?)?;
            }
            // A file or its contents are written as a picture's are.
            Some(VideoSource::Location(text)) => part.serialize_entry("video", text)?,
            Some(VideoSource::Path(path)) => {
                part.serialize_entry("video", &write_source(&ImageSource::Path(path.clone()))?)?;
            }
            Some(VideoSource::Bytes(data)) => {
                part.serialize_entry("video", &write_source(&ImageSource::Bytes(data.clone()))?)?;
            }
        }
        write_options(&mut part, &self.options)?;
        part.end()
    }
}

fn write_source<E: serde::ser::Error>(source: &ImageSource) -> Result<Cow<'_, str>, E> {
    source.to_location().ok_or_else(|| E::custom(format!("{source:?} cannot be written as a string")))
}

/// Writes the entries of `options` into the map of a part.
fn write_options<M: SerializeMap>(part: &mut M, options: &impl Serialize) -> Result<(), M::Error> {
    let options = serde_json::to_value(options).map_err(M::Error::custom)?;
    for (name, value) in options.as_object().into_iter().flatten() {
        part.serialize_entry(name, value)?;
    }
    Ok(())
}

impl<'de> Deserialize<'de> for ImagePart {
    /// Takes the source under `image`, `image_url`, `url` or `path`, as a string or an object with a `url`, or under `base64`.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let part = Map::deserialize(deserializer)?;
        let source =
            ["image", "image_url", "url", "path"].into_iter().filter_map(|key| part.get(key)).find_map(read_string);
        let base64 = || part.get("base64").and_then(read_string).map(|data| format!("data:;base64,{data}"));
        let source = source.or_else(base64).map(ImageSource::Location);
        let options = ImageOptions::deserialize(Value::Object(part)).map_err(D::Error::custom)?;
        Ok(Self { source, options })
    }
}

impl<'de> Deserialize<'de> for VideoPart {
    /// Takes the source under `video`, `video_url`, `url` or `path`, as a string, an object with a `url`, or a list of frames.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let part = Map::deserialize(deserializer)?;
        let mut source = None;
        for value in ["video", "video_url", "url", "path"].into_iter().filter_map(|key| part.get(key)) {
            source = match value {
                Value::Array(frames) => {
                    let read = |frame| read_string(frame).map(ImageSource::Location);
                    let frames: Option<Vec<_>> = frames.iter().map(read).collect();
                    let frames = frames.ok_or_else(|| D::Error::custom("a list of frames holds paths or URIs"))?;
                    Some(VideoSource::List(frames))
                }
                other => read_string(other).map(VideoSource::Location),
            };
            if source.is_some() {
                break;
            }
        }
        let options = VideoOptions::deserialize(Value::Object(part)).map_err(D::Error::custom)?;
        Ok(Self { source, options })
    }
}

/// A string, or the `url` or `image` of an object.
fn read_string(value: &Value) -> Option<String> {
    match value {
        Value::String(source) => Some(source.clone()),
        Value::Object(object) => {
            ["url", "image"].into_iter().find_map(|key| object.get(key)?.as_str()).map(str::to_owned)
        }
        _ => None,
    }
}
