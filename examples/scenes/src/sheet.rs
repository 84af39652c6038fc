//! Contact sheets: pictures in a grid with boxes drawn on them and text below.

use image::{Rgb, RgbImage, imageops};

use crate::font::Font;

/// A picture of a sheet.
#[derive(Debug, Clone)]
pub struct Panel {
    /// The pictures, side by side.
    pub pictures: Vec<RgbImage>,
    /// Boxes on the first picture (left, top, right, bottom in pixels) with their colours.
    pub boxes: Vec<([i32; 4], [u8; 3])>,
    /// What is written below, each line with its colour.
    pub lines: Vec<(String, [u8; 3])>,
}

/// Width of a panel, room between panels, height of a line of text, in pixels.
const WIDTH: u32 = 300;
const GAP: u32 = 8;
const LINE: u32 = 15;
const LETTERS: f32 = 14.0;
/// Pictures are drawn with at most this height.
const HEIGHT: u32 = 224;

/// Draws panels in rows of `columns`.
pub fn draw_sheet(panels: &[Panel], columns: usize) -> RgbImage {
    let columns = columns.max(1);
    let drawn: Vec<RgbImage> = panels.iter().map(draw_panel).collect();
    let rows: Vec<&[RgbImage]> = drawn.chunks(columns).collect();
    let tallest = |row: &[RgbImage]| row.iter().map(RgbImage::height).max().unwrap_or(0);
    let height = rows.iter().map(|row| tallest(row) + GAP).sum::<u32>() + GAP;
    let width = columns as u32 * (WIDTH + GAP) + GAP;
    let mut sheet = RgbImage::from_pixel(width, height, Rgb([255; 3]));
    let mut top = GAP;
    for row in rows {
        for (column, panel) in (0..).zip(row) {
            imageops::replace(&mut sheet, panel, i64::from(GAP + column * (WIDTH + GAP)), i64::from(top));
        }
        top += tallest(row) + GAP;
    }
    sheet
}

fn draw_panel(panel: &Panel) -> RgbImage {
    let lines: Vec<(String, [u8; 3])> =
        panel.lines.iter().flat_map(|(text, colour)| wrap(text).into_iter().map(|line| (line, *colour))).collect();
    let total: u32 = panel.pictures.iter().map(|picture| picture.width() + 2).sum::<u32>().max(1);
    // Several frames are shrunk to the panel's width.
    let scale = (f64::from(WIDTH) / f64::from(total)).min(1.0);
    let sized = |side: u32| ((f64::from(side) * scale) as u32).max(1);
    let tall = panel.pictures.iter().map(|picture| sized(picture.height())).max().unwrap_or(0).min(HEIGHT);
    let mut drawn = RgbImage::from_pixel(WIDTH, tall + 4 + lines.len() as u32 * LINE, Rgb([236; 3]));
    let mut left = 0;
    for (number, picture) in panel.pictures.iter().enumerate() {
        let mut picture = picture.clone();
        for (bounds, colour) in panel.boxes.iter().filter(|_| number == 0) {
            frame(&mut picture, *bounds, *colour);
        }
        if scale < 1.0 {
            let (width, height) = (sized(picture.width()), sized(picture.height()));
            picture = imageops::resize(&picture, width, height, imageops::FilterType::Triangle);
        }
        imageops::replace(&mut drawn, &picture, left, 0);
        left += i64::from(picture.width()) + 2;
    }
    let font = Font::embedded().iter().find(|font| font.name == "roboto-mono").unwrap_or(&Font::embedded()[0]);
    for (number, (line, colour)) in (0..).zip(&lines) {
        font.write_line(line, LETTERS, *colour).draw_on(&mut drawn, 2, (tall + 2 + number * LINE) as i32);
    }
    drawn
}

/// A line of one pixel around a box.
fn frame(picture: &mut RgbImage, [left, top, right, bottom]: [i32; 4], colour: [u8; 3]) {
    let mut put = |x: i32, y: i32| {
        if x >= 0 && y >= 0 && x < picture.width() as i32 && y < picture.height() as i32 {
            picture.put_pixel(x as u32, y as u32, Rgb(colour));
        }
    };
    for x in left - 1..=right {
        put(x, top - 1);
        put(x, bottom);
    }
    for y in top - 1..=bottom {
        put(left - 1, y);
        put(right, y);
    }
}

/// Lines of at most so many letters as a panel is wide.
fn wrap(text: &str) -> Vec<String> {
    let most = 45;
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is a line");
        if !line.is_empty() && line.len() + 1 + word.len() > most {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}
