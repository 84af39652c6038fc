//! Checked products of one left operand, and the threads that run them.

use crate::gemm::bf16::Bf16Isa;
use crate::gemm::left::{LeftOperand, Measure};
use crate::gemm::macro_kernel::blocking::{Blocking, Tile};
use crate::gemm::macro_kernel::packed_left::PackedLeft;
use crate::gemm::macro_kernel::part::ProductPart;
use crate::gemm::plan::{PREFETCH_BYTES, Plan};
use crate::gemm::raw::{RawFloats, RawMatrix};
use crate::gemm::region::Region;
use crate::gemm::right::RightOperand;
use crate::gemm::schedule::grid::{Grid, GridRequest};
use crate::gemm::schedule::offsets::Offsets;
use crate::gemm::schedule::queue::Queue;
use crate::gemm::schedule::raw_product::RawProduct;
use crate::gemm::schedule::run_part::run_part;
use crate::gemm::schedule::shared_left::{LeftLayout, LeftPacking, OwnLeft, pays, with_packed_left};
use crate::gemm::split::{Split, Work};
use crate::gemm::variant::Variant;
use crate::impossible::impossible;
use crate::probe::{Probe, report_state};
use core::ops::Range;

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
        let split = match plan.split {
            Some(split) if offsets.len() == 1 => split.limit(plan.launch.threads),
            _ => Split::of(Work::of([m, n, k], offsets.len(), gemv), plan.launch.threads),
        };
        // Blocks of panels that are multiplied where they lie are small parts; others pack their columns of B.
        let in_place = split.threads > 1 && self.multiplies_in_place();
        let Split { threads, parts } =
            if in_place || gemv { split } else { split.of_packing_parts([m, n], offsets.len()) };
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
        let blocking = |n: usize| match self.bf16 {
            Some(isa) => isa.fit(plan.blocking, [m, n, k]),
            None => plan.blocking.fit(tile, m, n, k),
        };
        let layout = self.bf16.map_or(LeftLayout::Floats { mr: tile.mr }, LeftLayout::Bf16);
        let packing = LeftPacking { layout, kc: blocking(n).kc };
        let grouped = parts > 1 || self.products.len() > 1;
        // Where each thread has blocks of rows of its own it packs them itself, into its own L2, and nobody waits.
        let owns =
            in_place && self.products.len() == 1 && self.measure.is_none() && m.div_ceil(blocking(n).mc) >= threads;
        let shares = self.variant == Variant::Blocked
            && grouped
            && offsets.len() == 1
            && !owns
            && pays([m, k], packing, threads);
        let grid = |product: &RawProduct| {
            let factors = product.b.factors();
            let parts = (parts * product.n * factors).div_ceil(n);
            let grid = if in_place {
                let blocking = blocking(product.n);
                let blocking = Blocking { nc: blocking.nc / factors, ..blocking };
                Grid::of_blocks([m, product.n], tile, blocking, parts)
            } else {
                Grid::choose(product, GridRequest { m, gemv, tile, parts, threads, shares })
            };
            (*product, grid)
        };
        let grids: Vec<_> = self.products.iter().filter(|product| product.n > 0).map(grid).collect();
        let count: usize = grids.iter().map(|(_, grid)| grid.len()).sum();
        // The product that part `index` is of, its first part, and its grid.
        let find = |index: usize| {
            let (number, mut first) = (index / count, index / count * count);
            for (product, grid) in &grids {
                if index - first < grid.len() {
                    return (number, first, product, grid);
                }
                first += grid.len();
            }
            impossible("a part of no product")
        };
        let together = |index: usize| {
            let (_, first, _, grid) = find(index);
            let Range { start, end } = grid.together(index - first);
            first + start..first + end
        };
        let run_parts = |parts: Range<usize>, shared: Option<PackedLeft>, own: &mut OwnLeft| {
            let (number, first, product, grid) = find(parts.start);
            let (at, region) = (offsets[number], grid.region(parts.start - first..parts.end - first));
            // SAFETY: the operands are readable and the outputs writable for the shape at each offset (`# Safety` of
            // `Problem::run`); rows were measured before; one `own` meets one packing; regions of a grid tile the
            // output without overlap and begin at whole panels.
            unsafe {
                let rows = region.row..region.row + region.rows;
                let left = match shared {
                    None if in_place => Some(own.pack(plan.launch.tier, self.a_at(at), (number, rows, k), packing)),
                    shared => shared,
                };
                self.run_part(plan, product, at, region, left);
            }
        };
        let launch = plan.launch.limit(threads);
        let run_all = |shared: Option<PackedLeft>| {
            let total = count * offsets.len();
            let queue = Queue::new(total, threads.min(total));
            launch.split(threads.min(total), 1, |workers| {
                let mut own = OwnLeft::new();
                for worker in workers {
                    while let Some(parts) = queue.take(worker, together) {
                        run_parts(parts, shared, &mut own);
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
            columns: product.n,
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

    /// Whether packed blocks of A meet panels of B as they lie in memory.
    fn multiplies_in_place(&self) -> bool {
        let in_place = |product: &RawProduct| match product.b {
            RightOperand::View(_) => false,
            RightOperand::Panels(data) | RightOperand::Gated([data, _]) => {
                self.bf16.is_some() || matches!(data, RawFloats::F32(_))
            }
        };
        self.variant == Variant::Blocked && self.products.iter().all(in_place)
    }

    /// A of one product of a batch.
    fn a_at(&self, at: Offsets) -> LeftOperand {
        let matrix = RawMatrix { data: self.a.matrix.data.offset(at.a as isize), ..self.a.matrix };
        LeftOperand { matrix, ..self.a }
    }
}
