//! The division of an output into parts.

use crate::gemm::macro_kernel::blocking::{Blocking, Tile};
use crate::gemm::region::Region;
use crate::gemm::right::RightOperand;
use crate::gemm::schedule::raw_product::RawProduct;
use crate::simd::PANEL;
use core::ops::Range;

/// A division of an output into rectangles, and their order:
///
/// ```text
/// for each band of columns
///     for each block of rows
///         for each rectangle across the band
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gemm) struct Grid {
    shape: [usize; 2],
    /// Rows and columns of a rectangle that is not at the edge.
    part: [usize; 2],
    /// Rectangles across rows and across columns.
    pub(in crate::gemm) count: [usize; 2],
    /// Rectangles across a band.
    band: usize,
}

/// What a grid is chosen by, besides the product.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct GridRequest {
    /// Rows of the output.
    pub(in crate::gemm) m: usize,
    /// Whether the algorithm is one of few rows, which all parts have then.
    pub(in crate::gemm) gemv: bool,
    pub(in crate::gemm) tile: Tile,
    pub(in crate::gemm) parts: usize,
    pub(in crate::gemm) threads: usize,
    /// Whether A is packed once for all parts.
    pub(in crate::gemm) shares: bool,
}

/// Multiply-adds that take as long as packing one element.
const PACKING_COST: usize = 16;

impl Grid {
    /// The grid of about `parts` rectangles that takes the least time: each packs its own rows of A and columns of B,
    /// so that a rectangle near a square packs least, and the last round of the threads should be full.
    pub(in crate::gemm) fn choose(product: &RawProduct, request: GridRequest) -> Self {
        let GridRequest { m, gemv, tile, parts, threads, shares } = request;
        let (n, factors) = (product.n, product.b.factors());
        // Only columns are divided where rows are few; panels are whole in each part.
        let unit = if gemv { [m.max(1), PANEL] } else { [tile.mr, tile.nr] };
        let units = [m.div_ceil(unit[0]), n.div_ceil(unit[1])];
        let b_cost = if matches!(product.b, RightOperand::View(_)) { PACKING_COST } else { PACKING_COST / 4 };
        let a_cost = if shares { 0 } else { PACKING_COST };
        let grid = |down: usize| {
            let across = parts.div_ceil(down).min(units[1]);
            let part = [units[0].div_ceil(down) * unit[0], units[1].div_ceil(across) * unit[1]];
            Self::new([m, n], part, part[1])
        };
        let cost = |grid: &Self| {
            let [rows, cols] = grid.part;
            let rounds = grid.len().div_ceil(threads.max(1));
            rounds * (factors * (rows * cols + cols * b_cost) + rows * a_cost)
        };
        (1..=parts.min(units[0]).max(1)).map(grid).min_by_key(cost).unwrap_or_else(|| grid(1))
    }

    /// The grid of about `parts` rectangles for panels that are multiplied where they lie: blocks of at most `mc` rows
    /// of A, which a thread keeps in L2, by columns of bands of at most `nc`, which L3 keeps.
    pub(in crate::gemm) fn of_blocks([m, n]: [usize; 2], tile: Tile, blocking: Blocking, parts: usize) -> Self {
        let Blocking { mc, nc, .. } = blocking;
        let units = [m.div_ceil(tile.mr), n.div_ceil(tile.nr)];
        let across = parts.div_ceil(m.div_ceil(mc)).clamp(1, units[1]);
        let down = parts.div_ceil(across).clamp(1, units[0]);
        let rows = (units[0].div_ceil(down) * tile.mr).min(mc);
        Self::new([m, n], [rows, units[1].div_ceil(across) * tile.nr], nc)
    }

    /// The grid of rectangles of `part` in bands of at most `nc` columns.
    fn new(shape: [usize; 2], part: [usize; 2], nc: usize) -> Self {
        let count = [0, 1].map(|side| shape[side].div_ceil(part[side]));
        Self { shape, part, count, band: (nc / part[1]).max(1) }
    }

    /// Number of rectangles.
    pub(in crate::gemm) fn len(&self) -> usize {
        self.count[0] * self.count[1]
    }

    /// Rectangles side by side: those of `parts`, which [`Grid::together`] gives or some of them.
    pub(in crate::gemm) fn region(&self, parts: Range<usize>) -> Region {
        let [row, col] = self.place(parts.start);
        let (row, col) = (row * self.part[0], col * self.part[1]);
        let [rows, cols] = [self.part[0], parts.len() * self.part[1]];
        Region { row, col, rows: rows.min(self.shape[0] - row), cols: cols.min(self.shape[1] - col) }
    }

    /// The rectangles that lie side by side with rectangle `index` in its band.
    pub(in crate::gemm) fn together(&self, index: usize) -> Range<usize> {
        let col = self.place(index)[1];
        let first = col / self.band * self.band;
        let begin = index - (col - first);
        begin..begin + self.band.min(self.count[1] - first)
    }

    /// Its place down and across.
    fn place(&self, index: usize) -> [usize; 2] {
        let (band, index) = (index / (self.count[0] * self.band), index % (self.count[0] * self.band));
        let first = band * self.band;
        let width = self.band.min(self.count[1] - first);
        [index / width, first + index % width]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemm::epilogue::Epilogue;
    use crate::gemm::macro_kernel::store::Store;
    use crate::gemm::matrix::{Matrix, OutMatrix};
    use crate::{Floats, FloatsMut};

    /// Each element of the output lies in one part.
    #[test]
    fn grids_tile_the_output() {
        let mut c = [0.0f32];
        let a = Matrix::row_major(Floats::F32(&[0.0]), 1, 1).unwrap();
        let mut out = OutMatrix::row_major(FloatsMut::F32(&mut c), 1, 1).unwrap();
        let store = Store::new(&mut out, &Epilogue::default());
        let tile = Tile { mr: 6, nr: 16 };
        for gemv in [true, false] {
            for (m, n) in [(1, 1), (5, 100), (16, 17), (100, 3), (97, 203)] {
                for parts in [1, 2, 3, 7, 16, 1000] {
                    let b = RightOperand::View(a.raw());
                    let product = RawProduct { b, store, n };
                    let grid = Grid::choose(
                        &product,
                        GridRequest { m, gemv, tile, parts, threads: 4, shares: parts % 2 == 0 },
                    );
                    assert!((0..grid.len()).all(|index| grid.together(index) == (index..index + 1)));
                    check(grid, [m, n]);
                }
            }
        }
    }

    /// Alone and with those beside it.
    fn check(grid: Grid, [m, n]: [usize; 2]) {
        for merged in [false, true] {
            let (mut hits, mut index) = (vec![0; m * n], 0);
            while index < grid.len() {
                let together = grid.together(index);
                assert!(together.contains(&index) && together.end <= grid.len(), "{grid:?}");
                let parts = index..if merged { together.end } else { index + 1 };
                index = parts.end;
                let Region { row, col, rows, cols } = grid.region(parts);
                assert!(rows > 0 && cols > 0 && col % PANEL == 0, "{grid:?}");
                (row..row + rows).for_each(|i| (col..col + cols).for_each(|j| hits[i * n + j] += 1));
            }
            assert!(hits.iter().all(|&hit| hit == 1), "{m} x {n}: {grid:?}");
        }
    }

    #[test]
    fn grids_of_blocks_tile_the_output() {
        let tile = Tile { mr: 6, nr: 16 };
        for (m, n) in [(1, 1), (5, 100), (16, 17), (100, 3), (97, 203), (200, 400)] {
            for (mc, nc) in [(6, 16), (36, 64), (48, 4096)] {
                for parts in [1, 2, 3, 7, 16, 1000] {
                    let grid = Grid::of_blocks([m, n], tile, Blocking { mc, kc: 8, nc }, parts);
                    assert!(grid.len() >= parts.min(m.div_ceil(6) * n.div_ceil(16)) / 2, "{parts}: {grid:?}");
                    assert!(grid.part[0] <= mc && grid.part[0].is_multiple_of(6), "{grid:?}");
                    check(grid, [m, n]);
                }
            }
        }
    }
}
