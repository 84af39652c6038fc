//! The size that a picture is resampled to.
//!
//! Both sides become multiples of `factor = patch_size * merge_size` (so that the picture consists of whole merge
//! blocks), the number of pixels comes within limits, and the aspect ratio is kept as well as that allows:
//!
//! ```text
//! h', w' = round(h / factor) * factor, round(w / factor) * factor        ties to even, as Python's round
//! h' w' > max:  b = sqrt(h w / max);  h', w' = max(factor, floor(h / b / factor) * factor), ..
//! h' w' < min:  b = sqrt(min / (h w)); h', w' = ceil(h b / factor) * factor, ..
//! ```
//!
//! For a video the same holds with the pixels of all frames. Source: `smart_resize` of HF transformers' Qwen2-VL image
//! processor and Qwen3-VL video processor.

use super::{ImageError, PreprocessorConfig};

/// The longer side may be this many times the shorter one.
pub const MAX_ASPECT_RATIO: f64 = 200.0;

/// Chooses the size that a picture of `height` x `width` pixels is resampled to; returns `(height, width)`.
///
/// `factor` is the side of a merge block in pixels; `min_pixels` and `max_pixels` bound `height * width` of the result.
/// A picture so thin that its limits contradict each other gets one block across and may exceed `max_pixels`.
///
/// # Errors
/// [`ImageError::Empty`] for a side of zero, [`ImageError::AspectRatio`] above [`MAX_ASPECT_RATIO`],
/// [`ImageError::Setting`] for a `factor` or `min_pixels` of zero.
pub fn smart_resize(
    height: usize,
    width: usize,
    factor: usize,
    min_pixels: usize,
    max_pixels: usize,
) -> Result<(usize, usize), ImageError> {
    check(height, width, factor, min_pixels)?;
    Ok(Limits { frames: 1.0, rounded_frames: 1.0, factor, min_pixels, max_pixels }.fit(height, width))
}

/// Chooses the size that each of `frames` video frames is resampled to; returns `(height, width)`.
///
/// The limits bound `frames * height * width`, with `frames` rounded to a multiple of `temporal` (ties to even) where
/// the result is tested and as it is where the scale is computed. Frames smaller than one block are first scaled up to
/// it. A single frame counts as a whole temporal patch.
///
/// # Errors
/// As [`smart_resize`]; [`ImageError::NoFrames`] for no frames.
pub fn smart_resize_video(
    frames: usize,
    height: usize,
    width: usize,
    temporal: usize,
    factor: usize,
    limits: (usize, usize),
) -> Result<(usize, usize), ImageError> {
    if frames == 0 {
        return Err(ImageError::NoFrames);
    }
    check(height, width, factor, limits.0)?;
    let (mut height, mut width) = (height, width);
    if height < factor || width < factor {
        let scale = (factor as f64 / height as f64).max(factor as f64 / width as f64);
        height = (height as f64 * scale) as usize;
        width = (width as f64 * scale) as usize;
    }
    let frames = frames.max(temporal) as f64;
    let rounded_frames = (frames / temporal as f64).round_ties_even() * temporal as f64;
    Ok(Limits { frames, rounded_frames, factor, min_pixels: limits.0, max_pixels: limits.1 }.fit(height, width))
}

fn check(height: usize, width: usize, factor: usize, min_pixels: usize) -> Result<(), ImageError> {
    for (name, value) in [("patch_size", factor), ("shortest_edge", min_pixels)] {
        if value == 0 {
            return Err(ImageError::Setting { name, value: value.to_string(), expected: "a positive number" });
        }
    }
    if height == 0 || width == 0 {
        return Err(ImageError::Empty { height, width });
    }
    let ratio = height.max(width) as f64 / height.min(width) as f64;
    if ratio > MAX_ASPECT_RATIO {
        return Err(ImageError::AspectRatio { height, width, ratio, max: MAX_ASPECT_RATIO });
    }
    Ok(())
}

/// Chooses the size, `(height, width)`, that a checkpoint's settings give to a picture.
///
/// # Errors
/// As [`smart_resize`]; [`ImageError::NotDivisible`] when resizing is off.
pub(super) fn choose_size(
    config: &PreprocessorConfig,
    height: usize,
    width: usize,
) -> Result<(usize, usize), ImageError> {
    if config.do_resize {
        smart_resize(height, width, config.factor(), config.min_pixels, config.max_pixels)
    } else {
        require_blocks((height, width), config.factor())
    }
}

/// Checks the size of a picture that is not resampled: whole merge blocks; returns it.
///
/// # Errors
/// [`ImageError::Empty`], [`ImageError::NotDivisible`].
pub(super) fn require_blocks(size: (usize, usize), factor: usize) -> Result<(usize, usize), ImageError> {
    let (height, width) = size;
    if height == 0 || width == 0 {
        return Err(ImageError::Empty { height, width });
    }
    if !height.is_multiple_of(factor) || !width.is_multiple_of(factor) {
        return Err(ImageError::NotDivisible { height, width, factor });
    }
    Ok(size)
}

/// Bounds on the pixels of all frames together.
struct Limits {
    /// Frames, for the scale.
    frames: f64,
    /// Frames rounded to whole temporal patches, for the test.
    rounded_frames: f64,
    factor: usize,
    min_pixels: usize,
    max_pixels: usize,
}

impl Limits {
    fn fit(&self, height: usize, width: usize) -> (usize, usize) {
        let factor = self.factor as f64;
        let (h, w) = (height as f64, width as f64);
        let round = |side: f64| (side / factor).round_ties_even() * factor;
        // A picture is at most 2^16 pixels a side and a limit below 2^53, so every product is exact in f64.
        let pixels = self.rounded_frames * round(h) * round(w);
        let (h, w) = if pixels > self.max_pixels as f64 {
            let beta = (self.frames * h * w / self.max_pixels as f64).sqrt();
            let shrink = |side: f64| factor.max((side / beta / factor).floor() * factor);
            (shrink(h), shrink(w))
        } else if pixels < self.min_pixels as f64 {
            let beta = (self.min_pixels as f64 / (self.frames * h * w)).sqrt();
            let grow = |side: f64| (side * beta / factor).ceil() * factor;
            (grow(h), grow(w))
        } else {
            (round(h), round(w))
        };
        (h as usize, w as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `(frames, height, width, min, max) -> (height, width)`; frames 0 is a picture. Computed with Python's `round`,
    /// `floor`, `ceil` and `sqrt` by `tests/fixtures/processor/sizes.py`.
    #[test]
    fn sizes_equal_the_reference() {
        let table = include_str!("../../tests/fixtures/processor/sizes.csv");
        let mut rows = 0;
        for line in table.lines().skip(1) {
            let n: Vec<usize> = line.split(',').map(|field| field.parse().unwrap()).collect();
            let found = match n[0] {
                0 => smart_resize(n[1], n[2], 32, n[3], n[4]),
                frames => smart_resize_video(frames, n[1], n[2], 2, 32, (n[3], n[4])),
            };
            assert_eq!(found.unwrap(), (n[5], n[6]), "{line}");
            rows += 1;
        }
        assert!(rows > 500, "{rows}");
    }

    #[test]
    fn ties_go_to_even() {
        // 48 / 32 = 1.5 -> 2 and 80 / 32 = 2.5 -> 2, where rounding away from zero gives 3.
        assert_eq!(smart_resize(48, 80, 32, 1, 1 << 24).unwrap(), (64, 64));
    }

    #[test]
    fn refuses_thin_and_empty_pictures() {
        assert!(
            matches!(smart_resize(1, 201, 32, 4096, 65536), Err(ImageError::AspectRatio { ratio, .. }) if ratio == 201.0)
        );
        assert!(smart_resize(1, 200, 32, 4096, 65536).is_ok());
        assert!(matches!(smart_resize(0, 5, 32, 4096, 65536), Err(ImageError::Empty { height: 0, width: 5 })));
        assert!(matches!(smart_resize(5, 5, 0, 4096, 65536), Err(ImageError::Setting { .. })));
        assert!(matches!(smart_resize_video(0, 5, 5, 2, 32, (1, 9)), Err(ImageError::NoFrames)));
    }
}
