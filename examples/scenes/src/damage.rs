//! What happens to pictures: greying, grain, and compression that loses detail.

use image::codecs::jpeg::JpegEncoder;
use image::{ImageFormat, RgbImage};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Damage to a picture.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Damage {
    /// The picture has no hues.
    pub grey: bool,
    /// Grain: each value moves by at most this much.
    pub grain: u8,
    /// The picture went through a JPEG file of this quality.
    pub jpeg: Option<u8>,
    seed: u64,
}

impl Damage {
    /// With probability `chance` each: grey, grain, JPEG.
    pub fn draw(rng: &mut impl Rng, chance: f64) -> Self {
        Self {
            grey: rng.random_bool(chance * 0.5),
            grain: if rng.random_bool(chance) { rng.random_range(4..=20) } else { 0 },
            jpeg: rng.random_bool(chance).then(|| rng.random_range(25..=75)),
            seed: rng.random(),
        }
    }

    /// The damaged picture.
    pub fn apply(&self, mut picture: RgbImage) -> RgbImage {
        if self.grey {
            for pixel in picture.pixels_mut() {
                let [r, g, b] = pixel.0.map(u32::from);
                pixel.0 = [((299 * r + 587 * g + 114 * b) / 1000) as u8; 3];
            }
        }
        if self.grain > 0 {
            let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
            let reach = i32::from(self.grain);
            for pixel in picture.pixels_mut() {
                let [r, g, b, _] = rng.random::<u32>().to_le_bytes();
                // A grey picture stays grey.
                let moves = if self.grey { [r; 3] } else { [r, g, b] };
                for (value, random) in pixel.0.iter_mut().zip(moves) {
                    let moved = i32::from(*value) + ((i32::from(random) * (2 * reach + 1)) >> 8) - reach;
                    *value = moved.clamp(0, 255) as u8;
                }
            }
        }
        match self.jpeg {
            Some(quality) => compress(&picture, quality),
            None => picture,
        }
    }
}

/// The picture as it comes back from a JPEG file.
fn compress(picture: &RgbImage, quality: u8) -> RgbImage {
    let mut file = Vec::new();
    JpegEncoder::new_with_quality(&mut file, quality).encode_image(picture).expect("memory takes any picture");
    image::load_from_memory_with_format(&file, ImageFormat::Jpeg).expect("it was just encoded").into_rgb8()
}
