//! FP8 weights into f32, bf16 or f16.
//!
//! e4m3fn has a sign, four exponent bits with bias 7 and three fraction bits: `±2^(e-7) · (1 + f/8)`, or `±2^-6 · f/8`
//! where `e = 0`. There is no infinity; exponent and fraction all ones is NaN, so the largest value is 448. Source:
//! "FP8 Formats for Deep Learning" (Micikevicius and others, 2022), table 1.
//!
//! ```text
//! for each row of each matrix, in parallel:
//!     for each block of columns that has one scale:
//!         out = round(VALUES[code] * scale)          the product in f32
//! ```

use super::convert::{Float, OutOfRange};
use super::scales::Scales;
use burn_kiln::memory::TensorMemory;
use burn_std::{Bytes, bf16, f16};
use kiln_kernels::memory::AlignedBytes;
use rayon::prelude::*;

/// The value of each code.
static VALUES: [f32; 256] = decode_all();

const fn decode_all() -> [f32; 256] {
    let mut values = [0.0; 256];
    let mut code = 0;
    while code < 256 {
        values[code] = decode(code as u32);
        code += 1;
    }
    values
}

/// The f32 that e4m3fn writes as `code`: every one is exact.
const fn decode(code: u32) -> f32 {
    const F32_BIAS: u32 = 127;
    const BIAS: u32 = 7;
    let (sign, exponent, fraction) = (code >> 7, (code >> 3) & 15, code & 7);
    let magnitude = if exponent == 15 && fraction == 7 {
        f32::NAN
    } else if exponent == 0 {
        // 2^-6 · f/8.
        fraction as f32 * (1.0 / 512.0)
    } else {
        f32::from_bits(((exponent + F32_BIAS - BIAS) << 23) | (fraction << 20))
    };
    if sign == 1 { -magnitude } else { magnitude }
}

/// Which flat row of a weight the `i`-th row at hand is.
pub(super) type RowOf<'a> = &'a (dyn Fn(usize) -> usize + Sync);

/// The weights `source`, one byte each, times their `scales`, in the type `to`; `source` has the rows `row_of(0)`,
/// `row_of(1)` and so on.
pub(super) fn dequantize(source: &[u8], scales: &Scales, row_of: RowOf<'_>, to: Float) -> Result<Bytes, OutOfRange> {
    match to {
        Float::F32 => fill::<f32>(source, scales, row_of, |value| value, f32::is_infinite),
        Float::BF16 => fill::<bf16>(source, scales, row_of, bf16::from_f32, bf16::is_infinite),
        Float::F16 => fill::<f16>(source, scales, row_of, f16::from_f32, f16::is_infinite),
    }
}

/// Dequantises row by row. No input is infinite, so an infinite result is a loss.
fn fill<E: bytemuck::Pod + Send + Sync>(
    source: &[u8],
    scales: &Scales,
    row_of: RowOf<'_>,
    round: impl Fn(f32) -> E + Sync,
    is_infinite: impl Fn(E) -> bool + Sync,
) -> Result<Bytes, OutOfRange> {
    let mut memory = AlignedBytes::zeroed(size_of_val(source) * size_of::<E>());
    let output: &mut [E] = bytemuck::cast_slice_mut(memory.as_mut_slice());
    let columns = scales.columns();
    let lost = output
        .par_chunks_mut(columns)
        .zip(source.par_chunks(columns))
        .enumerate()
        .filter_map(|(row, (output, source))| {
            let row_scales = scales.row(row_of(row));
            let blocks = output.chunks_mut(scales.block_columns()).zip(source.chunks(scales.block_columns()));
            let mut lost = false;
            for ((output, source), &scale) in blocks.zip(row_scales) {
                for (output, &code) in output.iter_mut().zip(source) {
                    *output = round(VALUES[usize::from(code)] * scale);
                    lost |= is_infinite(*output);
                }
            }
            lost.then_some(row)
        })
        .min();
    let Some(row) = lost else { return Ok(memory.into_bytes()) };
    let start = row * columns;
    let place = output[start..][..columns].iter().position(|&value| is_infinite(value)).unwrap_or(0);
    let scale = scales.row(row_of(row))[place / scales.block_columns()];
    Err(OutOfRange { index: start + place, value: VALUES[usize::from(source[start + place])] * scale })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table by its definition, in f64.
    #[test]
    fn every_code_has_its_value() {
        for (code, &found) in VALUES.iter().enumerate() {
            let (exponent, fraction) = ((code >> 3) & 15, (code & 7) as f64 / 8.0);
            let magnitude = match (exponent, code & 7) {
                (15, 7) => f64::NAN,
                (0, _) => 2f64.powi(-6) * fraction,
                _ => 2f64.powi(exponent as i32 - 7) * (1.0 + fraction),
            };
            let expected = if code >= 128 { -magnitude } else { magnitude };
            let found = f64::from(found);
            assert!(found == expected || (found.is_nan() && expected.is_nan()), "{code:#x}: {found} {expected}");
            assert_eq!(found.is_sign_negative(), code >= 128, "{code:#x}");
        }
        // By hand: largest, smallest, one.
        assert_eq!([VALUES[0x7e], VALUES[0x01], VALUES[0x38], VALUES[0xfe]], [448.0, 2f32.powi(-9), 1.0, -448.0]);
    }
}
