//! Lays the samples of frames out as one row for each patch.
//!
//! ```text
//! rows      t, block row, block column, row in block, column in block    (grid_t, grid_h/m, grid_w/m, m, m)
//! in a row  channel, frame in the temporal patch, y, x                    (3, T, P, P)
//! ```
//!
//! so that the `m * m` rows that the merger joins into one token follow each other. Source: `patchify` of HF
//! transformers' Qwen2-VL image processor.

use image::RgbImage;
use rayon::prelude::*;

use super::{Grid, PreprocessorConfig, normalize::SampleTable};

/// Fills the patch rows of `frames`, which are of one size, whole merge blocks, and whole temporal patches.
///
/// A picture is given as `temporal_patch_size` times itself. Returns `grid.patches()` rows of `config.row_len()`
/// floats.
pub(super) fn fill_patches(frames: &[&RgbImage], config: &PreprocessorConfig, table: &SampleTable) -> (Vec<f32>, Grid) {
    let (width, height) = frames[0].dimensions();
    let (patch, temporal, merge) = (config.patch_size, config.temporal_patch_size, config.merge_size);
    let grid = Grid { t: frames.len() / temporal, h: height as usize / patch, w: width as usize / patch };
    let row_len = config.row_len();
    let mut rows = vec![0.0; grid.patches() * row_len];

    // One task fills one row of merge blocks: its source pixels are `merge * patch` whole lines of each frame.
    let block_rows = grid.h / merge;
    rows.par_chunks_mut(merge * grid.w * row_len).enumerate().for_each(|(task, rows)| {
        let (t, block_row) = (task / block_rows, task % block_rows);
        let frames = &frames[t * temporal..][..temporal];
        for (index, row) in rows.chunks_exact_mut(row_len).enumerate() {
            let (block, cell) = (index / (merge * merge), index % (merge * merge));
            let y = (block_row * merge + cell / merge) * patch;
            let x = (block * merge + cell % merge) * patch;
            fill_row(row, frames, (y, x), patch, table);
        }
    });
    (rows, grid)
}

/// Fills one patch row from the patch whose top left pixel is `corner = (y, x)`.
fn fill_row(row: &mut [f32], frames: &[&RgbImage], corner: (usize, usize), patch: usize, table: &SampleTable) {
    let mut lines = row.chunks_exact_mut(patch);
    for (channel, values) in table.iter().enumerate() {
        for frame in frames {
            let width = frame.width() as usize;
            let samples = frame.as_raw();
            for y in corner.0..corner.0 + patch {
                let start = (y * width + corner.1) * 3;
                let pixels = samples[start..start + patch * 3].chunks_exact(3);
                // `row_len = 3 * T * P * P`, so the lines last exactly as long as these loops.
                for (value, pixel) in lines.next().into_iter().flatten().zip(pixels) {
                    *value = values[pixel[channel] as usize];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The layout from its definition: one row index at a time.
    #[test]
    fn every_sample_is_where_the_layout_says() {
        let config = PreprocessorConfig { patch_size: 2, ..Default::default() };
        let (height, width) = (8usize, 12usize);
        let frames: Vec<RgbImage> = (0..4u32)
            .map(|f| {
                RgbImage::from_fn(width as u32, height as u32, |x, y| {
                    image::Rgb([0, 1, 2].map(|c: u32| (f * 61 + y * 17 + x * 5 + c * 83) as u8))
                })
            })
            .collect();
        let table: SampleTable = std::array::from_fn(|_| std::array::from_fn(|x| x as f32));
        let (rows, grid) = fill_patches(&frames.iter().collect::<Vec<_>>(), &config, &table);
        assert_eq!(grid, Grid { t: 2, h: 4, w: 6 });

        let mut at = rows.iter();
        for t in 0..2 {
            for bh in 0..2 {
                for bw in 0..3 {
                    for cell in 0..4 {
                        for c in 0..3 {
                            for f in 0..2 {
                                for pixel in 0..4 {
                                    let y = (bh * 2 + cell / 2) * 2 + pixel / 2;
                                    let x = (bw * 2 + cell % 2) * 2 + pixel % 2;
                                    let sample = frames[t * 2 + f].get_pixel(x, y)[c];
                                    assert_eq!(*at.next().unwrap(), f32::from(sample));
                                }
                            }
                        }
                    }
                }
            }
        }
        assert!(at.next().is_none());
    }
}
