//! Objects of a picture: their names and boxes, put where `<ref-object>` and `<bbox>` stand.
//!
//! ```text
//! "objects": {"ref": ["dog"], "bbox": [[331.5, 761.4, 853.5, 1594.8]], "bbox_type": "real", "image_id": [0]}
//! ```
//!
//! A box is written as Qwen3-VL writes `bbox_2d`: `[x1, y1, x2, y2]`, whole thousandths of the picture's sides
//! (`round(x / width * 1000)`, ties to even as Python's `round`), its corners in order. Source: ms-swift, "Custom
//! dataset".

use std::borrow::Cow;

use qwen3_vl_burn::prompt::{Content, Message};

use super::json::{Json, mistype};
use super::{BoxUnit, Objects, Problem};

const BOX: &str = "<bbox>";
const REF: &str = "<ref-object>";
/// What Qwen3-VL calls the length of each side.
const SIDE: f64 = 1000.0;
/// How far outside of the picture a box may lie, in pixels or thousandths: annotations are often a pixel off.
const SLACK: f64 = 1.0;

/// Reads `objects` of a record.
///
/// # Errors
/// [`Problem::Type`] for values of a wrong type, [`Problem::Box`] for a box that has neither two nor four numbers.
pub(super) fn read_objects(json: &Json) -> Result<Objects, Problem> {
    let Json::Object(entries) = json else { return Err(mistype("objects", json, "an object")) };
    let mut objects = Objects::default();
    for (name, value) in entries.iter().filter(|(_, value)| *value != Json::Null) {
        let field = format!("objects.{name}");
        match name.as_str() {
            "ref" => objects.refs = read_list(&field, value, "a text", |item| item.as_text().map(str::to_owned))?,
            "bbox" => {
                let numbers = |item: &Json| match item {
                    Json::List(numbers) => numbers.iter().map(Json::as_number).collect(),
                    _ => None,
                };
                objects.boxes = read_list(&field, value, "a list of numbers", numbers)?;
            }
            "bbox_type" => {
                objects.unit = match value.as_text() {
                    Some("real") => BoxUnit::Pixels,
                    Some("norm1") => BoxUnit::Unit,
                    Some("norm1000") => BoxUnit::Thousandths,
                    _ => return Err(mistype(field, value, "\"real\", \"norm1\" or \"norm1000\"")),
                }
            }
            "image_id" => {
                let number = |item: &Json| if let Json::Number(id) = item { id.as_u64() } else { None };
                let ids = read_list(&field, value, "a whole number from 0 on", number)?;
                objects.image_ids = ids.into_iter().map(|id| usize::try_from(id).unwrap_or(usize::MAX)).collect();
            }
            // Whatever else annotations hold is nothing to a text.
            _ => {}
        }
    }
    match objects.boxes.iter().position(|numbers| !matches!(numbers.len(), 2 | 4)) {
        Some(index) => Err(wrong(index, &objects.boxes[index], "expected [x1, y1, x2, y2], or [x, y] for a point")),
        None => Ok(objects),
    }
}

fn read_list<T>(
    field: &str,
    value: &Json,
    expected: &'static str,
    read: impl Fn(&Json) -> Option<T>,
) -> Result<Vec<T>, Problem> {
    let Json::List(items) = value else { return Err(mistype(field, value, "a list")) };
    let read = |(number, item)| read(item).ok_or_else(|| mistype(format!("{field}[{number}]"), item, expected));
    items.iter().enumerate().map(read).collect()
}

fn wrong(index: usize, numbers: &[f64], reason: impl Into<String>) -> Problem {
    Problem::Box { index, found: format!("{numbers:?}"), reason: reason.into() }
}

/// The messages with names and boxes in their places. `sizes` are height and width of each picture.
///
/// # Errors
/// [`Problem::Objects`] where placeholders and objects differ in number, [`Problem::Box`] for a box of no picture, or
/// that lies outside of it.
pub(super) fn fill_objects<'a>(
    messages: &'a [Message],
    objects: Option<&Objects>,
    sizes: &[(usize, usize)],
) -> Result<Cow<'a, [Message]>, Problem> {
    let Some(objects) = objects else { return Ok(Cow::Borrowed(messages)) };
    let boxes: Vec<String> =
        (0..objects.boxes.len()).map(|index| write_box(objects, index, sizes)).collect::<Result<_, _>>()?;
    let mut messages = messages.to_vec();
    for (placeholder, given) in [(BOX, &boxes), (REF, &objects.refs)] {
        let mut placeholders = 0;
        for part in messages.iter_mut().flat_map(|message| &mut message.content) {
            if let Content::Text(text) = part {
                *text = fill(text, placeholder, given, &mut placeholders);
            }
        }
        let given = given.len();
        if placeholders != given {
            return Err(Problem::Objects { placeholder, placeholders, given });
        }
    }
    Ok(Cow::Owned(messages))
}

/// Puts the next of `values` in the place of each placeholder; `taken` counts them.
fn fill(text: &str, placeholder: &str, values: &[String], taken: &mut usize) -> String {
    let mut pieces = text.split(placeholder);
    let mut filled = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        filled.push_str(values.get(*taken).map_or(placeholder, String::as_str));
        filled.push_str(piece);
        *taken += 1;
    }
    filled
}

fn write_box(objects: &Objects, index: usize, sizes: &[(usize, usize)]) -> Result<String, Problem> {
    let numbers = &objects.boxes[index];
    let id = objects.image_ids.get(index).copied().unwrap_or(0);
    let (height, width) = match (objects.unit, sizes.get(id)) {
        (BoxUnit::Unit, _) => (1.0, 1.0),
        (BoxUnit::Thousandths, _) => (SIDE, SIDE),
        (BoxUnit::Pixels, Some(&(height, width))) => (height as f64, width as f64),
        (BoxUnit::Pixels, None) => {
            return Err(wrong(index, numbers, format!("of picture {id} (from 0), and there are {}", sizes.len())));
        }
    };
    let slack = if objects.unit == BoxUnit::Unit { SLACK / SIDE } else { SLACK };
    let place = |(axis, &number): (usize, &f64)| {
        let (side, name) = if axis % 2 == 0 { (width, "width") } else { (height, "height") };
        if !(-slack..=side + slack).contains(&number) {
            return Err(wrong(index, numbers, format!("{number} lies outside of the {name}, 0 to {side}")));
        }
        // `+ 0.0`: what rounds to -0 is 0.
        Ok((number / side * SIDE).round_ties_even().clamp(0.0, SIDE) + 0.0)
    };
    let mut places: Vec<f64> = numbers.iter().enumerate().map(place).collect::<Result<_, _>>()?;
    if let [x1, y1, x2, y2] = places[..] {
        places = vec![x1.min(x2), y1.min(y2), x1.max(x2), y1.max(y2)];
    }
    let written: Vec<String> = places.iter().map(|place| format!("{place:.0}")).collect();
    Ok(format!("[{}]", written.join(", ")))
}
