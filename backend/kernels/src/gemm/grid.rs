//! The division of an output into parts.

use super::blocking::Tile;
use super::part::RightOperand;
use super::problem::RawProduct;
use super::sink::Region;
use crate::simd::PANEL;

/// A division of an output into rectangles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grid {
    shape: [usize; 2],
    /// Rows and columns of a rectangle that is not at the edge.
    part: [usize; 2],
    /// Rectangles across rows and across columns.
    pub(super) count: [usize; 2],
}

/// Multiply-adds that take as long as packing one element.
const PACKING_COST: usize = 16;

impl Grid {
    /// The grid of about `parts` rectangles that takes the least time: each packs its own rows of A and columns of B, so that a
    /// rectangle near a square packs least, and the last turn of the threads should be full. `few` says that rows are.
    pub(super) fn choose(
        product: &RawProduct,
        (m, few): (usize, bool),
        tile: Tile,
        [parts, threads]: [usize; 2],
        shares: bool,
    ) -> Self {
        let (n, factors) = (product.n, product.b.factors());
        // Only columns are divided where rows are few; panels are whole in each part.
        let unit = if few { [m.max(1), PANEL] } else { [tile.mr, tile.nr] };
        let units = [m.div_ceil(unit[0]), n.div_ceil(unit[1])];
        let b_cost = if matches!(product.b, RightOperand::View(_)) { PACKING_COST } else { PACKING_COST / 4 };
        let a_cost = if shares { 0 } else { PACKING_COST };
        let grid = |down: usize| {
            let across = parts.div_ceil(down).min(units[1]);
            let part = [units[0].div_ceil(down) * unit[0], units[1].div_ceil(across) * unit[1]];
            Self { shape: [m, n], part, count: [m.div_ceil(part[0]), n.div_ceil(part[1])] }
        };
        let cost = |grid: &Self| {
            let [rows, cols] = grid.part;
            let turns = grid.len().div_ceil(threads.max(1));
            turns * (factors * (rows * cols + cols * b_cost) + rows * a_cost)
        };
        (1..=parts.min(units[0]).max(1)).map(grid).min_by_key(cost).unwrap_or_else(|| grid(1))
    }

    /// Number of rectangles.
    pub(super) fn len(&self) -> usize {
        self.count[0] * self.count[1]
    }

    /// Rectangle `index`: down first, so that parts that run together share columns of B.
    pub(super) fn region(&self, index: usize) -> Region {
        let (row, col) = (index % self.count[0] * self.part[0], index / self.count[0] * self.part[1]);
        Region { row, col, rows: self.part[0].min(self.shape[0] - row), cols: self.part[1].min(self.shape[1] - col) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::epilogue::Epilogue;
    use super::super::matrix::{Matrix, OutMatrix};
    use super::super::sink::Sink;
    use super::*;
    use crate::{Floats, FloatsMut};

    /// Each element of the output lies in one part.
    #[test]
    fn grids_tile_the_output() {
        let mut c = [0.0f32];
        let a = Matrix::row_major(Floats::F32(&[0.0]), 1, 1).unwrap();
        let mut out = OutMatrix::row_major(FloatsMut::F32(&mut c), 1, 1).unwrap();
        let sink = Sink::new(&mut out, &Epilogue::default());
        let tile = Tile { mr: 6, nr: 16 };
        for few in [true, false] {
            for (m, n) in [(1, 1), (5, 100), (16, 17), (100, 3), (97, 203)] {
                for parts in [1, 2, 3, 7, 16, 1000] {
                    let b = RightOperand::View(a.raw());
                    let product = RawProduct { b, sink, n };
                    let grid = Grid::choose(&product, (m, few), tile, [parts, 4], parts % 2 == 0);
                    let mut hits = vec![0; m * n];
                    for index in 0..grid.len() {
                        let Region { row, col, rows, cols } = grid.region(index);
                        assert!(rows > 0 && cols > 0 && col % PANEL == 0, "{grid:?}");
                        (row..row + rows).for_each(|i| (col..col + cols).for_each(|j| hits[i * n + j] += 1));
                    }
                    assert!(hits.iter().all(|&hit| hit == 1), "{m} x {n} in {parts}: {grid:?}");
                }
            }
        }
    }
}
