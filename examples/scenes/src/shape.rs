//! Geometric shapes as sprites.

use ab_glyph_rasterizer::{Point, Rasterizer, point};
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::sprite::Sprite;

/// A geometric shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Shape {
    Circle,
    Square,
    Triangle,
    Diamond,
    Star,
    Heart,
    Cross,
    Hexagon,
}

/// How large a shape is beside its picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Size {
    Small,
    Medium,
    Large,
}

impl Size {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Small, Self::Medium, Self::Large];

    /// The word for it; nothing is said of a medium size.
    pub fn word(self) -> Option<&'static str> {
        match self {
            Self::Small => Some("small"),
            Self::Medium => None,
            Self::Large => Some("large"),
        }
    }

    /// A side as a part of the picture's shorter side. The ranges lie far enough apart to be told from each other.
    pub fn part(self, rng: &mut impl Rng) -> f32 {
        match self {
            Self::Small => rng.random_range(0.13..0.16),
            Self::Medium => rng.random_range(0.23..0.28),
            Self::Large => rng.random_range(0.38..0.46),
        }
    }
}

impl Shape {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Circle,
        Self::Square,
        Self::Triangle,
        Self::Diamond,
        Self::Star,
        Self::Heart,
        Self::Cross,
        Self::Hexagon,
    ];

    /// What one of them is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Circle => "circle",
            Self::Square => "square",
            Self::Triangle => "triangle",
            Self::Diamond => "diamond",
            Self::Star => "star",
            Self::Heart => "heart",
            Self::Cross => "cross",
            Self::Hexagon => "hexagon",
        }
    }

    /// What several of them are called.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Circle => "circles",
            Self::Square => "squares",
            Self::Triangle => "triangles",
            Self::Diamond => "diamonds",
            Self::Star => "stars",
            Self::Heart => "hearts",
            Self::Cross => "crosses",
            Self::Hexagon => "hexagons",
        }
    }

    /// Corners on a square from -1 to 1, around (0, 0).
    fn corners(self) -> Vec<Point> {
        let around = |corners: usize, turn: f32, radius: fn(usize) -> f32| -> Vec<Point> {
            let angle = |corner: usize| (corner as f32 / corners as f32 + turn) * std::f32::consts::TAU;
            (0..corners).map(|c| point(radius(c) * angle(c).cos(), radius(c) * angle(c).sin())).collect()
        };
        match self {
            Self::Circle => around(64, 0.0, |_| 1.0),
            Self::Square => vec![point(-0.9, -0.9), point(0.9, -0.9), point(0.9, 0.9), point(-0.9, 0.9)],
            Self::Triangle => vec![point(0.0, -0.95), point(1.0, 0.85), point(-1.0, 0.85)],
            Self::Diamond => vec![point(0.0, -1.0), point(0.72, 0.0), point(0.0, 1.0), point(-0.72, 0.0)],
            Self::Star => around(10, -0.25, |corner| if corner % 2 == 0 { 1.0 } else { 0.45 }),
            Self::Heart => heart(),
            Self::Cross => cross(0.33),
            Self::Hexagon => around(6, 0.0, |_| 1.0),
        }
    }

    /// Draws the shape on `side` x `side` pixels and trims it; outlined: with a hole of its own form.
    pub fn draw(self, side: u32, colour: [u8; 3], outlined: bool) -> Sprite {
        let corners = self.corners();
        let (half, radius) = (side as f32 / 2.0, side as f32 / 2.0 - 0.5);
        let mut rasterizer = Rasterizer::new(side as usize, side as usize);
        let at = |corner: Point, scale: f32, lift: f32| {
            point(half + corner.x * radius * scale, half + (corner.y * scale + lift) * radius)
        };
        for (first, second) in corners.iter().zip(corners.iter().cycle().skip(1)) {
            rasterizer.draw_line(at(*first, 1.0, 0.0), at(*second, 1.0, 0.0));
            if outlined {
                // The other way round, which makes a hole. A triangle's middle lies below that of its square.
                let (scale, lift) = match self {
                    Self::Triangle => (0.6, 0.12),
                    Self::Cross => return draw_cross_outline(side, colour),
                    _ => (0.7, 0.0),
                };
                rasterizer.draw_line(at(*second, scale, lift), at(*first, scale, lift));
            }
        }
        fill(&rasterizer, side, colour)
    }
}

/// A cross is scaled into one that leaves it; its hole has thinner arms.
fn draw_cross_outline(side: u32, colour: [u8; 3]) -> Sprite {
    let (half, radius) = (side as f32 / 2.0, side as f32 / 2.0 - 0.5);
    let mut rasterizer = Rasterizer::new(side as usize, side as usize);
    for (corners, scale, inner) in [(cross(0.36), 1.0, false), (cross(0.21), 0.84, true)] {
        for (first, second) in corners.iter().zip(corners.iter().cycle().skip(1)) {
            let at = |corner: &Point| point(half + corner.x * radius * scale, half + corner.y * radius * scale);
            let (from, to) = if inner { (at(second), at(first)) } else { (at(first), at(second)) };
            rasterizer.draw_line(from, to);
        }
    }
    fill(&rasterizer, side, colour)
}

/// Twelve corners of a cross whose arms are `2 * arm` wide.
fn cross(arm: f32) -> Vec<Point> {
    let quarter = [(arm, -1.0), (arm, -arm), (1.0, -arm)];
    (0..4)
        .flat_map(|turn| {
            quarter.map(|(x, y)| match turn {
                0 => point(x, y),
                1 => point(-y, x),
                2 => point(-x, -y),
                _ => point(y, -x),
            })
        })
        .collect()
}

/// The curve x = 16 sin³ t, y = 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t, scaled to the square.
fn heart() -> Vec<Point> {
    let on_curve = |step: u8| {
        let t = f32::from(step) / 48.0 * std::f32::consts::TAU;
        let y = 13.0 * t.cos() - 5.0 * (2.0 * t).cos() - 2.0 * (3.0 * t).cos() - (4.0 * t).cos();
        point(t.sin().powi(3), (-y - 2.5) / 15.0)
    };
    (0..48).map(on_curve).collect()
}

/// The covered part of each pixel becomes alpha.
pub(crate) fn fill(rasterizer: &Rasterizer, side: u32, colour: [u8; 3]) -> Sprite {
    let mut sprite = Sprite::clear(side, side);
    rasterizer.for_each_pixel(|index, coverage| {
        let alpha = (coverage.clamp(0.0, 1.0) * 255.0) as u32;
        let [r, g, b] = colour.map(|value| (u32::from(value) * alpha / 255) as u8);
        sprite.pixels[index] = [r, g, b, alpha as u8];
    });
    sprite.trimmed()
}
