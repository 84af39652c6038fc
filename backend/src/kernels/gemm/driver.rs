//! Checks of a product, its division into parts, and the threads that run them.

use super::blocking::Tile;
use super::epilogue::{Epilogue, Region, Sink};
use super::matrix::{GemmError, Matrix, OutMatrix, check};
use super::pairs::PairIsa;
use super::part::{Part, RightOperand};
use super::plan::{Plan, Variant, choose_parts, choose_threads};
use super::raw::RawMatrix;
use super::shared_left::{self, SharedLeft};
use crate::simd::PANEL;
use core::sync::atomic::{AtomicUsize, Ordering};

/// `C = A · B` with an [`Epilogue`]: `C = activation(A·B + bias) + residual`, sums in f32.
///
/// Shapes: A `[m, k]`, B `[k, n]`, C `[m, n]`; f32, bf16 or f16 each, any strides of A and B. 2·m·n·k FLOP. A depth of 0 stores the
/// epilogue of 0. NaN and infinities go where the sums of the definition put them.
///
/// # Errors
/// [`GemmError::Shape`] where sizes do not match; the output is not touched then.
pub fn gemm(
    plan: &Plan,
    a: &Matrix<'_>,
    b: &Matrix<'_>,
    out: &mut OutMatrix<'_>,
    epilogue: &Epilogue<'_>,
) -> Result<(), GemmError> {
    check("rows of B", a.cols(), b.rows())?;
    check("rows of the output", a.rows(), out.rows())?;
    check("columns of the output", b.cols(), out.cols())?;
    epilogue.check(out.rows(), out.cols())?;
    let mut problem = Problem {
        a: a.raw(),
        b: RightOperand::View(b.raw()),
        sink: Sink::new(out, epilogue),
        shape: [a.rows(), b.cols(), a.cols()],
        variant: plan.variant_for(a, b),
    };
    // A column of C is a row of Cᵀ = Bᵀ·Aᵀ, and then A is the matrix that is streamed.
    if b.cols() == 1 && a.rows() > 1 && out.row_stride() == 1 && epilogue.is_none() && plan.variant.is_none() {
        let (a, b) = (b.transposed(), a.transposed());
        problem.a = a.raw();
        problem.b = RightOperand::View(b.raw());
        problem.shape = [1, b.cols(), a.cols()];
        problem.variant = Variant::choose(&a, &b);
    }
    // SAFETY: the views are checked and match; the output is borrowed for the call.
    unsafe { problem.run(plan, &[Offsets::default()]) };
    Ok(())
}

/// Where one product of a batch begins, elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offsets {
    /// First element of A. The same one repeated broadcasts.
    pub a: usize,
    /// First element of B. The same one repeated broadcasts.
    pub b: usize,
    /// First element of C.
    pub out: usize,
}

/// Products of one shape: `C_i = A_i · B_i`. The offsets of the views themselves are not used.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// Shape and strides of each A, `[m, k]`.
    pub a: Matrix<'a>,
    /// Shape and strides of each B, `[k, n]`.
    pub b: Matrix<'a>,
    /// Where each product begins.
    pub offsets: &'a [Offsets],
}

/// [`gemm`] for each product of a batch, in parallel over products and parts of products. Bias and residual are the same for each.
///
/// # Errors
/// As for [`gemm`]; [`GemmError::OutOfBounds`] where an offset leads outside; [`GemmError::Overlap`] where two outputs share elements.
pub fn gemm_batched(
    plan: &Plan,
    batch: &Batch<'_>,
    out: &mut OutMatrix<'_>,
    epilogue: &Epilogue<'_>,
) -> Result<(), GemmError> {
    let Batch { a, b, offsets } = batch;
    check("rows of B", a.cols(), b.rows())?;
    check("rows of the output", a.rows(), out.rows())?;
    check("columns of the output", b.cols(), out.cols())?;
    epilogue.check(out.rows(), out.cols())?;
    for at in *offsets {
        a.check_offset(at.a)?;
        b.check_offset(at.b)?;
        out.check_offset(at.out)?;
    }
    check_disjoint(out, offsets)?;
    // Offsets are from the start of the slices, and the problem from the views' own.
    let (a_raw, b_raw) = (a.raw(), b.raw());
    let problem = Problem {
        a: RawMatrix { data: a_raw.data.offset(-(a.offset() as isize)), ..a_raw },
        b: RightOperand::View(RawMatrix { data: b_raw.data.offset(-(b.offset() as isize)), ..b_raw }),
        sink: Sink::new(out, epilogue).offset(-(out.offset() as isize)),
        shape: [a.rows(), b.cols(), a.cols()],
        variant: plan.variant_for(a, b),
    };
    // SAFETY: the views are checked at each offset and match; the outputs are disjoint and borrowed for the call.
    unsafe { problem.run(plan, offsets) };
    Ok(())
}

/// Fails where two outputs share elements: they must be apart by a whole output, or lie in each other's gaps between rows.
fn check_disjoint(out: &OutMatrix<'_>, offsets: &[Offsets]) -> Result<(), GemmError> {
    let (rows, cols, stride) = (out.rows(), out.cols(), out.row_stride());
    if rows == 0 || cols == 0 {
        return Ok(());
    }
    let mut starts: Vec<usize> = offsets.iter().map(|at| at.out).collect();
    starts.sort_unstable();
    let nearest = starts.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap_or(usize::MAX);
    let whole = (rows - 1) * stride + cols;
    // Interleaved outputs: all begin within one row's stride, the columns of each before those of the next.
    let spread = starts.last().zip(starts.first()).map_or(0, |(last, first)| last - first);
    let interleaved = nearest >= cols && spread.saturating_add(cols) <= stride;
    if nearest >= whole || interleaved {
        return Ok(());
    }
    Err(GemmError::Overlap { what: "outputs of the batch", distance: nearest, needed: whole })
}

/// A checked product.
#[derive(Debug, Clone, Copy)]
pub(super) struct Problem {
    pub(super) a: RawMatrix,
    pub(super) b: RightOperand,
    pub(super) sink: Sink,
    /// `[m, n, k]`.
    pub(super) shape: [usize; 3],
    pub(super) variant: Variant,
}

impl Problem {
    /// Runs the product at each of `offsets`, in parallel over them and over parts of each.
    ///
    /// # Safety
    /// The operands are readable and the output writable for the shape at each offset; no two outputs share elements; `variant`
    /// applies; bias and residual fit.
    pub(super) unsafe fn run(&self, plan: &Plan, offsets: &[Offsets]) {
        let [m, n, k] = self.shape;
        if m == 0 || n == 0 || offsets.is_empty() {
            return;
        }
        // Reading B takes as long as multiplying it by several rows.
        let work = m.max(8).saturating_mul(n).saturating_mul(k.max(1)).saturating_mul(offsets.len());
        let threads = choose_threads(plan.launch.threads, work);
        let parts = choose_parts(threads, work).div_ceil(offsets.len());
        let pairs = PairIsa::choose(plan.launch.tier, self).inspect(|isa| isa.note_route());
        let tile = pairs.map_or_else(|| Tile::of(plan.launch.tier), PairIsa::tile);
        let kc = plan.blocking.fit(tile, m, n, k).kc;
        let shares = self.variant == Variant::Blocked
            && pairs.is_none()
            && parts > 1
            && offsets.len() == 1
            && shared_left::pays([m, k], tile.mr, kc, threads);
        let grid = Grid::choose(self, tile, parts, threads, shares);
        let run_part = |index: usize, left: Option<SharedLeft>| {
            let (at, region) = (offsets[index / grid.len()], grid.region(index % grid.len()));
            let b = match self.b {
                RightOperand::View(b) => RightOperand::View(RawMatrix { data: b.data.offset(at.b as isize), ..b }),
                panels @ RightOperand::Panels(_) => panels,
            };
            let part = Part {
                a: RawMatrix { data: self.a.data.offset(at.a as isize), ..self.a },
                b,
                left,
                depth: k,
                sink: self.sink.offset(at.out as isize),
                region,
                variant: self.variant,
                blocking: plan.blocking,
                prefetch: plan.prefetch,
            };
            // SAFETY: the caller's promise; regions of a grid tile the output without overlap and begin at whole panels.
            unsafe {
                match pairs {
                    Some(isa) => isa.multiply_part(&part),
                    None => plan.launch.tier.run(part.kernel()),
                }
            }
        };
        let launch = plan.launch.limit(threads);
        let run_all = |left: Option<SharedLeft>| {
            // Threads take parts as they come free: one that is held up takes fewer.
            let (next, total) = (AtomicUsize::new(0), grid.len() * offsets.len());
            launch.split(threads.min(total), 1, |turns| {
                for _ in turns {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        if index >= total {
                            break;
                        }
                        run_part(index, left);
                    }
                }
            });
        };
        match offsets {
            [at] if shares && grid.count[1] > 1 => {
                let a = RawMatrix { data: self.a.data.offset(at.a as isize), ..self.a };
                // SAFETY: the caller's promise for A; the tile is that of the tier.
                unsafe { SharedLeft::with(launch, a, [m, k], [tile.mr, kc], |left| run_all(Some(left))) }
            }
            _ => run_all(None),
        }
    }
}

/// A division of an output into rectangles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Grid {
    shape: [usize; 2],
    /// Rows and columns of a rectangle that is not at the edge.
    part: [usize; 2],
    /// Rectangles across rows and across columns.
    count: [usize; 2],
}

/// Multiply-adds that take as long as packing one element.
const PACKING_COST: usize = 16;

impl Grid {
    /// The grid of about `parts` rectangles that takes the least time: each packs its own rows of A and columns of B, so that a
    /// rectangle near a square packs least, and the last turn of the threads should be full.
    fn choose(problem: &Problem, tile: Tile, parts: usize, threads: usize, shares: bool) -> Self {
        let [m, n, _] = problem.shape;
        // Only columns are divided where rows are few; panels are whole in each part.
        let few = matches!(problem.variant, Variant::Dot | Variant::Axpy);
        let unit = if few { [m.max(1), PANEL] } else { [tile.mr, tile.nr] };
        let units = [m.div_ceil(unit[0]), n.div_ceil(unit[1])];
        let b_cost = if matches!(problem.b, RightOperand::View(_)) { PACKING_COST } else { PACKING_COST / 4 };
        let a_cost = if shares { 0 } else { PACKING_COST };
        let grid = |down: usize| {
            let across = parts.div_ceil(down).min(units[1]);
            let part = [units[0].div_ceil(down) * unit[0], units[1].div_ceil(across) * unit[1]];
            Self { shape: [m, n], part, count: [m.div_ceil(part[0]), n.div_ceil(part[1])] }
        };
        let cost = |grid: &Self| {
            let [rows, cols] = grid.part;
            let turns = grid.len().div_ceil(threads.max(1));
            turns * (rows * cols + rows * a_cost + cols * b_cost)
        };
        (1..=parts.min(units[0]).max(1)).map(grid).min_by_key(cost).unwrap_or_else(|| grid(1))
    }

    /// Number of rectangles.
    fn len(&self) -> usize {
        self.count[0] * self.count[1]
    }

    /// Rectangle `index`: down first, so that parts that run together share columns of B.
    fn region(&self, index: usize) -> Region {
        let (row, col) = (index % self.count[0] * self.part[0], index / self.count[0] * self.part[1]);
        Region { row, col, rows: self.part[0].min(self.shape[0] - row), cols: self.part[1].min(self.shape[1] - col) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{Floats, FloatsMut};

    /// Each element of the output lies in one part.
    #[test]
    fn grids_tile_the_output() {
        let mut c = [0.0f32];
        let a = Matrix::row_major(Floats::F32(&[0.0]), 1, 1).unwrap();
        let mut out = OutMatrix::row_major(FloatsMut::F32(&mut c), 1, 1).unwrap();
        let sink = Sink::new(&mut out, &Epilogue::default());
        let tile = Tile { mr: 6, nr: 16 };
        for variant in [Variant::Dot, Variant::Blocked] {
            for (m, n) in [(1, 1), (5, 100), (16, 17), (100, 3), (97, 203)] {
                for parts in [1, 2, 3, 7, 16, 1000] {
                    let b = RightOperand::View(a.raw());
                    let problem = Problem { a: a.raw(), b, sink, shape: [m, n, 9], variant };
                    let grid = Grid::choose(&problem, tile, parts, 4, parts % 2 == 0);
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
