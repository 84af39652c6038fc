//! Checked products of one left operand, and the threads that run them.

use super::blocking::Tile;
use super::driver::Offsets;
use super::grid::Grid;
use super::left::{LeftOperand, Measure};
use super::pairs::PairIsa;
use super::part::{Part, RightOperand};
use super::plan::{Plan, Variant, choose_parts, choose_threads};
use super::raw::RawMatrix;
use super::shared_left::{self, Layout, SharedLeft};
use super::sink::{Region, Sink};
use core::sync::atomic::{AtomicUsize, Ordering};

/// Rows that one thread measures at a time.
const MEASURED_PER_TURN: usize = 16;

/// A right operand and where its product goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct RawProduct {
    pub(super) b: RightOperand,
    pub(super) sink: Sink,
    /// Columns of the output.
    pub(super) n: usize,
}

/// Products of one A, all by one algorithm: parts of all of them run side by side, and A is packed once for all.
#[derive(Debug, Clone, Copy)]
pub(super) struct Problem<'a> {
    pub(super) a: LeftOperand,
    /// Computes the numbers of the rows that `a` has scales for.
    pub(super) measure: Option<&'a Measure<'a>>,
    pub(super) products: &'a [RawProduct],
    /// Rows and depth.
    pub(super) shape: [usize; 2],
    pub(super) variant: Variant,
    pub(super) pairs: Option<PairIsa>,
}

impl Problem<'_> {
    /// Runs the products at each of `offsets`, in parallel over them and over parts of each.
    ///
    /// # Safety
    /// The operands are readable and the outputs writable for the shape at each offset; no two outputs share elements; `variant` and
    /// `pairs` apply; bias and residual fit.
    pub(super) unsafe fn run(&self, plan: &Plan, offsets: &[Offsets]) {
        let [m, k] = self.shape;
        let n: usize = self.products.iter().map(|product| product.n * product.b.factors()).sum();
        if m == 0 || n == 0 || offsets.is_empty() {
            return;
        }
        // Reading B takes as long as multiplying it by several rows.
        let work = m.max(8).saturating_mul(n).saturating_mul(k.max(1)).saturating_mul(offsets.len());
        let threads = choose_threads(plan.launch.threads, work);
        let few = matches!(self.variant, Variant::Dot | Variant::Axpy);
        let parts = choose_parts(threads, work, ([m, n], offsets.len()), few).div_ceil(offsets.len());
        if let Some(isa) = self.pairs {
            isa.note_route();
        }
        if let ([product], [at], 1, None) = (self.products, offsets, parts, self.measure)
            && self.variant != Variant::Blocked
        {
            // A small product: what follows would take a good part of its time.
            let region = Region { row: 0, col: 0, rows: m, cols: product.n };
            // SAFETY: the caller's promise.
            return unsafe { self.run_part(plan, (product, *at), region, None) };
        }
        let tile = self.pairs.map_or_else(|| Tile::of(plan.launch.tier), PairIsa::tile);
        let (layout, kc) = match self.pairs {
            Some(isa) => (Layout::Pairs(isa), isa.fit(plan.blocking, [m, n, k]).kc),
            None => (Layout::Floats { mr: tile.mr }, plan.blocking.fit(tile, m, n, k).kc),
        };
        let several = parts > 1 || self.products.len() > 1;
        let shares = self.variant == Variant::Blocked
            && several
            && offsets.len() == 1
            && shared_left::pays([m, k], layout, kc, threads);
        let grid = |product: &RawProduct| {
            let parts = (parts * product.n * product.b.factors()).div_ceil(n);
            (*product, Grid::choose(product, (m, few), tile, [parts, threads], shares))
        };
        let grids: Vec<_> = self.products.iter().filter(|product| product.n > 0).map(grid).collect();
        let count: usize = grids.iter().map(|(_, grid)| grid.len()).sum();
        let run_part = |index: usize, left: Option<SharedLeft>| {
            let (at, mut index) = (offsets[index / count], index % count);
            for (product, grid) in &grids {
                if index >= grid.len() {
                    index -= grid.len();
                    continue;
                }
                // SAFETY: the caller's promise; regions of a grid tile the output without overlap and begin at whole panels.
                return unsafe { self.run_part(plan, (product, at), grid.region(index), left) };
            }
        };
        let launch = plan.launch.limit(threads);
        let run_all = |left: Option<SharedLeft>| {
            // Threads take parts as they come free: one that is held up takes fewer.
            let (next, total) = (AtomicUsize::new(0), count * offsets.len());
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
        let columns: usize = grids.iter().map(|(_, grid)| grid.count[1]).sum();
        match offsets {
            [at] if shares && columns > 1 => {
                let packing = (layout, kc);
                // SAFETY: the caller's promise for A; the layout is that of the tier.
                unsafe {
                    SharedLeft::with(launch, self.a_at(*at), [m, k], packing, self.measure, |left| run_all(Some(left)));
                }
            }
            _ => {
                if let Some(measure) = self.measure {
                    launch.split(m, MEASURED_PER_TURN, |rows| launch.tier.run(measure.of(rows)));
                }
                run_all(None);
            }
        }
    }

    /// Runs a rectangle of one product at `at`.
    ///
    /// # Safety
    /// As for [`Problem::run`]; no other thread writes the rectangle, which begins at a whole panel.
    unsafe fn run_part(
        &self,
        plan: &Plan,
        (product, at): (&RawProduct, Offsets),
        region: Region,
        left: Option<SharedLeft>,
    ) {
        let part = Part {
            a: self.a_at(at),
            b: match product.b {
                RightOperand::View(b) => RightOperand::View(RawMatrix { data: b.data.offset(at.b as isize), ..b }),
                panels => panels,
            },
            left,
            depth: self.shape[1],
            sink: product.sink.offset(at.out as isize),
            region,
            variant: self.variant,
            blocking: plan.blocking,
            prefetch: plan.prefetch,
        };
        // SAFETY: the caller's promise.
        unsafe {
            match self.pairs {
                Some(isa) => isa.multiply_part(&part),
                None => plan.launch.tier.run(part.kernel()),
            }
        }
    }

    /// A of one product of a batch.
    fn a_at(&self, at: Offsets) -> LeftOperand {
        let matrix = RawMatrix { data: self.a.matrix.data.offset(at.a as isize), ..self.a.matrix };
        LeftOperand { matrix, ..self.a }
    }
}
