//! Filling of rectangles and discs, clipped to the picture.

use image::{Rgb, RgbImage};

/// Pixels from `left`, `top` up to `right`, `bottom`, which are not part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) left: u32,
    pub(super) top: u32,
    pub(super) right: u32,
    pub(super) bottom: u32,
}

/// Fills what of `area` lies in the picture.
pub(super) fn fill(picture: &mut RgbImage, area: Area, colour: [u8; 3]) {
    let (right, bottom) = (area.right.min(picture.width()), area.bottom.min(picture.height()));
    for y in area.top..bottom {
        for x in area.left..right {
            picture.put_pixel(x, y, Rgb(colour));
        }
    }
}

/// Draws the outline of `area`, `thickness` pixels wide, inwards.
pub(super) fn outline(picture: &mut RgbImage, area: Area, thickness: u32, colour: [u8; 3]) {
    let Area { left, top, right, bottom } = area;
    let (inner_left, inner_top) =
        (left.saturating_add(thickness).min(right), top.saturating_add(thickness).min(bottom));
    let (inner_right, inner_bottom) =
        (right.saturating_sub(thickness).max(left), bottom.saturating_sub(thickness).max(top));
    fill(picture, Area { bottom: inner_top, ..area }, colour);
    fill(picture, Area { top: inner_bottom, ..area }, colour);
    fill(picture, Area { right: inner_left, ..area }, colour);
    fill(picture, Area { left: inner_right, ..area }, colour);
}

/// Fills the pixels whose centres are no more than `radius` from the centre of pixel (`x`, `y`).
pub(super) fn fill_disc(picture: &mut RgbImage, (x, y): (u32, u32), radius: u32, colour: [u8; 3]) {
    let radius = radius.min(picture.width().max(picture.height()));
    let square = u64::from(radius) * u64::from(radius);
    for row in y.saturating_sub(radius)..=y.saturating_add(radius).min(picture.height().saturating_sub(1)) {
        for column in x.saturating_sub(radius)..=x.saturating_add(radius).min(picture.width().saturating_sub(1)) {
            let (dx, dy) = (u64::from(x.abs_diff(column)), u64::from(y.abs_diff(row)));
            if dx * dx + dy * dy <= square {
                picture.put_pixel(column, row, Rgb(colour));
            }
        }
    }
}
