//! Learned positions, interpolated from their square grid to each picture's grid.

use crate::layers::Embedding;
use crate::processor::Grid;
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};
use burn_kiln_fusion::{FusedOps, KernelConfig};

/// Row and column of each patch of one frame, in merge-block order: blocks of `merge × merge` patches from left to
/// right and top to bottom, and the patches of a block likewise.
pub(super) fn list_patches(height: usize, width: usize, merge: usize) -> impl Iterator<Item = (usize, usize)> {
    let blocks = (0..height / merge).flat_map(move |row| (0..width / merge).map(move |column| (row, column)));
    blocks.flat_map(move |(block_row, block_column)| {
        let inside = (0..merge).flat_map(move |row| (0..merge).map(move |column| (row, column)));
        inside.map(move |(row, column)| (block_row * merge + row, block_column * merge + column))
    })
}

/// One axis of the interpolation: the learned positions on both sides of each patch, and the weight of the second.
#[derive(Debug, Clone, PartialEq)]
struct Axis {
    floor: Vec<usize>,
    ceil: Vec<usize>,
    fraction: Vec<f32>,
}

impl Axis {
    /// `length` points from 0 to `side - 1`, ends included, in the float32 arithmetic of `torch.linspace`: from the
    /// nearer end.
    fn new(length: usize, side: usize) -> Self {
        let last = (side - 1) as f32;
        let step = if length > 1 { last / (length - 1) as f32 } else { 0.0 };
        let point = |i: usize| {
            if length == 1 || i < length / 2 { step * i as f32 } else { last - step * (length - 1 - i) as f32 }
        };
        let points: Vec<f32> = (0..length).map(point).collect();
        let floor: Vec<usize> = points.iter().map(|&p| p as usize).collect();
        Self {
            ceil: floor.iter().map(|&f| (f + 1).min(side - 1)).collect(),
            fraction: points.iter().zip(&floor).map(|(&p, &f)| p - f as f32).collect(),
            floor,
        }
    }
}

/// The learned position and the weight of one of the four corners, for each patch of a frame.
struct Corner {
    indices: Vec<i64>,
    weights: Vec<f32>,
}

/// The four corners of bilinear interpolation, in the order in which HF sums them: top left, top right, bottom left,
/// bottom right.
fn find_corners(grid: Grid, side: usize, merge: usize) -> [Corner; 4] {
    let (rows, columns) = (Axis::new(grid.h, side), Axis::new(grid.w, side));
    [(false, false), (false, true), (true, false), (true, true)].map(|(low, right)| {
        let (indices, weights) = list_patches(grid.h, grid.w, merge)
            .map(|(row, column)| {
                let y = if low { rows.ceil[row] } else { rows.floor[row] };
                let x = if right { columns.ceil[column] } else { columns.floor[column] };
                let dy = if low { rows.fraction[row] } else { 1.0 - rows.fraction[row] };
                let dx = if right { columns.fraction[column] } else { 1.0 - columns.fraction[column] };
                ((y * side + x) as i64, dy * dx)
            })
            .unzip();
        Corner { indices, weights }
    })
}

/// The positions of all patches of all grids: interpolated for one frame of each grid, and repeated over its frames.
///
/// One corner is gathered at a time, so that at most two arrays of a picture's size exist beside the result.
///
/// # Shapes
/// `table` `[side², hidden]`, output `[1, patches, hidden]`.
pub(super) fn interpolate_positions<B: FusedOps>(
    table: &Embedding<B>,
    grids: &[Grid],
    side: usize,
    merge: usize,
    device: &B::Device,
    config: &KernelConfig,
) -> Tensor<B, 3> {
    let mut frames = Vec::new();
    for &grid in grids {
        let frame = find_corners(grid, side, merge)
            .into_iter()
            .map(|corner| gather_corner(table, corner, device, config))
            .reduce(|sum, corner| sum + corner)
            .expect("there are four corners");
        frames.extend(std::iter::repeat_n(frame, grid.t));
    }
    if frames.len() == 1 { frames.remove(0) } else { Tensor::cat(frames, 1) }
}

/// # Shapes
/// Output `[1, patches of one frame, hidden]`.
fn gather_corner<B: FusedOps>(
    table: &Embedding<B>,
    corner: Corner,
    device: &B::Device,
    config: &KernelConfig,
) -> Tensor<B, 3> {
    let patches = corner.indices.len();
    let ids = Tensor::<B, 2, Int>::from_data(TensorData::new(corner.indices, [1, patches]), device);
    table.forward(ids, config) * weigh(corner.weights, device)
}

/// # Shapes
/// Output `[1, patches, 1]`.
fn weigh<B: Backend>(weights: Vec<f32>, device: &B::Device) -> Tensor<B, 3> {
    let patches = weights.len();
    Tensor::from_data(TensorData::new(weights, [1, patches, 1]), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_come_in_blocks() {
        let order: Vec<_> = list_patches(2, 4, 2).collect();
        assert_eq!(order, [(0, 0), (0, 1), (1, 0), (1, 1), (0, 2), (0, 3), (1, 2), (1, 3)]);
    }

    #[test]
    fn axis_ends_at_the_last_position() {
        let axis = Axis::new(5, 8);
        assert_eq!(axis.floor, [0, 1, 3, 5, 7]);
        assert_eq!(axis.ceil, [1, 2, 4, 6, 7]);
        assert_eq!(axis.fraction, [0.0, 0.75, 0.5, 0.25, 0.0]);
    }

    #[test]
    fn one_patch_takes_the_first_position() {
        assert_eq!(Axis::new(1, 8).floor, [0]);
        assert_eq!(Axis::new(1, 8).fraction, [0.0]);
    }

    #[test]
    fn same_size_is_not_interpolated() {
        let axis = Axis::new(48, 48);
        assert_eq!(axis.floor, (0..48).collect::<Vec<_>>());
        assert!(axis.fraction.iter().all(|&f| f == 0.0));
    }

    #[test]
    fn weights_of_a_patch_sum_to_one() {
        let corners = find_corners(Grid { t: 1, h: 6, w: 10 }, 8, 2);
        for patch in 0..60 {
            let sum: f32 = corners.iter().map(|corner| corner.weights[patch]).sum();
            assert!((sum - 1.0).abs() < 1e-6, "patch {patch}: {sum}");
        }
    }
}
