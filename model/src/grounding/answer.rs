//! Finds the detections in a text.
//!
//! The JSON may stand alone, between fences, amid sentences, in several pieces, inside another object, or end too
//! early. So every `[` and `{` is tried as the beginning of a value:
//!
//! ```text
//! at each bracket:  a whole value        ->  keep the detections in it, go on after it
//!                   the text ends        ->  it is truncated: go on inside, where whole objects may be
//!                   not JSON             ->  go on inside; but an object with coordinates in it is an error
//! ```
//!
//! The parser goes at most 128 values deep, so a text of brackets takes no more than that many looks at each of them.

use serde_json::Value;

use super::detection::{KEYS, append_detections};
use super::{Detection, GroundingError};

/// The longest answer that is read, bytes: far more than a model writes.
pub const MAX_ANSWER_BYTES: usize = 1 << 18;

/// The detections of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Grounding {
    /// In the order of the text; at least one.
    pub detections: Vec<Detection>,
    /// Whether the text ended inside its JSON: there may have been more.
    pub truncated: bool,
}

/// Reads the detections in an answer.
///
/// # Errors
/// [`GroundingError`]: none in it, or one that is malformed. Coordinates beyond the picture and corners in the wrong
/// order are no errors ([`Detection::to_pixels`] puts them right).
pub fn parse(answer: &str) -> Result<Grounding, GroundingError> {
    if answer.len() > MAX_ANSWER_BYTES {
        return Err(GroundingError::TooLong { found: answer.len(), limit: MAX_ANSWER_BYTES });
    }
    let mut detections = Vec::new();
    let mut truncated = false;
    let mut at = 0;
    while let Some(offset) = answer[at..].find(['[', '{']) {
        let start = at + offset;
        let rest = &answer[start..];
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
        at = match values.next() {
            Some(Ok(value)) => {
                collect(&value, &mut detections)?;
                start + values.byte_offset()
            }
            Some(Err(error)) if error.is_eof() => {
                truncated = true;
                start + 1
            }
            Some(Err(error)) => {
                if rest.starts_with('{') && names_coordinates(&rest[1..]) {
                    return Err(GroundingError::Malformed { offset: start, reason: error.to_string() });
                }
                start + 1
            }
            None => start + 1,
        };
    }
    match detections.is_empty() {
        false => Ok(Grounding { detections, truncated }),
        true if truncated && KEYS.iter().any(|key| answer.contains(key)) => Err(GroundingError::Truncated),
        true => Err(GroundingError::NotFound),
    }
}

/// Collects the detections in a value, however deep.
fn collect(value: &Value, detections: &mut Vec<Detection>) -> Result<(), GroundingError> {
    match value {
        Value::Array(values) => values.iter().try_for_each(|value| collect(value, detections)),
        Value::Object(object) if KEYS.iter().any(|key| object.contains_key(*key)) => {
            append_detections(object, detections)
        }
        Value::Object(object) => object.values().try_for_each(|value| collect(value, detections)),
        _ => Ok(()),
    }
}

/// Whether coordinates are named in an object before it ends or another one begins in it.
fn names_coordinates(object: &str) -> bool {
    let own = &object[..object.find(['{', '}']).unwrap_or(object.len())];
    KEYS.iter().any(|key| own.contains(key))
}
