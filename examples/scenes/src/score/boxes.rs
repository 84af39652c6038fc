//! Reads boxes and points, and matches them with those that are expected.

use serde::Deserialize;

use super::{RIGHT_IOU, Score, ThingScore, normal};
use crate::expected::Located;

/// An object of the list. Other fields make the answer unreadable.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Object {
    bbox_2d: Option<[f64; 4]>,
    point_2d: Option<[f64; 2]>,
    label: String,
}

/// Answers have at most so many objects.
const MOST_OBJECTS: usize = 64;
/// A point may lie this far outside of its box, in thousandths.
const POINT_SLACK: f64 = 10.0;

/// The list inside of an answer: all of it, or all but a fence around it.
fn read(answer: &str) -> Option<Vec<Object>> {
    let bare = answer.strip_prefix("```json").and_then(|rest| rest.strip_suffix("```")).unwrap_or(answer).trim();
    let objects: Vec<Object> =
        if bare.starts_with('{') { vec![serde_json::from_str(bare).ok()?] } else { serde_json::from_str(bare).ok()? };
    (objects.len() <= MOST_OBJECTS).then_some(objects)
}

/// Scores boxes, or points, whose labels must be right too.
pub fn score(answer: &str, expected: &[Located], points: bool) -> Score {
    let nothing = |located: &Located| ThingScore {
        name: located.label.clone(),
        named: false,
        placed: false,
        iou: (!points).then_some(0.0),
    };
    let mut things: Vec<ThingScore> = expected.iter().map(nothing).collect();
    let Some(objects) = read(answer) else {
        // "There is no cat." is how an empty list is said.
        let right = expected.is_empty() && normal(answer).starts_with("There is no ") && answer.split(' ').count() <= 6;
        return Score { right, things, invented: usize::from(!right) };
    };
    let fit = |object: &Object, located: &Located| -> Option<f32> {
        let fits = match (object.bbox_2d, object.point_2d) {
            (Some(found), None) if !points => iou(found, located.bounds.map(f64::from)),
            (None, Some(found)) if points => f32::from(u8::from(is_inside(found, located.bounds.map(f64::from)))),
            _ => return None,
        };
        (object.label == located.label).then_some(fits)
    };
    let mut pairs: Vec<(f32, usize, usize)> = Vec::new();
    for (number, located) in expected.iter().enumerate() {
        for (at, object) in objects.iter().enumerate() {
            pairs.extend(fit(object, located).map(|fits| (fits, number, at)));
        }
    }
    // Best pairs first; each box and each thing is taken once.
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let (mut taken, mut given) = (vec![false; objects.len()], vec![false; expected.len()]);
    for (fits, number, at) in pairs {
        if !taken[at] && !given[number] {
            (taken[at], given[number]) = (true, true);
            things[number] = ThingScore {
                named: true,
                placed: fits >= RIGHT_IOU,
                iou: (!points).then_some(fits),
                ..things[number].clone()
            };
        }
    }
    let invented = taken.iter().filter(|taken| !**taken).count();
    Score { right: things.iter().all(|thing| thing.placed) && invented == 0, things, invented }
}

/// Intersection over union; 0 for boxes that are none.
pub fn iou(a: [f64; 4], b: [f64; 4]) -> f32 {
    let area = |[left, top, right, bottom]: [f64; 4]| (right - left).max(0.0) * (bottom - top).max(0.0);
    let shared = area([a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])]);
    let union = area(a) + area(b) - shared;
    if union > 0.0 && union.is_finite() { (shared / union) as f32 } else { 0.0 }
}

fn is_inside([x, y]: [f64; 2], [left, top, right, bottom]: [f64; 4]) -> bool {
    (left - POINT_SLACK..=right + POINT_SLACK).contains(&x) && (top - POINT_SLACK..=bottom + POINT_SLACK).contains(&y)
}
