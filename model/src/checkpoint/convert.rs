//! Between f32, bf16 and f16, and from misaligned bytes to aligned ones.

use burn_kiln::memory::TensorMemory;
use burn_std::{Bytes, bf16, f16};
use half::slice::HalfFloatSliceExt;
use kiln_kernels::memory::AlignedBytes;
use std::mem::size_of;

/// Elements that are converted at a time: 16 KiB of f32, half of a small L1 data cache.
const CHUNK: usize = 4096;

/// How weights are stored, or wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Float {
    F32,
    BF16,
    F16,
}

impl Float {
    /// Bytes of one element.
    pub(super) fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::BF16 | Self::F16 => 2,
        }
    }
}

/// A finite value that became infinite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct OutOfRange {
    /// Its place in the source.
    pub(super) index: usize,
    /// What it was.
    pub(super) value: f32,
}

/// Copies `source` (any alignment) to aligned bytes, each element converted from `from` to `to`, rounded to nearest
/// even. They are memory that Kiln packs where it lies.
///
/// The bytes are little-endian, as in the file; so is every machine that Burn runs on.
pub(super) fn convert(source: &[u8], from: Float, to: Float) -> Result<Bytes, OutOfRange> {
    let count = source.len() / from.size();
    let mut output = AlignedBytes::zeroed(count * to.size());
    let bytes = output.as_mut_slice();
    match to {
        _ if from == to => bytes.copy_from_slice(&source[..count * to.size()]),
        Float::F32 => for_each_chunk(source, from, |offset, floats| {
            bytemuck::cast_slice_mut(bytes)[offset..][..floats.len()].copy_from_slice(floats);
            Ok(())
        })?,
        Float::BF16 => narrow::<bf16>(source, from, bytemuck::cast_slice_mut(bytes), |value| value.is_infinite())?,
        Float::F16 => narrow::<f16>(source, from, bytemuck::cast_slice_mut(bytes), |value| value.is_infinite())?,
    }
    Ok(output.into_bytes())
}

/// Converts to a 16-bit format; `is_infinite` looks at the result.
fn narrow<E>(source: &[u8], from: Float, output: &mut [E], is_infinite: fn(E) -> bool) -> Result<(), OutOfRange>
where
    E: Copy,
    [E]: HalfFloatSliceExt,
{
    for_each_chunk(source, from, |offset, floats| {
        let halves = &mut output[offset..][..floats.len()];
        halves.convert_from_f32_slice(floats);
        let lost = halves.iter().zip(floats).position(|(&half, float)| is_infinite(half) && float.is_finite());
        if let Some(place) = lost {
            return Err(OutOfRange { index: offset + place, value: floats[place] });
        }
        Ok(())
    })
}

/// Calls `consume` with up to [`CHUNK`] elements of `source` at a time, as f32, and the index of the first.
fn for_each_chunk(
    source: &[u8],
    from: Float,
    mut consume: impl FnMut(usize, &[f32]) -> Result<(), OutOfRange>,
) -> Result<(), OutOfRange> {
    let mut floats = [0.0f32; CHUNK];
    let mut halves = [0u16; CHUNK];
    for (number, bytes) in source.chunks(CHUNK * from.size()).enumerate() {
        let floats = &mut floats[..bytes.len() / from.size()];
        if from == Float::F32 {
            bytemuck::cast_slice_mut(floats).copy_from_slice(bytes);
        } else {
            let halves = &mut halves[..bytes.len() / size_of::<u16>()];
            bytemuck::cast_slice_mut(halves).copy_from_slice(bytes);
            match from {
                Float::BF16 => bytemuck::cast_slice::<_, bf16>(halves).convert_to_f32_slice(floats),
                _ => bytemuck::cast_slice::<_, f16>(halves).convert_to_f32_slice(floats),
            }
        }
        consume(number * CHUNK, floats)?;
    }
    Ok(())
}
