//! Draws detections on a picture.

use std::collections::HashMap;

use image::RgbImage;

use super::canvas::{Area, fill_disc, outline};
use super::label::write_label;
use super::style::contrast;
use super::{BoxShape, DrawStyle, PixelDetection, Point, Shape};

/// Draws boxes as frames, points as discs with a rim, and labels beside them.
///
/// Coordinates are pixels of `picture` ([`Detection::to_pixels`](super::Detection::to_pixels)); what lies beyond it is
/// cut off, and labels are moved into it. Detections with the same label have the same colour. Later ones are drawn
/// over earlier ones, all labels over all frames.
pub fn draw(picture: &mut RgbImage, detections: &[PixelDetection], style: &DrawStyle) {
    let (width, height) = picture.dimensions();
    if width == 0 || height == 0 {
        return;
    }
    let side = width.min(height);
    let (thickness, dot) = (style.line_width(side), style.dot_side(side));
    let colours = choose_colours(detections, style);
    for (detection, &colour) in detections.iter().zip(&colours) {
        match detection.shape {
            Shape::Box(bounds) => outline(picture, cover(&bounds, width, height), thickness, colour),
            Shape::Point(point) => {
                let radius = point_radius(thickness);
                let centre = (find_pixel(point.x, width), find_pixel(point.y, height));
                fill_disc(picture, centre, radius.saturating_add(thickness.div_ceil(2)), contrast(colour));
                fill_disc(picture, centre, radius, colour);
            }
        }
    }
    if !style.labels {
        return;
    }
    for (detection, &colour) in detections.iter().zip(&colours) {
        let Some(label) = detection.label.as_deref().filter(|label| !label.is_empty()) else { continue };
        let (left, above, below) = match detection.shape {
            Shape::Box(bounds) => {
                let area = cover(&bounds, width, height);
                // Inside the frame where there is no room above.
                (area.left, area.top, area.top)
            }
            Shape::Point(Point { x, y }) => {
                let reach = point_radius(thickness).saturating_add(thickness);
                let (x, y) = (find_pixel(x, width), find_pixel(y, height));
                (x.saturating_add(reach), y.saturating_sub(reach), y.saturating_add(reach))
            }
        };
        write_label(
            picture,
            label,
            left,
            |label_height| above.checked_sub(label_height).unwrap_or(below),
            (dot, colour),
        );
    }
}

/// Radius of a point's disc.
fn point_radius(thickness: u32) -> u32 {
    thickness.saturating_mul(2).saturating_add(1)
}

/// A colour for each detection: the same for the same label.
fn choose_colours(detections: &[PixelDetection], style: &DrawStyle) -> Vec<[u8; 3]> {
    let mut chosen: HashMap<&str, usize> = HashMap::new();
    let mut next = 0..;
    detections
        .iter()
        .map(|detection| {
            let mut fresh = || next.next().unwrap_or_default();
            let index = match detection.label.as_deref() {
                Some(label) => *chosen.entry(label).or_insert_with(fresh),
                None => fresh(),
            };
            style.colour(index)
        })
        .collect()
}

/// The pixel in which a coordinate lies; the last one for the far edge.
fn find_pixel(coordinate: f64, side: u32) -> u32 {
    // A float beyond the range, or NaN, becomes the nearest integer or 0.
    (coordinate.floor() as u32).min(side - 1)
}

/// The pixels that a box touches, at least one each way.
fn cover(bounds: &BoxShape, width: u32, height: u32) -> Area {
    let (left, top) = (find_pixel(bounds.x1.min(bounds.x2), width), find_pixel(bounds.y1.min(bounds.y2), height));
    let end = |coordinate: f64, start: u32, side: u32| (coordinate.ceil() as u32).min(side).max(start + 1);
    Area {
        left,
        top,
        right: end(bounds.x1.max(bounds.x2), left, width),
        bottom: end(bounds.y1.max(bounds.y2), top, height),
    }
}
