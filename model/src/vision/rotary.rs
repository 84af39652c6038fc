//! Two-dimensional rotary angles: half of a head turns with the row of a patch, half with its column.
//!
//! With `f_i = θ^(-2i / d)`, `d = head_dim / 2`, `i < head_dim / 4`, the `head_dim / 2` angles of a patch are
//! `[row · f_0, .., column · f_0, ..]` (Heo et al. 2024 call it axial RoPE). HF writes them twice, for both halves of a
//! head, which is what pairing `i` with `i + head_dim / 2` does.

use super::position::list_patches;
use crate::processor::Grid;
use burn::tensor::{Tensor, TensorData};
use burn_kiln_fusion::{FusedOps, Rotary};

/// Base of the frequencies; a constant of the architecture, not in the configuration.
const THETA: f32 = 10_000.0;

/// Angles of all patches of all grids, in row order.
///
/// # Shapes
/// `cos` and `sin` `[1, patches, head_dim / 2]`.
pub(super) fn make_rotary<B: FusedOps>(grids: &[Grid], head_dim: usize, merge: usize, device: &B::Device) -> Rotary<B> {
    let frequencies = list_frequencies(head_dim / 2);
    let patches: usize = grids.iter().map(Grid::patches).sum();
    let mut angles = Vec::with_capacity(patches * head_dim / 2);
    for grid in grids {
        let start = angles.len();
        for (row, column) in list_patches(grid.h, grid.w, merge) {
            angles.extend(frequencies.iter().map(|f| row as f32 * f));
            angles.extend(frequencies.iter().map(|f| column as f32 * f));
        }
        let end = angles.len();
        for _ in 1..grid.t {
            angles.extend_from_within(start..end);
        }
    }
    let shape = [1, patches, head_dim / 2];
    let sin = angles.iter().map(|a| a.sin()).collect();
    let cos = angles.into_iter().map(f32::cos).collect();
    let upload = |values: Vec<f32>| Tensor::from_data(TensorData::new(values, shape), device);
    Rotary { cos: upload(cos), sin: upload(sin) }
}

/// `1 / θ^(i / dim)` for even `i < dim`, in f32 as HF computes it.
fn list_frequencies(dim: usize) -> Vec<f32> {
    (0..dim).step_by(2).map(|i| 1.0 / THETA.powf(i as f32 / dim as f32)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn_flex::Flex;

    #[test]
    fn rows_turn_the_first_half_and_columns_the_second() {
        let grid = Grid { t: 2, h: 2, w: 2 };
        let rotary = make_rotary::<Flex>(&[grid], 8, 2, &Default::default());
        assert_eq!(rotary.sin.dims(), [1, 8, 4]);
        let sin: Vec<f32> = rotary.sin.into_data().to_vec().unwrap();
        // dim = 4: frequencies 1 and 10000^(-1/2) = 0.01.
        let (one, small) = (1f64.sin() as f32, 0.01f64.sin() as f32);
        let frame = [[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, one, small], [one, small, 0.0, 0.0], [one, small, one, small]];
        for (row, expected) in sin.chunks(4).zip(frame.iter().cycle()) {
            for (found, expected) in row.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-7, "{found} {expected}");
            }
        }
    }
}
