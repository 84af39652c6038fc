//! The picture that frames are put on: red, green, blue and alpha, 8 bits each, not multiplied by alpha.

use image::{Rgba, RgbaImage};

/// A rectangle of a canvas, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Area {
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
}

impl Area {
    /// Whether it has pixels, and none outside of a canvas of this size.
    pub fn fits(&self, width: u32, height: u32) -> bool {
        let inside = |start: u32, length: u32, bound: u32| {
            length > 0 && start.checked_add(length).is_some_and(|end| end <= bound)
        };
        inside(self.x, self.width, width) && inside(self.y, self.height, height)
    }

    /// The part of it that lies in a canvas of this size.
    pub fn clip(&self, width: u32, height: u32) -> Self {
        let (x, y) = (self.x.min(width), self.y.min(height));
        Self { x, y, width: self.width.min(width - x), height: self.height.min(height - y) }
    }

    /// Whether it is a whole canvas of this size.
    pub fn covers(&self, width: u32, height: u32) -> bool {
        *self == Self { x: 0, y: 0, width, height }
    }

    /// Whether a pixel lies in it.
    pub fn contains(&self, x: u32, y: u32) -> bool {
        (self.x..self.x + self.width).contains(&x) && (self.y..self.y + self.height).contains(&y)
    }
}

/// Black without opacity.
pub(super) const TRANSPARENT: [u8; 4] = [0; 4];

/// Gives every pixel of an area one value.
pub(super) fn fill(canvas: &mut RgbaImage, area: Area, value: [u8; 4]) {
    for y in area.y..area.y + area.height {
        for x in area.x..area.x + area.width {
            canvas.put_pixel(x, y, Rgba(value));
        }
    }
}

/// Sets each pixel of `area` to `mix(x, y, frame's pixel, canvas' pixel)`; `frame` has the size of the area. Pixels
/// outside of the canvas are passed over.
pub(super) fn place(
    canvas: &mut RgbaImage,
    frame: &RgbaImage,
    area: Area,
    mix: impl Fn(u32, u32, [u8; 4], [u8; 4]) -> [u8; 4],
) {
    for (x, y, pixel) in frame.enumerate_pixels() {
        let (x, y) = (area.x + x, area.y + y);
        if let Some(target) = canvas.get_pixel_mut_checked(x, y) {
            target.0 = mix(x, y, pixel.0, target.0);
        }
    }
}

/// Alpha blending as libwebp does it, for colours that are not multiplied by alpha:
///
/// ```text
/// d = floor(under.a * (256 - over.a) / 256)
/// a = over.a + d
/// c = floor(floor(2^24 / a) * (over.c over.a + under.c d) / 2^24)
/// ```
///
/// An opaque pixel stays as it is, and so does what lies under one that is wholly transparent. Source: libwebp,
/// `src/demux/anim_decode.c`.
pub(super) fn blend_webp(over: [u8; 4], under: [u8; 4]) -> [u8; 4] {
    let alpha = u32::from(over[3]);
    match alpha {
        255 => over,
        0 => under,
        _ => {
            let rest = (u32::from(under[3]) * (256 - alpha)) >> 8;
            let sum = alpha + rest;
            let scale = u64::from((1 << 24) / sum);
            let mix = |c: usize| {
                let unscaled = u32::from(over[c]) * alpha + u32::from(under[c]) * rest;
                ((u64::from(unscaled) * scale) >> 24) as u8
            };
            [mix(0), mix(1), mix(2), sum as u8]
        }
    }
}

/// Alpha blending as the PNG specification has it ("over"), rounded to the nearest level:
///
/// ```text
/// a = over.a + under.a (1 - over.a)        c = (over.c over.a + under.c under.a (1 - over.a)) / a        a in 0..1
/// ```
///
/// Source: PNG specification, third edition, section 13.16, and `blend_op` of section 11.3.6.2.
pub(super) fn blend_png(over: [u8; 4], under: [u8; 4]) -> [u8; 4] {
    let (alpha, below) = (u32::from(over[3]), u32::from(under[3]));
    if alpha == 255 || below == 0 {
        return over;
    }
    if alpha == 0 {
        return under;
    }
    let (mine, its) = (alpha * 255, (255 - alpha) * below);
    let sum = mine + its;
    let mix = |c: usize| ((u32::from(over[c]) * mine + u32::from(under[c]) * its + sum / 2) / sum) as u8;
    [mix(0), mix(1), mix(2), ((sum + 127) / 255) as u8]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Over every pair of alphas: at most half a level from the formula in f64.
    #[test]
    fn png_blending_is_the_formula_rounded() {
        for alpha in 0..=255u8 {
            for below in (0..=255u8).step_by(5) {
                let (over, under) = ([200, 0, 255, alpha], [10, 255, 254, below]);
                let found = blend_png(over, under);
                let (a, b) = (f64::from(alpha) / 255.0, f64::from(below) / 255.0);
                let sum = a + b * (1.0 - a);
                assert!((f64::from(found[3]) - sum * 255.0).abs() <= 0.5 + 1e-9, "{alpha} over {below}");
                for c in 0..3 {
                    let exact = (f64::from(over[c]) * a + f64::from(under[c]) * b * (1.0 - a)) / sum;
                    let close = sum == 0.0 || (f64::from(found[c]) - exact).abs() <= 0.5 + 1e-9;
                    assert!(close, "{alpha} over {below}: {} for {exact}", found[c]);
                }
            }
        }
    }

    #[test]
    fn webp_blending_keeps_what_is_opaque() {
        assert_eq!(blend_webp([9, 8, 7, 255], [1, 2, 3, 255]), [9, 8, 7, 255]);
        assert_eq!(blend_webp([9, 8, 7, 0], [1, 2, 3, 4]), [1, 2, 3, 4]);
        // (128 * 200 + 127 * 100) * floor(2^24 / 255) / 2^24 = 150.19..; the alpha of 255 * 128 / 256 = 127 is added.
        assert_eq!(blend_webp([200, 200, 200, 128], [100, 100, 100, 255]), [150, 150, 150, 255]);
    }

    #[test]
    fn areas_stay_inside() {
        let area = |x, y, width, height| Area { x, y, width, height };
        assert!(area(2, 3, 4, 5).fits(6, 8) && !area(2, 3, 5, 5).fits(6, 8) && !area(2, 3, 4, 6).fits(6, 8));
        assert!(!area(0, 0, 0, 1).fits(6, 8) && !area(u32::MAX, 0, 2, 1).fits(6, 8));
        assert!(area(0, 0, 6, 8).covers(6, 8) && !area(0, 1, 6, 7).covers(6, 8));
        assert!(area(2, 3, 4, 5).contains(5, 7) && !area(2, 3, 4, 5).contains(6, 7));
    }
}
