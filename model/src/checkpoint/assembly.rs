//! Experts that are stored in another layout than released checkpoints have, put together when they are loaded.
//!
//! The model has `[expert, in, out]`, gate and up beside each other. A source is one tensor for all experts or one for
//! each, stored in that order or as linear layers are, `[out, in]`:
//!
//! ```text
//! for each expert, in parallel:
//!     for each of its sources:
//!         part = its bytes, converted (FP8 is dequantised)        [rows, columns] or, transposed, [columns, rows]
//!         array[expert][0..rows][column..column + columns] = part, or its transpose
//! ```
//!
//! Values are those of the sources, bit for bit: only their places change.

use super::convert::{Float, convert};
use super::fp8::dequantize;
use super::load::{out_of_range, to_float};
use super::scales::Scales;
use super::stored::StoredBytes;
use super::{Checkpoint, CheckpointError, MisshapedTensor};
use crate::Result;
use burn::tensor::{DType, TensorData};
use burn_kiln::memory::TensorMemory;
use kiln_kernels::memory::AlignedBytes;
use rayon::prelude::*;
use safetensors::Dtype;

/// Side of the squares that are transposed at a time: 64 rows of f32 are 64 lines of a first-level cache.
const TILE: usize = 64;

/// An array of all experts of a layer, and what it is made of.
#[derive(Debug, Clone)]
pub(super) struct Assembly {
    /// `[experts, in, out]`.
    pub(super) shape: [usize; 3],
    pub(super) sources: Vec<Source>,
    /// Sources that are not there.
    pub(super) missing: Vec<String>,
    /// Sources of no shape that they can have.
    pub(super) misshaped: Vec<MisshapedTensor>,
}

/// A tensor that holds a part of an array.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// Its name, as the checkpoint's table has it.
    pub(super) name: String,
    /// The expert that it is of; `None`, all of them.
    pub(super) expert: Option<usize>,
    /// The first column that it fills, and how many.
    pub(super) columns: (usize, usize),
    /// Whether it is stored `[out, in]`.
    pub(super) transposed: bool,
}

/// A source whose bytes are at hand.
struct Opened<'a> {
    source: &'a Source,
    bytes: bytes::Bytes,
    /// What is stored; FP8 has scales.
    from: Float,
    scales: Option<Scales>,
}

impl Checkpoint {
    /// The array `name`, put together as `assembly` says, of dtype `target` (`None`: as stored).
    pub(super) fn assemble(
        &self,
        bytes: &dyn StoredBytes,
        (name, assembly): (&str, &Assembly),
        target: Option<DType>,
    ) -> Result<TensorData> {
        if let Some(missing) = assembly.missing.first() {
            return Err(CheckpointError::Unknown { tensor: missing.clone() }.into());
        }
        if let Some(MisshapedTensor { name, expected, found }) = assembly.misshaped.first() {
            let file = self.file_of(self.entry(name)?).path().to_owned();
            let (tensor, expected, found) = (name.clone(), expected.clone(), found.clone());
            return Err(CheckpointError::Shape { tensor, file, expected, found }.into());
        }
        let (_, to) = self.conversion(name, target)?;
        let target = target.unwrap_or(self.stored_dtype(name)?);
        let opened: Vec<Opened> =
            assembly.sources.iter().map(|source| self.open_source(bytes, source)).collect::<Result<_>>()?;
        let shape = assembly.shape;
        let array = match to {
            Float::F32 => fill::<u32>(shape, &opened, to),
            Float::BF16 | Float::F16 => fill::<u16>(shape, &opened, to),
        };
        let array = array.map_err(|(source, lost)| out_of_range(&opened[source].source.name, target, lost))?;
        Ok(TensorData::from_bytes(array.into_bytes(), shape.to_vec(), target))
    }

    fn open_source<'a>(&self, bytes: &dyn StoredBytes, source: &'a Source) -> Result<Opened<'a>> {
        let entry = self.entry(&source.name)?;
        let stored = bytes.stored(&source.name)?;
        if entry.dtype == Dtype::F8_E4M3 {
            let scales = self.scales(bytes, &source.name, entry)?;
            return Ok(Opened { source, bytes: stored, from: Float::BF16, scales: Some(scales) });
        }
        let dtype = self.source_dtype(&source.name)?;
        let refuse = || CheckpointError::TargetDtype { tensor: source.name.clone(), target: dtype };
        Ok(Opened { source, bytes: stored, from: to_float(dtype).ok_or_else(refuse)?, scales: None })
    }
}

/// A source and what its conversion lost.
type Lost = (usize, super::convert::OutOfRange);

/// The array of the experts' parts, elements of `E`, which is as wide as `to`.
fn fill<E: bytemuck::Pod + Send + Sync>(
    [experts, rows, columns]: [usize; 3],
    opened: &[Opened<'_>],
    to: Float,
) -> Result<AlignedBytes, Lost> {
    let mut array = AlignedBytes::zeroed(experts * rows * columns * to.size());
    let elements: &mut [E] = bytemuck::cast_slice_mut(array.as_mut_slice());
    let mut of_expert = vec![Vec::new(); experts];
    for (number, source) in opened.iter().enumerate() {
        match source.source.expert {
            Some(expert) => of_expert[expert].push(number),
            None => of_expert.iter_mut().for_each(|sources| sources.push(number)),
        }
    }
    let each = (rows * columns).max(1);
    let slabs = elements.par_chunks_mut(each).zip(of_expert.into_par_iter()).enumerate();
    slabs.try_for_each(|(expert, (slab, sources))| {
        for number in sources {
            let part = opened[number].read(expert, rows, to).map_err(|lost| (number, lost))?;
            opened[number].source.place(bytemuck::cast_slice(&part[..]), slab, columns);
        }
        Ok(())
    })?;
    Ok(array)
}

impl Opened<'_> {
    /// The part of `expert`, which has `rows` inputs, converted.
    fn read(&self, expert: usize, rows: usize, to: Float) -> Result<burn_std::Bytes, super::convert::OutOfRange> {
        let count = rows * self.source.columns.1;
        // A tensor of one expert begins with it.
        let expert = if self.source.expert.is_some() { 0 } else { expert };
        match &self.scales {
            None => {
                let size = count * self.from.size();
                convert(&self.bytes[expert * size..][..size], self.from, to)
            }
            Some(scales) => {
                let first = expert * count / scales.columns();
                dequantize(&self.bytes[expert * count..][..count], scales, &|row| first + row, to)
            }
        }
    }
}

impl Source {
    /// Puts its `part` in its place in an expert's array, whose rows are `width` elements.
    fn place<E: Copy>(&self, part: &[E], slab: &mut [E], width: usize) {
        let (column, columns) = self.columns;
        if columns == 0 {
            return;
        }
        if !self.transposed {
            for (row, part) in slab.chunks_exact_mut(width).zip(part.chunks_exact(columns)) {
                row[column..][..columns].copy_from_slice(part);
            }
            return;
        }
        // `part` is `[columns, rows]`.
        let rows = part.len() / columns;
        for row_tile in (0..rows).step_by(TILE) {
            for column_tile in (0..columns).step_by(TILE) {
                for row in row_tile..rows.min(row_tile + TILE) {
                    let tile = column_tile..columns.min(column_tile + TILE);
                    let target = &mut slab[row * width + column..][tile.clone()];
                    target.iter_mut().zip(tile).for_each(|(target, at)| *target = part[at * rows + row]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tiles and their remainders, by the definition.
    #[test]
    fn parts_are_placed_and_transposed() {
        for (rows, columns, width, column) in
            [(1, 1, 1, 0), (3, 5, 9, 4), (64, 64, 64, 0), (130, 70, 150, 71), (5, 200, 200, 0)]
        {
            let part: Vec<u32> = (0..(rows * columns) as u32).collect();
            for transposed in [false, true] {
                let source = Source { name: String::new(), expert: None, columns: (column, columns), transposed };
                let mut slab = vec![u32::MAX; rows * width];
                source.place(&part, &mut slab, width);
                for (at, &found) in slab.iter().enumerate() {
                    let (row, to) = (at / width, (at % width).checked_sub(column).filter(|&to| to < columns));
                    let from = to.map(|to| if transposed { to * rows + row } else { row * columns + to });
                    assert_eq!(found, from.map_or(u32::MAX, |from| from as u32), "{rows} {columns} {at}");
                }
            }
        }
    }
}
