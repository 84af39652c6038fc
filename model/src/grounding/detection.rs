//! Boxes and points, in the model's coordinates and in pixels.

use std::sync::Arc;

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
    /// What it is; shared by the boxes of one object.
    pub label: Option<Arc<str>>,
    /// Where it is.
    pub shape: Shape,
    /// What else the model said of it (`role`, `text_content`, ..); shared by the boxes of one object.
    pub extra: Arc<Map<String, Value>>,
}

/// A detection in pixels of a picture, from 0 to its width and height.
#[derive(Clone, Debug, PartialEq)]
pub struct PixelDetection {
    /// What it is.
    pub label: Option<Arc<str>>,
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

/// Keys of coordinates: the one that the model was taught, one that it falls back to, and how many numbers they hold.
const SHAPES: [(&str, &str, usize); 2] = [("bbox_2d", "bbox", 4), ("point_2d", "point", 2)];
/// The keys of coordinates that errors and truncated answers are known by.
pub(super) const KEYS: [&str; 3] = ["bbox_2d", "point_2d", "bbox"];

/// The coordinates of a shape in an object. The other key counts where the first one is absent and a list stands there:
/// `point` may be a word of anything.
fn find_coordinates<'a>(object: &'a Map<String, Value>, key: &str, other: &str) -> Option<&'a Value> {
    object.get(key).or_else(|| object.get(other).filter(|value| value.is_array()))
}

/// Whether an object says where something is.
pub(super) fn has_coordinates(object: &Map<String, Value>) -> bool {
    SHAPES.iter().any(|(key, other, _)| find_coordinates(object, key, other).is_some())
}

/// The detections in `object`, or what is wrong with each: one for each box and point, or several where a key holds a
/// list of lists. The first has the number `first` in the answer.
pub(super) fn append_detections(object: &Map<String, Value>, first: usize) -> Vec<Result<Detection, GroundingError>> {
    let is_coordinates = |name: &str| {
        SHAPES.iter().any(|(key, other, _)| {
            name == *key || name == *other && !object.contains_key(*key) && object[name].is_array()
        })
    };
    let extra: Map<String, Value> = object
        .iter()
        .filter(|(key, _)| !is_coordinates(key) && *key != "label")
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let extra = Arc::new(extra);
    let label: Option<Arc<str>> = match object.get("label") {
        None | Some(Value::Null) => None,
        Some(Value::String(label)) => Some(label.as_str().into()),
        Some(other) => Some(other.to_string().into()),
    };
    let mut found = Vec::new();
    for (key, other, numbers) in SHAPES {
        let Some(value) = find_coordinates(object, key, other) else { continue };
        let key = if object.contains_key(key) { key } else { other };
        let lists = match value {
            Value::Array(lists) if lists.first().is_some_and(Value::is_array) => lists.as_slice(),
            _ => std::slice::from_ref(value),
        };
        for list in lists {
            let place = Place { key, index: first + found.len(), expected: numbers };
            let shape = match numbers {
                4 => place.read(list).map(|[x1, y1, x2, y2]| Shape::Box(BoxShape { x1, y1, x2, y2 })),
                _ => place.read(list).map(|[x, y]| Shape::Point(Point { x, y })),
            };
            found.push(shape.map(|shape| Detection { label: label.clone(), shape, extra: extra.clone() }));
        }
    }
    found
}

/// Which list of coordinates is read, for errors.
#[derive(Clone, Copy)]
struct Place {
    key: &'static str,
    index: usize,
    expected: usize,
}

impl Place {
    /// Reads numbers, also those that are written as texts (`"12"`).
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
            let read = value.as_f64().or_else(|| value.as_str().and_then(|text| text.trim().parse().ok()));
            *number = read.filter(|number| number.is_finite()).ok_or_else(|| GroundingError::NotANumber {
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
