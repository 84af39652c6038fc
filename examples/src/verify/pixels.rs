//! Pixels compared: 8-bit levels, of which two resamplers may round some differently.

use super::{Row, Verdict};
use qwen3_vl_burn::processor::ProcessedImages;

/// One 8-bit level of a pixel after `(x/255 - 0.5) / 0.5`, and the rounding of that.
const PIXEL_LEVEL: f64 = 1.0 / 127.5 + 1e-6;
/// The part of the pixels that must be equal (to f32 rounding), the others within a level.
const EQUAL_PIXELS: f64 = 0.99;

/// Compares pictures or videos with what HF's processor makes of them; grids must be equal.
pub(super) fn compare_pixels(case: &str, stage: &str, found: &ProcessedImages, expected: &ProcessedImages) -> Row {
    let row = |found: String, allowed: String, pass: bool| Row {
        case: case.to_owned(),
        stage: stage.to_owned(),
        found,
        allowed,
        verdict: if pass { Verdict::Pass } else { Verdict::Fail },
    };
    if found.grids != expected.grids || found.pixel_values.len() != expected.pixel_values.len() {
        return row(format!("{:?}", found.grids), format!("{:?}", expected.grids), false);
    }
    let errors = || {
        let pairs = found.pixel_values.iter().zip(&expected.pixel_values);
        pairs.map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs())
    };
    let largest = errors().fold(0.0, f64::max);
    let equal = errors().filter(|&error| error <= 1e-6).count() as f64 / found.pixel_values.len().max(1) as f64;
    let text = format!("{largest:.2e}, {:.2}% equal", equal * 100.0);
    let allowed = format!("{PIXEL_LEVEL:.2e}, {:.0}% equal", EQUAL_PIXELS * 100.0);
    row(text, allowed, largest <= PIXEL_LEVEL && equal >= EQUAL_PIXELS)
}
