//! A conversation, in the JSON that HF's chat templates read.

use std::collections::{BTreeMap, BTreeSet};

use minijinja::Value as TemplateValue;
use serde::de::Error as _;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::ignored::{list_ignored, warn_ignored};
use super::part_json::{read_image, read_video};
use super::{ImagePart, VideoPart};

/// One part of a message.
///
/// ```
/// use qwen3_vl_burn::processor::VideoOptions;
/// use qwen3_vl_burn::prompt::{Content, VideoPart};
/// let picture = Content::image("cat.png");
/// let video = Content::video(VideoPart::from("cat.mp4").with_options(VideoOptions { fps: Some(1.0), ..Default::default() }));
/// let read = r#"{"type": "video", "video": "cat.mp4", "fps": 1}"#;
/// assert_eq!(serde_json::from_str::<Content>(read)?, video);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Text.
    Text(String),
    /// A picture.
    Image(ImagePart),
    /// A video.
    Video(VideoPart),
}

impl Content {
    /// Text.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A picture, from a path, bytes or pixels.
    pub fn image(part: impl Into<ImagePart>) -> Self {
        Self::Image(part.into())
    }

    /// A video, from a path, bytes or frames.
    pub fn video(part: impl Into<VideoPart>) -> Self {
        Self::Video(part.into())
    }

    /// What templates see: they tell parts apart and print texts; sources and options are not their business.
    fn to_template_value(&self) -> Value {
        match self {
            Self::Text(text) => json!({"type": "text", "text": text}),
            Self::Image(_) => json!({"type": "image"}),
            Self::Video(_) => json!({"type": "video"}),
        }
    }
}

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user`, `assistant` or `tool`.
    pub role: String,
    /// The parts in order. In JSON a text alone may stand for a list of one, and `null` for none.
    #[serde(default, deserialize_with = "read_parts")]
    pub content: Vec<Content>,
    /// Whatever else the template may look at (`tool_calls`, `reasoning_content`, ..). These values keep the order of
    /// keys, which shows where a template prints them as JSON.
    #[serde(flatten)]
    pub extra: BTreeMap<String, TemplateValue>,
}

impl Message {
    /// A turn of `role` with these parts.
    pub fn new(role: impl Into<String>, content: Vec<Content>) -> Self {
        Self { role: role.into(), content, extra: BTreeMap::new() }
    }

    /// A turn of `role` that is only text.
    pub fn text(role: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(role, vec![Content::Text(text.into())])
    }

    /// The value that templates see: parts that are all text join to one string, since templates made for text alone
    /// expect one.
    pub(super) fn to_template_value(&self) -> TemplateValue {
        let joined: Option<String> = self
            .content
            .iter()
            .map(|part| match part {
                Content::Text(text) => Some(text.as_str()),
                Content::Image(_) | Content::Video(_) => None,
            })
            .collect();
        let parts = || self.content.iter().map(Content::to_template_value).collect::<Vec<_>>();
        let content = joined.map_or_else(|| TemplateValue::from_serialize(parts()), TemplateValue::from);
        let own = [("role", TemplateValue::from(self.role.as_str())), ("content", content)];
        own.into_iter().chain(self.extra.iter().map(|(key, value)| (key.as_str(), value.clone()))).collect()
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => {
                let mut part = serializer.serialize_map(Some(2))?;
                part.serialize_entry("type", "text")?;
                part.serialize_entry("text", text)?;
                part.end()
            }
            Self::Image(part) => part.serialize(serializer),
            Self::Video(part) => part.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Content {
    /// Takes `{"type": "text", "text": ..}`, `{"type": "image"}` with the source under `image`, `url`, `path` or
    /// `base64`, OpenAI's `{"type": "image_url", "image_url": {"url": ..}}`, the same for videos, and the older forms
    /// without a type. Options stand beside the source; keys that nothing reads are named in a warning.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (part, ignored) = read_part(Map::deserialize(deserializer)?).map_err(D::Error::custom)?;
        warn_ignored("a part of a message", &ignored);
        Ok(part)
    }
}

/// Reads a part; returns the keys that nothing read, too.
fn read_part(part: Map<String, Value>) -> Result<(Content, Vec<String>), serde_json::Error> {
    use serde_json::Error;
    let kind = match part.get("type") {
        Some(Value::String(kind)) => kind.as_str(),
        Some(other) => return Err(Error::custom(format!("a content type is a string, not {other}"))),
        None => ["text", "image_url", "image", "video_url", "video"]
            .into_iter()
            .find(|key| part.contains_key(*key))
            .ok_or_else(|| Error::missing_field("type"))?,
    };
    match kind {
        "text" => match part.get("text") {
            Some(Value::String(text)) => {
                let ignored = list_ignored(&part, |key| matches!(key, "type" | "text"));
                Ok((Content::Text(text.clone()), ignored))
            }
            _ => Err(Error::missing_field("text")),
        },
        "image" | "image_url" => read_image(part).map(|(part, ignored)| (Content::Image(part), ignored)),
        "video" | "video_url" => read_video(part).map(|(part, ignored)| (Content::Video(part), ignored)),
        other => Err(Error::unknown_variant(other, &["text", "image", "image_url", "video", "video_url"])),
    }
}

/// Reads the parts of one message; keys that nothing reads are named in one warning.
fn read_parts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Content>, D::Error> {
    let parts = match Value::deserialize(deserializer)? {
        Value::Null => return Ok(Vec::new()),
        Value::String(text) => return Ok(vec![Content::Text(text)]),
        Value::Array(parts) => parts,
        other => return Err(D::Error::custom(format!("content is a string or a list, not {other}"))),
    };
    let (mut all, mut seen) = (Vec::new(), BTreeSet::new());
    let mut contents = Vec::with_capacity(parts.len());
    for part in parts {
        let part = Map::deserialize(part).map_err(D::Error::custom)?;
        let (content, ignored) = read_part(part).map_err(D::Error::custom)?;
        contents.push(content);
        all.extend(ignored.into_iter().filter(|key| seen.insert(key.clone())));
    }
    warn_ignored("the parts of a message", &all);
    Ok(contents)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reads_every_spelling() {
        let message: Message = serde_json::from_value(json!({"role": "user", "name": "n", "content": [
            {"type": "image"}, {"type": "image", "image": "a.png"}, {"type": "image", "url": "b"}, {"image": "c"},
            {"type": "image_url", "image_url": {"url": "d"}}, {"type": "video", "path": "e"}, {"text": "f"},
        ]}))
        .unwrap();
        assert_eq!(
            message.content,
            [
                Content::Image(ImagePart::default()),
                Content::image("a.png"),
                Content::image("b"),
                Content::image("c"),
                Content::image("d"),
                Content::video("e"),
                Content::text("f"),
            ]
        );
        assert_eq!(message.extra["name"], TemplateValue::from("n"));
        let again: Message = serde_json::from_value(serde_json::to_value(&message).unwrap()).unwrap();
        assert_eq!(again, message);
    }

    fn expect(value: Value) -> TemplateValue {
        TemplateValue::from_serialize(value)
    }

    #[test]
    fn text_alone_is_a_string_for_templates() {
        let texts = Message::new("user", vec![Content::Text("a".into()), Content::Text("b".into())]);
        assert_eq!(texts.to_template_value(), expect(json!({"role": "user", "content": "ab"})));
        let none: Message = serde_json::from_value(json!({"role": "assistant", "content": null})).unwrap();
        assert_eq!(none.to_template_value(), expect(json!({"role": "assistant", "content": ""})));
        let mixed = Message::new("user", vec![Content::image("a.png"), Content::text("b")]);
        let parts = json!([{"type": "image"}, {"type": "text", "text": "b"}]);
        assert_eq!(mixed.to_template_value(), expect(json!({"role": "user", "content": parts})));
    }

    #[test]
    fn refuses_what_is_no_message() {
        for bad in [
            json!({"content": "x"}),
            json!({"role": "user", "content": 5}),
            json!({"role": "user", "content": [{"type": "audio"}]}),
            json!({"role": "user", "content": [{"type": "text"}]}),
            json!({"role": "user", "content": [{"type": 3}]}),
            json!({"role": "user", "content": [{}]}),
        ] {
            assert!(serde_json::from_value::<Message>(bad.clone()).is_err(), "{bad}");
        }
    }
}
