//! Small pictures with an alpha channel, and what is done to them before they are put on a background.
//!
//! A pixel has its colour multiplied by its alpha (premultiplied), so that averages of neighbours are right at edges.

use image::{Rgb, RgbImage};

/// Alpha below this is dropped when a sprite is trimmed: a rim that nobody sees would widen the box.
const FAINTEST: u8 = 24;

/// A picture with premultiplied alpha.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sprite {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Red, green and blue times alpha, and alpha; `width * height` of them, row by row.
    pub pixels: Vec<[u8; 4]>,
}

/// How a sprite is turned when it is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Turn {
    /// Left and right are swapped.
    pub mirrored: bool,
    /// Clockwise, in radians.
    pub angle: f32,
}

impl Sprite {
    /// A sprite that is nowhere opaque.
    pub fn clear(width: u32, height: u32) -> Self {
        Self { width, height, pixels: vec![[0; 4]; width as usize * height as usize] }
    }

    /// The part of a picture with straight alpha that begins at (`x`, `y`).
    pub fn cut(picture: &image::RgbaImage, x: u32, y: u32, width: u32, height: u32) -> Self {
        let pixels = (y..y + height).flat_map(|row| (x..x + width).map(move |column| (column, row)));
        let pixels = pixels.map(|(column, row)| {
            let [r, g, b, a] = picture.get_pixel(column, row).0;
            let times = |value: u8| (u32::from(value) * u32::from(a)).div_ceil(255) as u8;
            [times(r), times(g), times(b), a]
        });
        Self { width, height, pixels: pixels.collect() }
    }

    /// The pixel at (`x`, `y`); clear outside of the sprite.
    fn get(&self, x: i32, y: i32) -> [u8; 4] {
        let inside = x >= 0 && y >= 0 && x < self.width as i32 && y < self.height as i32;
        if inside { self.pixels[y as usize * self.width as usize + x as usize] } else { [0; 4] }
    }

    /// Half as wide and high, each pixel the mean of four.
    pub fn halved(&self) -> Self {
        let (width, height) = (self.width / 2, self.height / 2);
        let mean = |x: i32, y: i32| {
            let four = [self.get(x, y), self.get(x + 1, y), self.get(x, y + 1), self.get(x + 1, y + 1)];
            std::array::from_fn(|c| (four.iter().map(|pixel| u32::from(pixel[c])).sum::<u32>() / 4) as u8)
        };
        let places = (0..height as i32).flat_map(|y| (0..width as i32).map(move |x| (2 * x, 2 * y)));
        Self { width, height, pixels: places.map(|(x, y)| mean(x, y)).collect() }
    }

    /// Drawn on `side` x `side` pixels by bilinear interpolation, turned about its middle. For sides between half and
    /// one and a half times the sprite's own; smaller ones would skip pixels, so halve first.
    pub fn resampled(&self, side: u32, turn: Turn) -> Self {
        let step = self.width as f32 / side as f32;
        let (sin, cos) = turn.angle.sin_cos();
        let (half, own) = (side as f32 / 2.0, self.width as f32 / 2.0);
        let mut pixels = Vec::with_capacity((side * side) as usize);
        for row in 0..side {
            for column in 0..side {
                let (dx, dy) = ((column as f32 + 0.5 - half) * step, (row as f32 + 0.5 - half) * step);
                let (x, y) = (cos * dx + sin * dy, cos * dy - sin * dx);
                let x = if turn.mirrored { -x } else { x };
                pixels.push(self.sample(x + own - 0.5, y + own - 0.5));
            }
        }
        Self { width: side, height: side, pixels }
    }

    /// The mean of the four pixels around a point, by their distance.
    fn sample(&self, x: f32, y: f32) -> [u8; 4] {
        let (left, top) = (x.floor(), y.floor());
        let (fx, fy) = (x - left, y - top);
        let (left, top) = (left as i32, top as i32);
        let corners = [
            (self.get(left, top), (1.0 - fx) * (1.0 - fy)),
            (self.get(left + 1, top), fx * (1.0 - fy)),
            (self.get(left, top + 1), (1.0 - fx) * fy),
            (self.get(left + 1, top + 1), fx * fy),
        ];
        std::array::from_fn(|c| (corners.iter().map(|(pixel, weight)| f32::from(pixel[c]) * weight).sum::<f32>()) as u8)
    }

    /// Without the clear rim, and without alpha that is too faint to see. Nothing is left of a clear sprite.
    pub fn trimmed(mut self) -> Self {
        for pixel in &mut self.pixels {
            if pixel[3] < FAINTEST {
                *pixel = [0; 4];
            }
        }
        let Some((x0, y0, x1, y1)) = self.alpha_bounds() else { return Self::clear(0, 0) };
        let rows = self.pixels.chunks_exact(self.width as usize).take(y1 as usize).skip(y0 as usize);
        let pixels = rows.flat_map(|row| row[x0 as usize..x1 as usize].iter().copied()).collect();
        Self { width: x1 - x0, height: y1 - y0, pixels }
    }

    /// The smallest box (left, top, right, bottom; the last two exclusive) with every pixel whose alpha is not 0.
    pub fn alpha_bounds(&self) -> Option<(u32, u32, u32, u32)> {
        let mut bounds: Option<(u32, u32, u32, u32)> = None;
        for (y, row) in (0..).zip(self.pixels.chunks_exact(self.width.max(1) as usize)) {
            for (x, _) in (0..).zip(row).filter(|(_, pixel)| pixel[3] > 0) {
                let (x0, y0, x1, y1) = bounds.unwrap_or((x, y, x, y));
                bounds = Some((x0.min(x), y0.min(y), x1.max(x + 1), y1.max(y + 1)));
            }
        }
        bounds
    }

    /// The mean colour of what is opaque.
    pub fn mean_colour(&self) -> [u8; 3] {
        let mut sums = [0u64; 4];
        for pixel in &self.pixels {
            for (sum, value) in sums.iter_mut().zip(pixel) {
                *sum += u64::from(*value);
            }
        }
        std::array::from_fn(|c| (sums[c] * 255 / sums[3].max(1)).min(255) as u8)
    }

    /// The same forms in one colour: dark parts become a dark tone of it, light ones a light tone.
    pub fn tinted(mut self, colour: [u8; 3]) -> Self {
        for pixel in &mut self.pixels {
            let alpha = f32::from(pixel[3]);
            if alpha == 0.0 {
                continue;
            }
            let luma = 0.299 * f32::from(pixel[0]) + 0.587 * f32::from(pixel[1]) + 0.114 * f32::from(pixel[2]);
            let luma = (luma / alpha).min(1.0);
            for (value, tone) in pixel.iter_mut().zip(colour.map(f32::from)) {
                let dark = tone * 0.3;
                let light = tone + (255.0 - tone) * 0.6;
                let shade = if luma < 0.5 {
                    dark + (tone - dark) * luma * 2.0
                } else {
                    tone + (light - tone) * (luma * 2.0 - 1.0)
                };
                *value = (shade * alpha / 255.0) as u8;
            }
        }
        self
    }

    /// Puts the sprite on a picture; what lies outside is left out.
    pub fn draw_on(&self, picture: &mut RgbImage, left: i32, top: i32) {
        for (y, row) in (top..).zip(self.pixels.chunks_exact(self.width.max(1) as usize)) {
            for (x, [r, g, b, a]) in (left..).zip(row.iter().copied()) {
                if a == 0 || x < 0 || y < 0 || x >= picture.width() as i32 || y >= picture.height() as i32 {
                    continue;
                }
                let Rgb(under) = *picture.get_pixel(x as u32, y as u32);
                let over = |above: u8, below: u8| {
                    (u32::from(above) + (u32::from(below) * (255 - u32::from(a)) + 127) / 255).min(255) as u8
                };
                picture.put_pixel(x as u32, y as u32, Rgb([over(r, under[0]), over(g, under[1]), over(b, under[2])]));
            }
        }
    }
}
