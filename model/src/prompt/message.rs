//! A conversation, in the JSON that HF's chat templates read.

use std::collections::BTreeMap;

use minijinja::Value as TemplateValue;
use serde::de::Error as _;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

/// One part of a message.
///
/// A picture or video may carry its source (a path or URL); templates ignore it, and whoever renders the conversation supplies
/// the pictures in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Text.
    Text(String),
    /// A picture and, if known, where it is.
    Image(Option<String>),
    /// A video and, if known, where it is.
    Video(Option<String>),
}

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user`, `assistant` or `tool`.
    pub role: String,
    /// The parts in order. In JSON a text alone may stand for a list of one, and `null` for none.
    #[serde(default, deserialize_with = "read_parts")]
    pub content: Vec<Content>,
    /// Whatever else the template may look at (`tool_calls`, `reasoning_content`, ..). These values keep the order of keys, which
    /// shows where a template prints them as JSON.
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

    /// The value that templates see: parts that are all text join to one string, since templates made for text alone expect one.
    pub(super) fn to_template_value(&self) -> TemplateValue {
        let joined: Option<String> = self
            .content
            .iter()
            .map(|part| match part {
                Content::Text(text) => Some(text.as_str()),
                Content::Image(_) | Content::Video(_) => None,
            })
            .collect();
        let content = joined.map_or_else(|| TemplateValue::from_serialize(&self.content), TemplateValue::from);
        let own = [("role", TemplateValue::from(self.role.as_str())), ("content", content)];
        own.into_iter().chain(self.extra.iter().map(|(key, value)| (key.as_str(), value.clone()))).collect()
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (kind, key, value) = match self {
            Self::Text(text) => ("text", "text", Some(text)),
            Self::Image(source) => ("image", "image", source.as_ref()),
            Self::Video(source) => ("video", "video", source.as_ref()),
        };
        let mut part = serializer.serialize_map(None)?;
        part.serialize_entry("type", kind)?;
        if let Some(value) = value {
            part.serialize_entry(key, value)?;
        }
        part.end()
    }
}

impl<'de> Deserialize<'de> for Content {
    /// Takes `{"type": "text", "text": ..}`, `{"type": "image"}` with the source under `image`, `url` or `path`, OpenAI's
    /// `{"type": "image_url", "image_url": {"url": ..}}`, the same for videos, and the older forms without a type.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let part = Map::<String, Value>::deserialize(deserializer)?;
        let kind = match part.get("type") {
            Some(Value::String(kind)) => kind.as_str(),
            Some(other) => return Err(D::Error::custom(format!("a content type is a string, not {other}"))),
            None => ["text", "image_url", "image", "video_url", "video"]
                .into_iter()
                .find(|key| part.contains_key(*key))
                .ok_or_else(|| D::Error::missing_field("type"))?,
        };
        match kind {
            "text" => match part.get("text") {
                Some(Value::String(text)) => Ok(Self::Text(text.clone())),
                _ => Err(D::Error::missing_field("text")),
            },
            "image" | "image_url" => Ok(Self::Image(find_source(&part, kind))),
            "video" | "video_url" => Ok(Self::Video(find_source(&part, kind))),
            other => Err(D::Error::unknown_variant(other, &["text", "image", "image_url", "video", "video_url"])),
        }
    }
}

/// The path or URL of a picture or video part: a string under its own name, `url` or `path`, or an object with a `url`.
fn find_source(part: &Map<String, Value>, kind: &str) -> Option<String> {
    [kind, "url", "path"].into_iter().filter_map(|key| part.get(key)).find_map(|value| match value {
        Value::String(source) => Some(source.clone()),
        Value::Object(object) => object.get("url").and_then(Value::as_str).map(str::to_owned),
        _ => None,
    })
}

fn read_parts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Content>, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(Vec::new()),
        Value::String(text) => Ok(vec![Content::Text(text)]),
        parts @ Value::Array(_) => Vec::deserialize(parts).map_err(D::Error::custom),
        other => Err(D::Error::custom(format!("content is a string or a list, not {other}"))),
    }
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
        let image = |source: &str| Content::Image(Some(source.to_owned()));
        assert_eq!(
            message.content,
            [
                Content::Image(None),
                image("a.png"),
                image("b"),
                image("c"),
                image("d"),
                Content::Video(Some("e".to_owned())),
                Content::Text("f".to_owned()),
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
        let mixed = Message::new("user", vec![Content::Image(None), Content::Text("b".into())]);
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
