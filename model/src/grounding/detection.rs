//! Boxes and points, in the model's coordinates and in pixels.

use serde_json::{Map, Value};

use super::GroundingError;

/// What the model calls the length of each side of the picture.
pub const RELATIVE_SIDE: f64 = 1000.0;

/// A point: `x` to the right, `y` down, from the top left corner.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// To the right.
    pub x: f64,
    /// Down.
    pub y: f64,
}

/// A box between two corners.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BoxShape {
    /// One side; in pixels, the left one.
    pub x1: f64,
    /// One side; in pixels, the upper one.
    pub y1: f64,
    /// The other side; in pixels, the right one.
    pub x2: f64,
    /// The other side; in pixels, the lower one.
    pub y2: f64,
}

/// Where something is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// Within a box.
    Box(BoxShape),
    /// At a point.
    Point(Point),
}

/// Something that the model located, as it said it: coordinates from 0 to [`RELATIVE_SIDE`] along each side, unchecked
/// but for being finite numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Detection {
    /// What it is.
    pub label: Option<String>,
    /// Where it is.
    pub shape: Shape,
    /// What else the model said of it (`role`, `text_content`, ..).
    pub extra: Map<String, Value>,
}

/// A detection in pixels of a picture, from 0 to its width and height.
#[derive(Clone, Debug, PartialEq)]
pub struct PixelDetection {
    /// What it is.
    pub label: Option<String>,
    /// Where it is: within the picture, corners in order.
    pub shape: Shape,
}

impl Detection {
    /// Scales to a picture of `width` x `height` pixels, before any resizing: `x * width / 1000`, `y * height / 1000`,
    /// clipped to the picture, the corners of a box put in order.
    pub fn to_pixels(&self, width: u32, height: u32) -> PixelDetection {
        let scale = |value: f64, side: u32| (value / RELATIVE_SIDE * f64::from(side)).clamp(0.0, f64::from(side));
        let shape = match self.shape {
            Shape::Point(Point { x, y }) => Shape::Point(Point { x: scale(x, width), y: scale(y, height) }),
            Shape::Box(BoxShape { x1, y1, x2, y2 }) => Shape::Box(BoxShape {
                x1: scale(x1.min(x2), width),
                y1: scale(y1.min(y2), height),
                x2: scale(x1.max(x2), width),
                y2: scale(y1.max(y2), height),
            }),
        };
        PixelDetection { label: self.label.clone(), shape }
    }
}

/// Key of a box.
const BOX_KEY: &str = "bbox_2d";
/// Key of a point.
const POINT_KEY: &str = "point_2d";
/// The keys of coordinates.
pub(super) const KEYS: [&str; 2] = [BOX_KEY, POINT_KEY];

/// Appends the detections in `object`: one for each box and point, or several where a key holds a list of lists.
pub(super) fn append_detections(object: &Map<String, Value>, found: &mut Vec<Detection>) -> Result<(), GroundingError> {
    let extra: Map<String, Value> = object
        .iter()
        .filter(|(key, _)| !KEYS.contains(&key.as_str()) && *key != "label")
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let label = match object.get("label") {
        None | Some(Value::Null) => None,
        Some(Value::String(label)) => Some(label.clone()),
        Some(other) => Some(other.to_string()),
    };
    for (key, numbers) in [(BOX_KEY, 4), (POINT_KEY, 2)] {
        let Some(value) = object.get(key) else { continue };
        let lists = match value {
            Value::Array(lists) if lists.first().is_some_and(Value::is_array) => lists.as_slice(),
            _ => std::slice::from_ref(value),
        };
        for list in lists {
            let place = Place { key, index: found.len(), expected: numbers };
            let shape = match key {
                BOX_KEY => {
                    let [x1, y1, x2, y2] = place.read(list)?;
                    Shape::Box(BoxShape { x1, y1, x2, y2 })
                }
                _ => {
                    let [x, y] = place.read(list)?;
                    Shape::Point(Point { x, y })
                }
            };
            found.push(Detection { label: label.clone(), shape, extra: extra.clone() });
        }
    }
    Ok(())
}

/// Which list of coordinates is read, for errors.
#[derive(Clone, Copy)]
struct Place {
    key: &'static str,
    index: usize,
    expected: usize,
}

impl Place {
    fn read<const N: usize>(self, value: &Value) -> Result<[f64; N], GroundingError> {
        let Self { key, index, expected } = self;
        let Value::Array(list) = value else {
            return Err(GroundingError::NotAList { key, index, expected, found: shorten(value) });
        };
        let list: &[Value; N] = list.as_slice().try_into().map_err(|_| GroundingError::Count {
            key,
            index,
            expected,
            found: list.len(),
        })?;
        let mut numbers = [0.0; N];
        for (number, value) in numbers.iter_mut().zip(list) {
            *number = value.as_f64().filter(|number| number.is_finite()).ok_or_else(|| GroundingError::NotANumber {
                key,
                index,
                found: shorten(value),
            })?;
        }
        Ok(numbers)
    }
}

/// A value for a message.
fn shorten(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((cut, _)) => format!("{}..", &text[..cut]),
        None => text,
    }
}
