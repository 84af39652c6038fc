//! The division of an output into parts.

use crate::gemm::macro_kernel::blocking::Tile;
use crate::gemm::region::Region;
use crate::gemm::right::RightOperand;
use crate::gemm::schedule::raw_product::RawProduct;
use crate::simd::PANEL;

/// A division of an output into rectangles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::gemm) struct Grid {
    shape: [usize; 2],
    /// Rows and columns of a rectangle that is not at the edge.
    part: [usize; 2],
    /// Rectangles across rows and across columns.
    pub(in crate::gemm) count: [usize; 2],
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
            Self { shape: [m, n], part, count: [m.div_ceil(part[0]), n.div_ceil(part[1])] }
        };
        let cost = |grid: &Self| {
            let [rows, cols] = grid.part;
            let rounds = grid.len().div_ceil(threads.max(1));
            rounds * (factors * (rows * cols + cols * b_cost) + rows * a_cost)
        };
        (1..=parts.min(units[0]).max(1)).map(grid).min_by_key(cost).unwrap_or_else(|| grid(1))
    }

    /// Number of rectangles.
    pub(in crate::gemm) fn len(&self) -> usize {
        self.count[0] * self.count[1]
    }

    /// Rectangle `index`: down first, so that parts that run together share columns of B.
    pub(in crate::gemm) fn region(&self, index: usize) -> Region {
        let (row, col) = (index % self.count[0] * self.part[0], index / self.count[0] * self.part[1]);
        Region { row, col, rows: self.part[0].min(self.shape[0] - row), cols: self.part[1].min(self.shape[1] - col) }
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
