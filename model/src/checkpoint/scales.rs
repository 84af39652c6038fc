//! The scales of FP8 weights: their names, shapes and values.
//!
//! A weight `W` of shape `[out, in]` has its scales in `W_scale_inv` (or `W_scale`, as `compressed-tensors` calls
//! them); both are multiplied with. With blocks of `[b_out, b_in]` they are `[⌈out / b_out⌉, ⌈in / b_in⌉]`; without,
//! one for the tensor (`[]`, `[1]` or `[1, 1]`) or one for each output (`[out]` or `[out, 1]`). Fused experts are
//! stored `[expert, in, out]`, and their scales `[expert, ⌈in / b_in⌉, ⌈out / b_out⌉]`; without blocks one for all,
//! `[expert, 1, 1]`, or `[expert, 1, out]`.

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

/// The grids that scales of a weight of shape `weight` can have, and the shapes that they are stored in.
fn list_grids(weight: &[usize], fp8: &Fp8Config) -> Vec<(Grid, Vec<usize>)> {
    let (experts, sizes) = match *weight {
        [rows, columns] => (None, [rows, columns]),
        [experts, rows, columns] => (Some(experts), [rows, columns]),
        _ => return Vec::new(),
    };
    let [rows, columns] = sizes;
    let shape = [experts.unwrap_or(1), rows, columns];
    let grid = |scales, block| Grid { weight: shape, scales, block };
    if let Some([outputs, inputs]) = fp8.block {
        if outputs == 0 || inputs == 0 {
            return Vec::new();
        }
        // Experts are stored the other way round.
        let block = if experts.is_some() { [inputs, outputs] } else { [outputs, inputs] };
        let counts = [rows.div_ceil(block[0]), columns.div_ceil(block[1])];
        let stored = experts.into_iter().chain(counts).collect();
        return vec![(grid([shape[0], counts[0], counts[1]], block), stored)];
    }
    let whole = grid([1, 1, 1], sizes);
    let mut grids = vec![(whole, vec![]), (whole, vec![1])];
    match experts {
        None => {
            let each = grid([1, rows, 1], [1, columns]);
            grids.extend([(whole, vec![1, 1]), (each, vec![rows]), (each, vec![rows, 1])]);
        }
        Some(experts) => {
            grids.push((grid([experts, 1, 1], sizes), vec![experts, 1, 1]));
            grids.push((grid([experts, 1, columns], [rows, 1]), vec![experts, 1, columns]));
        }
    }
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
        let (weight, found) = (&self.entries.get(name)?.shape, &self.entries.get(scales)?.shape);
        let grids = list_grids(weight, self.fp8.as_ref()?);
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
        let grids = list_grids(&entry.shape, fp8);
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

    /// Bytes that must be read for the tensor `name`: its own and its scales'.
    ///
    /// # Errors
    /// [`CheckpointError::Unknown`].
    pub fn stored_len(&self, name: &str) -> Result<u64> {
        let own = self.entry(name)?.range.len();
        let scales = self.scale_name(name).filter(|_| self.is_fp8(name));
        let scales = scales.and_then(|scales| self.entries.get(&scales)).map_or(0, |entry| entry.range.len());
        Ok((own + scales) as u64)
    }
}
