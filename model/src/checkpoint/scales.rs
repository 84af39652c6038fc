//! The scales of FP8 weights: their names, shapes and values.
//!
//! A weight `W` of shape `[out, in]` has its scales in `W_scale_inv` (or `W_scale`, as `compressed-tensors` calls
//! them); both are multiplied with. With blocks of `[b_out, b_in]` they are `[⌈out / b_out⌉, ⌈in / b_in⌉]`; without,
//! one for the tensor (`[]`, `[1]` or `[1, 1]`) or one for each output (`[out]` or `[out, 1]`). Fused experts are
//! stored `[expert, in, out]`, and their scales `[expert, ⌈in / b_in⌉, ⌈out / b_out⌉]`; without blocks one for all,
//! `[expert, 1, 1]`, or `[expert, 1, out]`. As HF 5 saves them they are `[expert, out, in]`, and their scales the same
//! way round; where gate and up would share one scale along their outputs they have one each, `[expert, 2, ..]`.

use super::convert::{Float, convert};
use super::stored::StoredBytes;
use super::{Checkpoint, CheckpointError, Entry};
use crate::Result;
use crate::config::Fp8Config;
use safetensors::Dtype;

/// Endings of the scales' names, the likelier first.
const ENDINGS: [&str; 2] = ["_scale_inv", "_scale"];

/// Whether a tensor of this shape can be FP8: a matrix, or one for each expert.
pub(super) fn is_matrix(shape: &[usize]) -> bool {
    matches!(shape.len(), 2 | 3)
}

/// The scales of one weight, as a grid over its rows and columns.
#[derive(Debug)]
pub(crate) struct Scales {
    values: Vec<f32>,
    grid: Grid,
}

/// How a weight's scales lie over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Grid {
    /// Experts (1 for a matrix), rows and columns of the weight.
    weight: [usize; 3],
    /// Experts, rows and columns of scales.
    scales: [usize; 3],
    /// Rows and columns that share a scale.
    block: [usize; 2],
}

impl Scales {
    /// Bytes that they take in memory.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&self.values[..])
    }

    /// Columns of the weight, at least 1.
    pub(super) fn columns(&self) -> usize {
        self.grid.weight[2].max(1)
    }

    /// Columns that share a scale, at least 1.
    pub(super) fn block_columns(&self) -> usize {
        self.grid.block[1].max(1)
    }

    /// The scales of the flat row `row` (over all experts), one for each block of columns.
    pub(super) fn row(&self, row: usize) -> &[f32] {
        let Grid { weight, scales, block } = self.grid;
        let (expert, row) = (row / weight[1], row % weight[1]);
        let expert = if scales[0] == 1 { 0 } else { expert };
        let start = (expert * scales[1] + row / block[0]) * scales[2];
        &self.values[start..][..scales[2]]
    }
}

/// The grids that scales of a weight of shape `weight` can have, and the shapes that they are stored in. The last size
/// of the weight is its outputs, or its inputs.
fn list_grids(weight: &[usize], outputs_last: bool, fp8: &Fp8Config) -> Vec<(Grid, Vec<usize>)> {
    let (experts, sizes) = match *weight {
        [rows, columns] => (None, [rows, columns]),
        [experts, rows, columns] => (Some(experts), [rows, columns]),
        _ => return Vec::new(),
    };
    let [rows, columns] = sizes;
    let shape = [experts.unwrap_or(1), rows, columns];
    let grid = |scales, block| Grid { weight: shape, scales, block };
    let stored = |counts: [usize; 2]| experts.into_iter().chain(counts).collect::<Vec<_>>();
    // One scale each for gate and up, which are rows of one array.
    let halves = |count: usize, columns: usize| {
        let half = [rows / 2, columns];
        let counts = [2, count];
        let fits = experts.is_some() && !outputs_last && rows > 2 && rows.is_multiple_of(2);
        fits.then(|| (grid([shape[0], 2, count], half), stored(counts)))
    };
    if let Some([outputs, inputs]) = fp8.block {
        if outputs == 0 || inputs == 0 {
            return Vec::new();
        }
        let block = if outputs_last { [inputs, outputs] } else { [outputs, inputs] };
        let counts = [rows.div_ceil(block[0]), columns.div_ceil(block[1])];
        let blocks = (grid([shape[0], counts[0], counts[1]], block), stored(counts));
        let halves = halves(counts[1], block[1]).filter(|_| counts[0] == 1);
        return halves.into_iter().chain([blocks]).collect();
    }
    let whole = grid([1, 1, 1], sizes);
    let each = if outputs_last {
        (grid([shape[0], 1, columns], [rows, 1]), [1, columns])
    } else {
        (grid([shape[0], rows, 1], [1, columns]), [rows, 1])
    };
    let mut grids = vec![(whole, vec![]), (whole, vec![1])];
    if experts.is_some() {
        grids.push((grid([shape[0], 1, 1], sizes), stored([1, 1])));
        grids.extend(halves(1, columns));
    } else {
        grids.extend([(whole, vec![1, 1]), (each.0, vec![if outputs_last { columns } else { rows }])]);
    }
    grids.push((each.0, stored(each.1)));
    grids
}

impl Checkpoint {
    /// Name of the scales of `name`, if the checkpoint has them.
    pub(crate) fn scale_name(&self, name: &str) -> Option<String> {
        ENDINGS.iter().map(|ending| format!("{name}{ending}")).find(|scales| self.contains(scales))
    }

    /// Whether `name` is stored in FP8, and the scales of that are known.
    pub(crate) fn is_fp8(&self, name: &str) -> bool {
        self.fp8.is_some() && self.entries.get(name).is_some_and(|entry| entry.dtype == Dtype::F8_E4M3)
    }

    /// Whether `name` is the scale of the activations before an FP8 weight. Activations aren't quantised here, so it
    /// isn't needed.
    pub(super) fn is_activation_scale(&self, name: &str) -> bool {
        let weights = [(".input_scale", ".weight"), (".activation_scale", ".weight"), ("_activation_scale", "")];
        let mut weights = weights.iter().filter_map(|(ending, weight)| Some((name.strip_suffix(ending)?, weight)));
        weights.any(|(module, weight)| self.is_fp8(&format!("{module}{weight}")))
    }

    /// The shape that the scales `scales` of the weight `name` should have, unless they have it. Of several, the
    /// plainest.
    pub(super) fn misshaped_scales(&self, name: &str, scales: &str) -> Option<Vec<usize>> {
        let (weight, found) = (self.entries.get(name)?, &self.entries.get(scales)?.shape);
        let grids = list_grids(&weight.shape, weight.outputs_last, self.fp8.as_ref()?);
        if grids.iter().any(|(_, shape)| shape == found) {
            return None;
        }
        grids.into_iter().next_back().map(|(_, shape)| shape)
    }

    /// The scales of the weight `name`, if that is FP8.
    pub(crate) fn scales_of(&self, name: &str) -> Result<Option<Scales>> {
        if !self.is_fp8(name) {
            return Ok(None);
        }
        let scales = self.scales(self, name, self.entry(name)?)?;
        if let Some(name) = self.scale_name(name) {
            self.release(&name)?;
        }
        Ok(Some(scales))
    }

    /// The scales of the FP8 weight `name`, which is `entry`.
    pub(super) fn scales(&self, bytes: &dyn StoredBytes, name: &str, entry: &Entry) -> Result<Scales> {
        let missing = || CheckpointError::MissingScale { tensor: name.to_owned() };
        let fp8 = self.fp8.as_ref().ok_or_else(missing)?;
        let scale_name = self.scale_name(name).ok_or_else(missing)?;
        let stored = self.entry(&scale_name)?;
        let file = || self.file_of(stored).path().to_owned();
        let grids = list_grids(&entry.shape, entry.outputs_last, fp8);
        let Some(&(grid, _)) = grids.iter().find(|(_, shape)| *shape == stored.shape) else {
            let expected = grids.into_iter().next_back().map(|(_, shape)| shape).unwrap_or_default();
            let found = stored.shape.clone();
            return Err(CheckpointError::Shape { tensor: scale_name, file: file(), expected, found }.into());
        };
        let from = match stored.dtype {
            Dtype::F32 => Float::F32,
            Dtype::BF16 => Float::BF16,
            Dtype::F16 => Float::F16,
            other => {
                let found = other.to_string();
                return Err(CheckpointError::StoredDtype { tensor: scale_name, file: file(), found }.into());
            }
        };
        let source = bytes.stored(&scale_name)?;
        // To f32 nothing is lost.
        let values = convert(&source, from, Float::F32).map_err(|lost| CheckpointError::ScaleValue {
            tensor: scale_name.clone(),
            index: lost.index,
            value: lost.value,
        })?;
        let values: Vec<f32> = bytemuck::cast_slice(&values).to_vec();
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            return Err(CheckpointError::ScaleValue { tensor: scale_name, index, value: values[index] }.into());
        }
        Ok(Scales { values, grid })
    }

    /// Bytes that must be read for the tensor `name`: its own, or those that it is put together of, and their scales'.
    ///
    /// # Errors
    /// [`CheckpointError::Unknown`].
    pub fn stored_len(&self, name: &str) -> Result<u64> {
        self.stored_parts(name)?.into_iter().try_fold(0, |sum, part| Ok(sum + self.entry(&part)?.range.len() as u64))
    }

    /// Names of what must be read for the tensor `name`: what it is made of, and the scales of that.
    pub(crate) fn stored_parts(&self, name: &str) -> Result<Vec<String>> {
        let mut parts = Vec::new();
        for source in self.sources_of(name) {
            self.entry(source)?;
            parts.push(source.to_owned());
            parts.extend(self.scale_name(source).filter(|_| self.is_fp8(source)));
        }
        Ok(parts)
    }
}
