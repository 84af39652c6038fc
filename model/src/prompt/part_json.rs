//! Pictures and videos of a message, read from JSON.

use std::collections::BTreeSet;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::ignored::{list_ignored, warn_ignored};
use super::{ImagePart, VideoPart};
use crate::processor::{ImageOptions, ImageSource, VideoOptions, VideoSource};

/// What HF's `VideoMetadata` holds besides that changes nothing here.
const OTHER_METADATA: [&str; 4] = ["duration", "height", "video_backend", "width"];

/// Reads the picture of a part; returns the keys that nothing read, too.
///
/// # Errors
/// For options that are no numbers.
pub(super) fn read_image(part: Map<String, Value>) -> Result<(ImagePart, Vec<String>), serde_json::Error> {
    let mut source = None;
    let mut used = Vec::new();
    for key in ["image", "image_url", "url", "path", "base64"] {
        let Some(text) = part.get(key).and_then(|value| read_string(key, value, &mut used)) else { continue };
        let text = if key == "base64" { format!("data:;base64,{text}") } else { text };
        source = Some(ImageSource::Location(text));
        break;
    }
    let ignored = finish(&part, used, &ImageOptions::NAMES);
    let options = ImageOptions::deserialize(Value::Object(part))?;
    Ok((ImagePart { source, options }, ignored))
}

/// Reads the video of a part; returns the keys that nothing read, too.
///
/// # Errors
/// For options that are no numbers, for a list of something else than places of pictures, and for metadata that
/// contradict the options.
pub(super) fn read_video(mut part: Map<String, Value>) -> Result<(VideoPart, Vec<String>), serde_json::Error> {
    let mut source = None;
    let mut used = Vec::new();
    for key in ["video", "video_url", "url", "path"] {
        source = match part.get(key) {
            Some(Value::Array(frames)) => {
                let frames = frames.iter().map(|frame| read_string(key, frame, &mut used).map(ImageSource::Location));
                let frames: Option<Vec<_>> = frames.collect();
                let wrong = || serde_json::Error::custom("a list of frames holds paths or URIs");
                used.push(Used { key: key.to_owned(), ignored: Vec::new() });
                Some(VideoSource::List(frames.ok_or_else(wrong)?))
            }
            Some(value) => read_string(key, value, &mut used).map(VideoSource::Location),
            None => None,
        };
        if source.is_some() {
            break;
        }
    }
    let mut names = VideoOptions::NAMES.to_vec();
    names.push("video_metadata");
    let mut ignored = finish(&part, used, &names);
    unfold_metadata(&mut part, &mut ignored)?;
    let options = VideoOptions::deserialize(Value::Object(part))?;
    Ok((VideoPart { source, options }, ignored))
}

/// A key that was read, and those inside of its object that were not.
struct Used {
    key: String,
    ignored: Vec<String>,
}

/// A string, or the `url` or `image` of an object.
fn read_string(key: &str, value: &Value, used: &mut Vec<Used>) -> Option<String> {
    let (text, ignored) = match value {
        Value::String(text) => (text, Vec::new()),
        Value::Object(object) => {
            let (name, text) =
                ["url", "image"].into_iter().find_map(|name| Some((name, object.get(name)?.as_str()?)))?;
            let ignored = list_ignored(object, |other| other == name || other == "type");
            used.push(Used { key: key.to_owned(), ignored });
            return Some(text.to_owned());
        }
        _ => return None,
    };
    used.push(Used { key: key.to_owned(), ignored });
    Some(text.clone())
}

/// The keys of a part that neither its source nor its options have read.
fn finish(part: &Map<String, Value>, used: Vec<Used>, options: &[&str]) -> Vec<String> {
    let keys: BTreeSet<&str> = used.iter().map(|used| used.key.as_str()).collect();
    let read = |key: &str| key == "type" || options.contains(&key) || keys.contains(key);
    let mut ignored = list_ignored(part, read);
    // A list of frames may have the same key in each.
    let inside = used.iter().flat_map(|used| used.ignored.iter().map(move |name| (&used.key, name)));
    let mut seen = BTreeSet::new();
    ignored.extend(inside.filter(|&name| seen.insert(name)).map(|(key, name)| format!("{key}.{name}")));
    ignored
}

/// Moves the entries of HF's `video_metadata` to where options stand: `fps` is `raw_fps` there.
fn unfold_metadata(part: &mut Map<String, Value>, ignored: &mut Vec<String>) -> Result<(), serde_json::Error> {
    let metadata = match part.remove("video_metadata") {
        None | Some(Value::Null) => return Ok(()),
        Some(Value::Object(metadata)) => metadata,
        // One for each video, as HF takes them in a batch.
        Some(Value::Array(mut list)) if list.len() == 1 && list[0].is_object() => match list.remove(0) {
            Value::Object(metadata) => metadata,
            _ => return Ok(()),
        },
        Some(other) => return Err(serde_json::Error::custom(format!("video_metadata is an object, not {other}"))),
    };
    for (key, value) in metadata {
        let name = match key.as_str() {
            "fps" => "raw_fps",
            "frames_indices" | "total_num_frames" => key.as_str(),
            key if value.is_null() || OTHER_METADATA.contains(&key) => continue,
            key => {
                ignored.push(format!("video_metadata.{key}"));
                continue;
            }
        };
        match part.get(name).filter(|found| !found.is_null() && !value.is_null()) {
            None if value.is_null() => {}
            None => drop(part.insert(name.to_owned(), value)),
            Some(found) if same(found, &value) => {}
            Some(found) => {
                return Err(serde_json::Error::custom(format!(
                    "video_metadata says that {key} is {value}, and {name} beside it says {found}"
                )));
            }
        }
    }
    Ok(())
}

/// Whether two values are equal, `10` and `10.0` too.
fn same(a: &Value, b: &Value) -> bool {
    a == b || a.as_f64().is_some_and(|a| b.as_f64() == Some(a))
}

impl<'de> Deserialize<'de> for ImagePart {
    /// Takes the source under `image`, `image_url`, `url` or `path`, as a string or an object with a `url`, or under
    /// `base64`. Keys that nothing reads are named in a warning.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (part, ignored) = read_image(Map::deserialize(deserializer)?).map_err(D::Error::custom)?;
        warn_ignored("a picture of a message", &ignored);
        Ok(part)
    }
}

impl<'de> Deserialize<'de> for VideoPart {
    /// Takes the source under `video`, `video_url`, `url` or `path`, as a string, an object with a `url`, or a list of
    /// frames, and HF's `video_metadata`. Keys that nothing reads are named in a warning.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (part, ignored) = read_video(Map::deserialize(deserializer)?).map_err(D::Error::custom)?;
        warn_ignored("a video of a message", &ignored);
        Ok(part)
    }
}
