//! The left operand, packed once for every part of a product.
//!
//! Neighbouring parts multiply the same rows of A. Each could pack them for itself, which costs as much
//! as 16 multiply-adds an element and each part: with many threads more than the product. So A is packed first, in
//! parallel by panels, and then the parts run, which only read it: two phases, each joined before the next, and nobody
//! waits inside of one. A norm of the rows is measured and applied in the first phase, while a panel of them is in the
//! cache.
//!
//! Where there are blocks of rows for every thread, or A is beyond the caches, each thread packs for itself instead, a
//! block before the first part that it takes of it: the block is in its own L2 cache then.

use crate::Caches;
use crate::Launch;
use crate::gemm::bf16::Bf16Isa;
use crate::gemm::left::{LeftOperand, Measure};
use crate::gemm::macro_kernel::packed_left::PackedLeft;
use crate::gemm::macro_kernel::packing::{SLACK, pack};
use crate::scratch::{PooledScratch, round_to_line};
use crate::simd::{Isa, Kernel, Tier};
use core::ops::Range;

/// The largest packed operand, in L2 caches of the threads that share it: beyond it threads pack for themselves, as
/// each then has much to do with what it packed. (2 threads with 1 MB each, n = 1024 to 2048, against packing in each
/// part: 1.02 to 1.08 at 1 to 4 MB, 1.00 at 5 MB, 0.92 to 0.96 at 8 to 12 MB, 0.83 to 0.91 at 16 MB.)
const L2_CACHES: usize = 2;

/// Panels that one thread packs at a time.
const PANELS_PER_TASK: usize = 4;

/// The layout of panels: what the register tile reads.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) enum LeftLayout {
    /// `[depth][mr]` of f32.
    Floats {
        /// Rows of a panel.
        mr: usize,
    },
    /// Pairs of bf16.
    Bf16(Bf16Isa),
}

impl LeftLayout {
    /// Rows of a panel.
    fn rows(self) -> usize {
        match self {
            Self::Floats { mr } => mr,
            Self::Bf16(isa) => isa.rows(),
        }
    }

    /// Floats from one panel to the next.
    fn stride(self, depth: usize) -> usize {
        match self {
            Self::Floats { mr } => round_to_line(mr * depth + SLACK),
            Self::Bf16(isa) => round_to_line(isa.left_len(isa.rows(), depth)),
        }
    }
}

/// How A is packed for all parts: the layout of panels, and the depth of a block.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct LeftPacking {
    pub(in crate::gemm) layout: LeftLayout,
    pub(in crate::gemm) kc: usize,
}

impl LeftPacking {
    /// The places of the panels of `[rows, k]` from `first_row` on in a buffer that begins at `data`.
    fn place(self, first_row: usize, [rows, k]: [usize; 2], data: *mut f32) -> PackedLeft {
        let Self { layout, kc } = self;
        let panel_rows = layout.rows();
        let strides = [kc, k % kc].map(|depth| layout.stride(depth));
        PackedLeft { data, first_row, panels: rows.div_ceil(panel_rows), panel_rows, kc, strides }
    }
}

/// Floats of `rows` rows of depth `k` in blocks of `kc`.
fn packed_len([rows, k]: [usize; 2], LeftPacking { layout, kc }: LeftPacking) -> usize {
    let (whole, rest) = (k / kc, k % kc);
    let column = whole * layout.stride(kc) + if rest > 0 { layout.stride(rest) } else { 0 };
    rows.div_ceil(layout.rows()).saturating_mul(column)
}

/// Whether packing `[rows, k]` as a whole pays for `threads` threads.
pub(in crate::gemm) fn pays(shape: [usize; 2], packing: LeftPacking, threads: usize) -> bool {
    let largest = L2_CACHES * threads * Caches::detect().l2;
    shape[1] > 0 && packed_len(shape, packing) <= largest / size_of::<f32>()
}

/// Packs `[rows, k]` in panels and blocks of the depth, on the threads of `launch`, measuring rows first where `a` has
/// scales, and calls `work` with them.
///
/// # Safety
/// `a` is readable for `rows` x `k`; the layout is that of the tier, and `measure` that of the scales of `a`.
pub(in crate::gemm) unsafe fn with_packed_left<R>(
    launch: Launch,
    a: LeftOperand,
    shape: [usize; 2],
    packing: LeftPacking,
    measure: Option<&Measure<'_>>,
    work: impl FnOnce(PackedLeft) -> R,
) -> R {
    let mut scratch = PooledScratch::take(packed_len(shape, packing));
    let left = packing.place(0, shape, scratch.as_mut_ptr());
    launch.split(left.panels, PANELS_PER_TASK, |panels| {
        for panel in panels {
            let panel = PackPanel::new(left, a, shape, panel);
            if let Some(measure) = measure {
                let first = panel.panel * left.panel_rows;
                launch.tier.run(measure.of(first..first + panel.rows));
            }
            // SAFETY: A as the `# Safety` clause of `with_packed_left` says; `packed_len` has room for each panel.
            unsafe { panel.pack(launch.tier, packing.layout) };
        }
    });
    work(left)
}

/// Rows of A that one thread packed for itself, over the whole depth: those of a block, for all parts that it takes of
/// it.
#[derive(Debug)]
pub(in crate::gemm) struct OwnLeft {
    scratch: Option<PooledScratch>,
    /// What is packed: a product of a batch and its rows.
    held: Option<(usize, Range<usize>, PackedLeft)>,
}

impl OwnLeft {
    /// Nothing yet.
    pub(in crate::gemm) fn new() -> Self {
        Self { scratch: None, held: None }
    }

    /// The rows `rows` of `a`, `k` deep, that of product `number` of the batch, packed now or before.
    ///
    /// # Safety
    /// `a` is readable for them, and rows that have scales were measured; the layout is that of the tier. Tier and
    /// packing are the same in each call, and calls with one number are of one A.
    pub(in crate::gemm) unsafe fn pack(
        &mut self,
        tier: Tier,
        a: LeftOperand,
        (number, rows, k): (usize, Range<usize>, usize),
        packing: LeftPacking,
    ) -> PackedLeft {
        if let Some((held_number, held_rows, left)) = &self.held
            && (*held_number, held_rows) == (number, &rows)
        {
            return *left;
        }
        let shape = [rows.len(), k];
        let len = packed_len(shape, packing);
        self.scratch = self.scratch.take().filter(|scratch| scratch.len() >= len);
        let scratch = self.scratch.get_or_insert_with(|| PooledScratch::take(len));
        let left = packing.place(rows.start, shape, scratch.as_mut_ptr());
        for panel in 0..left.panels {
            // SAFETY: the `# Safety` clause of `OwnLeft::pack`; `packed_len` has room for each panel.
            unsafe { PackPanel::new(left, a.from(rows.start, 0), shape, panel).pack(tier, packing.layout) };
        }
        self.held = Some((number, rows, left));
        left
    }
}

/// One panel, over the whole depth.
#[derive(Clone, Copy)]
struct PackPanel {
    left: PackedLeft,
    /// From the panel's first row on.
    a: LeftOperand,
    rows: usize,
    k: usize,
    panel: usize,
}

impl PackPanel {
    /// Panel `panel` of `a`, `[rows, k]`.
    fn new(left: PackedLeft, a: LeftOperand, [rows, k]: [usize; 2], panel: usize) -> Self {
        let first = panel * left.panel_rows;
        Self { left, a: a.from(first, 0), rows: left.panel_rows.min(rows - first), k, panel }
    }

    /// Packs it.
    ///
    /// # Safety
    /// A is readable for the panel, and measured where it has scales; the layout is that of `tier` and of the buffer,
    /// which has room.
    unsafe fn pack(self, tier: Tier, layout: LeftLayout) {
        match layout {
            LeftLayout::Floats { .. } => tier.run(self),
            // SAFETY: the `# Safety` clause of `PackPanel::pack`.
            LeftLayout::Bf16(isa) => self.blocks().for_each(|(pc, depth, out)| unsafe {
                isa.pack_left(self.a.from(0, pc), [self.rows, depth], out);
            }),
        }
    }

    /// First step, depth and place of each block.
    fn blocks(self) -> impl Iterator<Item = (usize, usize, *mut f32)> {
        let blocks: Range<usize> = 0..self.k.div_ceil(self.left.kc);
        blocks.map(move |block| {
            let pc = block * self.left.kc;
            let depth = self.left.kc.min(self.k - pc);
            (pc, depth, self.left.data.wrapping_add(self.left.place(self.panel, pc, depth).at))
        })
    }
}

impl Kernel for PackPanel {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        for (pc, depth, out) in self.blocks() {
            // SAFETY: by the `# Safety` clause of `PackPanel::pack`, A is readable, and the panel is as wide as this
            // tier's; it has room for its slack.
            unsafe { pack(isa, self.a.from(0, pc), [self.rows, depth], I::MR, out) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No panel reaches into another one or past the end.
    #[test]
    fn panels_tile_the_buffer() {
        for (rows, k, mr, kc) in [(1, 1, 6, 4), (100, 300, 14, 152), (28, 704, 14, 704), (13, 1409, 2, 704)] {
            let packing = LeftPacking { layout: LeftLayout::Floats { mr }, kc };
            let left = packing.place(0, [rows, k], core::ptr::null_mut());
            let mut spans: Vec<_> = (0..k)
                .step_by(kc)
                .flat_map(|pc| (0..left.panels).map(move |panel| (pc, panel)))
                .map(|(pc, panel)| {
                    let depth = kc.min(k - pc);
                    let at = left.place(panel, pc, depth).at;
                    assert!(at.is_multiple_of(16));
                    (at, at + mr * depth + SLACK)
                })
                .collect();
            spans.sort_unstable();
            assert!(spans.windows(2).all(|pair| pair[0].1 <= pair[1].0));
            assert!(spans.last().is_some_and(|last| last.1 <= packed_len([rows, k], packing)));
        }
    }
}
