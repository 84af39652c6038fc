//! Things that have no name: blobs and scribbles.

use ab_glyph_rasterizer::{Point, Rasterizer, point};
use rand::Rng;

use crate::shape::fill;
use crate::sprite::Sprite;

/// A random one on `side` x `side` pixels; `grey`: without hues.
pub fn draw(rng: &mut impl Rng, side: u32, grey: bool) -> Sprite {
    let colour = |rng: &mut dyn FnMut() -> u8| -> [u8; 3] {
        let first = rng();
        if grey { [first; 3] } else { [first, rng(), rng()] }
    };
    let first = colour(&mut || rng.random());
    if rng.random_bool(0.6) {
        let second = colour(&mut || rng.random());
        let mut blob = draw_blob(rng, side, first);
        // A second colour in waves, as no shape here has.
        let (dx, dy, phase) = (rng.random_range(-0.5..0.5), rng.random_range(-0.5..0.5), rng.random_range(0.0..6.0));
        for (index, pixel) in blob.pixels.iter_mut().enumerate() {
            let (x, y) = (index as u32 % blob.width, index as u32 / blob.width);
            if f32::sin(x as f32 * dx + y as f32 * dy + phase) > 0.2 {
                let alpha = u32::from(pixel[3]);
                for (value, other) in pixel.iter_mut().zip(second) {
                    *value = (u32::from(other) * alpha / 255) as u8;
                }
            }
        }
        blob
    } else {
        draw_scribble(rng, side, first)
    }
}

/// A closed curve whose distance from its middle wanders: 1 + Σ aₖ cos(kt + φₖ), k = 2 to 5.
fn draw_blob(rng: &mut impl Rng, side: u32, colour: [u8; 3]) -> Sprite {
    let waves: Vec<(f32, f32)> =
        (2..=5).map(|_| (rng.random_range(0.08..0.3), rng.random_range(0.0..std::f32::consts::TAU))).collect();
    let radius =
        |t: f32| 1.0 + (2..).zip(&waves).map(|(k, (size, phase))| size * (k as f32 * t + phase).cos()).sum::<f32>();
    let steps: Vec<f32> = (0..72).map(|step| step as f32 / 72.0 * std::f32::consts::TAU).collect();
    let largest = steps.iter().map(|t| radius(*t)).fold(0.0, f32::max);
    let half = side as f32 / 2.0;
    let corner = |t: &f32| {
        let r = radius(*t).max(0.05) / largest * (half - 0.5);
        point(half + r * t.cos(), half + r * t.sin())
    };
    let corners: Vec<Point> = steps.iter().map(corner).collect();
    let mut rasterizer = Rasterizer::new(side as usize, side as usize);
    for (first, second) in corners.iter().zip(corners.iter().cycle().skip(1)) {
        rasterizer.draw_line(*first, *second);
    }
    fill(&rasterizer, side, colour)
}

/// A line through random points, as thick as a pen.
fn draw_scribble(rng: &mut impl Rng, side: u32, colour: [u8; 3]) -> Sprite {
    let pen = (side as f32 * 0.045).max(1.2);
    let inside = pen + 1.0..side as f32 - pen - 1.0;
    let points: Vec<Point> = (0..rng.random_range(6..=11))
        .map(|_| point(rng.random_range(inside.clone()), rng.random_range(inside.clone())))
        .collect();
    let mut sprite = Sprite::clear(side, side);
    for pair in points.windows(2) {
        let (dx, dy) = (pair[1].x - pair[0].x, pair[1].y - pair[0].y);
        let steps = (dx.hypot(dy) / (pen * 0.4)).ceil().max(1.0);
        for step in 0..=steps as u32 {
            let share = step as f32 / steps;
            let (x, y) = (pair[0].x + dx * share, pair[0].y + dy * share);
            for row in (y - pen) as u32..=((y + pen) as u32).min(side - 1) {
                for column in (x - pen) as u32..=((x + pen) as u32).min(side - 1) {
                    if (column as f32 + 0.5 - x).hypot(row as f32 + 0.5 - y) <= pen {
                        let [r, g, b] = colour;
                        sprite.pixels[(row * side + column) as usize] = [r, g, b, 255];
                    }
                }
            }
        }
    }
    sprite.trimmed()
}
