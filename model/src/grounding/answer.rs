//! Finds the detections in a text.
//!
//! The JSON may stand alone, between fences, amid sentences, in several pieces, inside another object, or end too
//! early. So every `[` and `{` is tried as the beginning of a value:
//!
//! ```text
//! at each bracket:  a whole value        ->  keep the detections in it, go on after it
//!                   the text ends        ->  it is truncated: go on inside, where whole objects may be
//!                   no value             ->  go on inside; an object with coordinates in it is a problem to report
//! ```
//!
//! What counts as a value is wider than JSON (loose.rs). One object that cannot be read keeps no other one back.
//!
//! The reader goes at most 128 values deep, so a text of brackets takes no more than that many looks at each of them.

use serde_json::Value;

use super::detection::{KEYS, append_detections, has_coordinates};
use super::loose::{LooseError, Reader};
use super::{Detection, GroundingError};

/// The longest answer that is read, bytes: far more than a model writes.
pub const MAX_ANSWER_BYTES: usize = 1 << 18;
/// The most problems that are kept.
const MAX_PROBLEMS: usize = 100;

/// The detections of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Grounding {
    /// Those that can be read, in the order of the text. None only where each of them is among the problems.
    pub detections: Vec<Detection>,
    /// What is wrong with the others, in the order of the text; the first hundred.
    pub problems: Vec<GroundingError>,
    /// Whether the text ended inside its JSON: there may have been more.
    pub truncated: bool,
}

/// Reads the detections in an answer: the good ones, and what is wrong with the others.
///
/// # Errors
/// [`GroundingError::NotFound`] and [`GroundingError::Truncated`] where there is neither, and
/// [`GroundingError::TooLong`]. Coordinates beyond the picture and corners in the wrong order are no errors
/// ([`Detection::to_pixels`] puts them right).
pub fn parse(answer: &str) -> Result<Grounding, GroundingError> {
    if answer.len() > MAX_ANSWER_BYTES {
        return Err(GroundingError::TooLong { found: answer.len(), limit: MAX_ANSWER_BYTES });
    }
    let mut found = Grounding { detections: Vec::new(), problems: Vec::new(), truncated: false };
    let mut reader = Reader::new(answer);
    let mut at = 0;
    while let Some(offset) = answer[at..].find(['[', '{']) {
        let start = at + offset;
        at = match reader.read(start) {
            Ok((value, end)) => {
                collect(&value.to_json(), &mut found);
                end
            }
            Err(LooseError::Ends) => {
                found.truncated = true;
                start + 1
            }
            Err(LooseError::Expected(expected)) => {
                let rest = &answer[start..];
                if rest.starts_with('{') && names_coordinates(&rest[1..]) {
                    found
                        .problems
                        .push(GroundingError::Malformed { offset: start, reason: format!("expected {expected}") });
                }
                start + 1
            }
        };
    }
    // An answer is bounded, and so are its problems; each is counted before some are left out.
    found.problems.truncate(MAX_PROBLEMS);
    match found.detections.is_empty() && found.problems.is_empty() {
        false => Ok(found),
        true if found.truncated && names_any(answer) => Err(GroundingError::Truncated),
        true => Err(GroundingError::NotFound),
    }
}

impl Grounding {
    /// How many detections the answer has so far, good and bad.
    fn count(&self) -> usize {
        self.detections.len() + self.problems.len()
    }
}

/// Collects the detections in a value, however deep.
fn collect(value: &Value, found: &mut Grounding) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| collect(value, found)),
        Value::Object(object) if has_coordinates(object) => {
            for detection in append_detections(object, found.count()) {
                match detection {
                    Ok(detection) => found.detections.push(detection),
                    Err(problem) => found.problems.push(problem),
                }
            }
        }
        Value::Object(object) => object.values().for_each(|value| collect(value, found)),
        _ => {}
    }
}

/// Whether coordinates are named in an object before it ends or another one begins in it.
fn names_coordinates(object: &str) -> bool {
    names_any(&object[..object.find(['{', '}']).unwrap_or(object.len())])
}

fn names_any(text: &str) -> bool {
    KEYS.iter().any(|key| text.contains(key))
}
