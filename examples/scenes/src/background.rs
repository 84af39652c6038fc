//! What lies behind the things: one colour, gradients, noise and simple patterns.

use image::{Rgb, RgbImage};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::colour::distance;

/// How a background's two colours are mixed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Pattern {
    /// The first colour alone.
    Plain,
    /// From one to the other along a direction (x, y).
    Linear(f32, f32),
    /// From the middle outwards.
    Radial,
    /// Bands of this width along a direction (x, y).
    Stripes(f32, f32, f32),
    /// Squares of this side.
    Checks(u32),
    /// Small dots, this far apart.
    Dots(u32),
    /// Random grains.
    Noise,
}

/// A background.
#[derive(Debug, Clone, PartialEq)]
pub struct Background {
    pattern: Pattern,
    colours: [[u8; 3]; 2],
    seed: u64,
}

/// Patterns have colours that are no further apart: their parts must not be taken for things.
const FAINT: i32 = 26;

impl Background {
    /// A random one; `grey`: without hues.
    pub fn draw(rng: &mut impl Rng, grey: bool) -> Self {
        let mut tone = |low: i32, high: i32| -> [u8; 3] {
            if grey {
                [rng.random_range(low..=high) as u8; 3]
            } else {
                std::array::from_fn(|_| rng.random_range(low..=high) as u8)
            }
        };
        let first = match tone(0, 9)[0] {
            0..4 => tone(205, 255),
            4..6 => [255; 3],
            6 => tone(0, 60),
            _ => tone(20, 235),
        };
        let far = tone(0, 255);
        let pattern = match rng.random_range(0..20) {
            0..8 => Pattern::Plain,
            8..11 => {
                let angle = rng.random_range(0.0..std::f32::consts::TAU);
                Pattern::Linear(angle.cos(), angle.sin())
            }
            11 | 12 => Pattern::Radial,
            13 | 14 => {
                let angle = rng.random_range(0..4) as f32 * std::f32::consts::FRAC_PI_4;
                Pattern::Stripes(angle.cos(), angle.sin(), rng.random_range(4.0..14.0))
            }
            15 => Pattern::Checks(rng.random_range(5..=14)),
            16 => Pattern::Dots(rng.random_range(6..=12)),
            _ => Pattern::Noise,
        };
        let second = match pattern {
            Pattern::Linear(..) | Pattern::Radial => {
                std::array::from_fn(|c| ((u32::from(first[c]) + u32::from(far[c])) / 2) as u8)
            }
            _ => {
                let step = rng.random_range(10..=FAINT) * if rng.random() { 1 } else { -1 };
                first.map(|value| (i32::from(value) + step).clamp(0, 255) as u8)
            }
        };
        Self { pattern, colours: [first, second], seed: rng.random() }
    }

    /// How far a colour is from those of the background, at least.
    pub fn contrast(&self, colour: [u8; 3]) -> u32 {
        let [first, second] = self.colours;
        let middle = std::array::from_fn(|c| ((u32::from(first[c]) + u32::from(second[c])) / 2) as u8);
        [first, middle, second].map(|own| distance(own, colour)).into_iter().min().expect("three of them")
    }

    /// A picture of it.
    pub fn paint(&self, width: u32, height: u32) -> RgbImage {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let [first, second] = self.colours;
        let mix = |share: f32| {
            Rgb(std::array::from_fn(|c| {
                (f32::from(first[c]) + (f32::from(second[c]) - f32::from(first[c])) * share + 0.5) as u8
            }))
        };
        let of = |second_one: bool| Rgb(if second_one { second } else { first });
        let (w, h) = (width as f32, height as f32);
        match self.pattern {
            Pattern::Plain => RgbImage::from_pixel(width, height, Rgb(first)),
            Pattern::Linear(dx, dy) => {
                let reach = (dx * w).abs() + (dy * h).abs();
                RgbImage::from_fn(width, height, |x, y| {
                    mix((0.5 + ((x as f32 - w / 2.0) * dx + (y as f32 - h / 2.0) * dy) / reach).clamp(0.0, 1.0))
                })
            }
            Pattern::Radial => RgbImage::from_fn(width, height, |x, y| {
                let (dx, dy) = (x as f32 / w - 0.5, y as f32 / h - 0.5);
                mix((2.0 * (dx * dx + dy * dy)).sqrt().min(1.0))
            }),
            Pattern::Stripes(dx, dy, wide) => RgbImage::from_fn(width, height, |x, y| {
                of((x as f32 * dx + y as f32 * dy).rem_euclid(2.0 * wide) >= wide)
            }),
            Pattern::Checks(side) => RgbImage::from_fn(width, height, |x, y| of((x / side + y / side) % 2 == 1)),
            Pattern::Dots(apart) => RgbImage::from_fn(width, height, |x, y| of(x % apart < 2 && y % apart < 2)),
            Pattern::Noise => RgbImage::from_fn(width, height, |_, _| mix(f32::from(rng.random::<u8>()) / 255.0)),
        }
    }
}
