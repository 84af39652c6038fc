//! Checked products of one left operand, and the threads that run them.

use crate::gemm::bf16::Bf16Isa;
use crate::gemm::left::{LeftOperand, Measure};
use crate::gemm::macro_kernel::blocking::Tile;
use crate::gemm::macro_kernel::packed_left::PackedLeft;
use crate::gemm::macro_kernel::part::ProductPart;
use crate::gemm::plan::{PREFETCH_BYTES, Plan};
use crate::gemm::raw::RawMatrix;
use crate::gemm::region::Region;
use crate::gemm::right::RightOperand;
use crate::gemm::schedule::grid::{Grid, GridRequest};
use crate::gemm::schedule::offsets::Offsets;
use crate::gemm::schedule::raw_product::RawProduct;
use crate::gemm::schedule::run_part::run_part;
use crate::gemm::schedule::shared_left::{LeftLayout, LeftPacking, pays, with_packed_left};
use crate::gemm::split::{Split, Work};
use crate::gemm::variant::Variant;
use crate::probe::{Probe, report_state};
use core::sync::atomic::{AtomicUsize, Ordering};

/// Rows that one thread measures at a time.
const MEASURED_PER_TASK: usize = 16;

/// Products of one A, all by one algorithm: parts of all of them run side by side, and A is packed once for all.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct Problem<'a> {
    pub(in crate::gemm) a: LeftOperand,
    /// Computes the numbers of the rows that `a` has scales for.
    pub(in crate::gemm) measure: Option<&'a Measure<'a>>,
    pub(in crate::gemm) products: &'a [RawProduct],
    /// Rows and depth.
    pub(in crate::gemm) shape: [usize; 2],
    pub(in crate::gemm) variant: Variant,
    /// What multiplies where it is not f32 arithmetic.
    pub(in crate::gemm) bf16: Option<Bf16Isa>,
}

impl Problem<'_> {
    /// Runs the products at each of `offsets`, in parallel over them and over parts of each.
    ///
    /// # Safety
    /// The operands are readable and the outputs writable for the shape at each offset; no two outputs share elements;
    /// `variant` and `bf16` apply; bias and residual fit.
    pub(in crate::gemm) unsafe fn run(&self, plan: &Plan, offsets: &[Offsets]) {
        let [m, k] = self.shape;
        let n: usize = self.products.iter().map(|product| product.n * product.b.factors()).sum();
        if m == 0 || n == 0 || offsets.is_empty() {
            return;
        }
        let gemv = matches!(self.variant, Variant::Dot | Variant::Axpy);
        let Split { threads, parts } = match plan.split {
            Some(split) if offsets.len() == 1 => split.limit(plan.launch.threads),
            _ => Split::of(Work::of([m, n, k], offsets.len(), gemv), plan.launch.threads),
        };
        let parts = parts.div_ceil(offsets.len());
        if let Some(isa) = self.bf16 {
            isa.note_route();
        }
        report_state(Probe::Algorithm, self.variant as usize);
        if let ([product], [at], 1, None) = (self.products, offsets, parts, self.measure)
            && self.variant != Variant::Blocked
        {
            // A small product: what follows would take a good part of its time.
            let region = Region { row: 0, col: 0, rows: m, cols: product.n };
            // SAFETY: the operands are readable and the outputs writable for the shape at each offset (`# Safety` of
            // `Problem::run`).
            return unsafe { self.run_part(plan, product, *at, region, None) };
        }
        let tile = self.bf16.map_or_else(|| Tile::of(plan.launch.tier), Bf16Isa::tile);
        let (layout, kc) = match self.bf16 {
            Some(isa) => (LeftLayout::Bf16(isa), isa.fit(plan.blocking, [m, n, k]).kc),
            None => (LeftLayout::Floats { mr: tile.mr }, plan.blocking.fit(tile, m, n, k).kc),
        };
        let packing = LeftPacking { layout, kc };
        let grouped = parts > 1 || self.products.len() > 1;
        let shares =
            self.variant == Variant::Blocked && grouped && offsets.len() == 1 && pays([m, k], packing, threads);
        let grid = |product: &RawProduct| {
            let parts = (parts * product.n * product.b.factors()).div_ceil(n);
            (*product, Grid::choose(product, GridRequest { m, gemv, tile, parts, threads, shares }))
        };
        let grids: Vec<_> = self.products.iter().filter(|product| product.n > 0).map(grid).collect();
        let count: usize = grids.iter().map(|(_, grid)| grid.len()).sum();
        let run_part = |index: usize, left: Option<PackedLeft>| {
            let (at, mut index) = (offsets[index / count], index % count);
            for (product, grid) in &grids {
                if index >= grid.len() {
                    index -= grid.len();
                    continue;
                }
                // SAFETY: the operands are readable and the outputs writable for the shape at each offset (`# Safety`
                // of `Problem::run`); regions of a grid tile the output without overlap and begin at whole panels.
                return unsafe { self.run_part(plan, product, at, grid.region(index), left) };
            }
        };
        let launch = plan.launch.limit(threads);
        let run_all = |left: Option<PackedLeft>| {
            // Threads take parts as they come free: one that is held up takes fewer.
            let (next, total) = (AtomicUsize::new(0), count * offsets.len());
            launch.split(threads.min(total), 1, |workers| {
                for _ in workers {
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
                // SAFETY: A as the `# Safety` clause of `Problem::run` says; the layout is that of the tier.
                unsafe {
                    with_packed_left(launch, self.a_at(*at), [m, k], packing, self.measure, |left| run_all(Some(left)));
                }
            }
            _ => {
                if let Some(measure) = self.measure {
                    launch.split(m, MEASURED_PER_TASK, |rows| launch.tier.run(measure.of(rows)));
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
        product: &RawProduct,
        at: Offsets,
        region: Region,
        left: Option<PackedLeft>,
    ) {
        let part = ProductPart {
            a: self.a_at(at),
            b: match product.b {
                RightOperand::View(b) => RightOperand::View(RawMatrix { data: b.data.offset(at.b as isize), ..b }),
                panels => panels,
            },
            left,
            depth: self.shape[1],
            store: product.store.offset(at.out as isize),
            region,
            blocking: plan.blocking,
            prefetch: plan.launch.prefetch_bytes(PREFETCH_BYTES),
        };
        // SAFETY: the operands are readable and the outputs writable for the shape at each offset (`# Safety` of
        // `Problem::run`).
        unsafe {
            match self.bf16 {
                Some(isa) => isa.multiply_part(&part, self.variant),
                None => run_part(plan.launch.tier, part, self.variant),
            }
        }
    }

    /// A of one product of a batch.
    fn a_at(&self, at: Offsets) -> LeftOperand {
        let matrix = RawMatrix { data: self.a.matrix.data.offset(at.a as isize), ..self.a.matrix };
        LeftOperand { matrix, ..self.a }
    }
}
