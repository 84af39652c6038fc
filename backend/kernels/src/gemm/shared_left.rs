//! The left operand, packed once for every part of a product.
//!
//! Parts that lie beside each other multiply the same rows of A. Each could pack them for itself, which costs as much as 16
//! multiply-adds an element and each part: with many threads more than the product. So A is packed first, in parallel by panels, and then
//! the parts run, which only read it: two phases, each joined before the next, and nobody waits inside of one. A norm of the rows is
//! measured and applied in the first phase, while a panel of them is in the cache.
//!
//! ```text
//! for each panel of mr rows, for each block of kc of the depth     [depth][mr], padded to whole cache lines with room for the slack
//! ```

use super::left::{LeftOperand, Measure};
use super::packing::{SLACK, pack};
use super::pairs::PairIsa;
use crate::Caches;
use crate::Launch;
use crate::scratch::{Lent, round_to_line};
use crate::simd::{Isa, Kernel};
use core::ops::Range;

/// The largest packed operand, in L2 caches of the threads that share it: beyond it parts pack for themselves, as each then has much to do
/// with what it packed. (2 threads with 1 MB each, n = 1024 to 2048, against packing in each part: 1.02 to 1.08 at 1 to 4 MB, 1.00 at 5 MB, 0.92 to
/// 0.96 at 8 to 12 MB, 0.83 to 0.91 at 16 MB.)
const L2_CACHES: usize = 2;

/// Panels that one thread packs at a time.
const PANELS_PER_TURN: usize = 4;

/// How panels lie: what the register tile reads.
#[derive(Debug, Clone, Copy)]
pub(super) enum Layout {
    /// `[depth][mr]` of f32.
    Floats {
        /// Rows of a panel.
        mr: usize,
    },
    /// Pairs of bf16.
    Pairs(PairIsa),
}

impl Layout {
    /// Rows of a panel.
    fn rows(self) -> usize {
        match self {
            Self::Floats { mr } => mr,
            Self::Pairs(isa) => isa.rows(),
        }
    }

    /// Floats from one panel to the next.
    fn stride(self, depth: usize) -> usize {
        match self {
            Self::Floats { mr } => round_to_line(mr * depth + SLACK),
            Self::Pairs(isa) => round_to_line(isa.left_len(isa.rows(), depth)),
        }
    }
}

/// Where packed panels lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct SharedLeft {
    data: *mut f32,
    panels: usize,
    layout: Layout,
    kc: usize,
}

// SAFETY: an address and sizes; threads write disjoint panels in the first phase and only read in the second.
unsafe impl Send for SharedLeft {}
// SAFETY: as above.
unsafe impl Sync for SharedLeft {}

/// Floats of `rows` rows of depth `k` in blocks of `kc`.
fn packed_len([rows, k]: [usize; 2], layout: Layout, kc: usize) -> usize {
    let (whole, rest) = (k / kc, k % kc);
    let column = whole * layout.stride(kc) + if rest > 0 { layout.stride(rest) } else { 0 };
    rows.div_ceil(layout.rows()).saturating_mul(column)
}

/// Whether packing `[rows, k]` as a whole pays for `threads` threads.
pub(super) fn pays(shape: [usize; 2], layout: Layout, kc: usize, threads: usize) -> bool {
    let largest = L2_CACHES * threads * Caches::detect().l2;
    shape[1] > 0 && packed_len(shape, layout, kc) <= largest / size_of::<f32>()
}

impl SharedLeft {
    /// Packs `[rows, k]` in panels and blocks of `kc`, on the threads of `launch`, measuring rows first where `a` has scales, and calls `work` with
    /// them.
    ///
    /// # Safety
    /// `a` is readable for `rows` x `k`; the layout is that of the tier, and `measure` that of the scales of `a`.
    pub(super) unsafe fn with<R>(
        launch: Launch,
        a: LeftOperand,
        shape: [usize; 2],
        (layout, kc): (Layout, usize),
        measure: Option<&Measure<'_>>,
        work: impl FnOnce(Self) -> R,
    ) -> R {
        let mut lent = Lent::take(packed_len(shape, layout, kc));
        let left = Self { data: lent.as_mut_ptr(), panels: shape[0].div_ceil(layout.rows()), layout, kc };
        launch.split(left.panels, PANELS_PER_TURN, |panels| {
            for panel in panels {
                let rows = panel * layout.rows()..((panel + 1) * layout.rows()).min(shape[0]);
                if let Some(measure) = measure {
                    launch.tier.run(measure.of(rows.clone()));
                }
                let packing = PackPanel { left, a: a.from(rows.start, 0), rows: rows.len(), k: shape[1], panel };
                match layout {
                    Layout::Floats { .. } => launch.tier.run(packing),
                    // SAFETY: the caller's promise.
                    Layout::Pairs(isa) => packing.blocks().for_each(|(pc, depth, out)| unsafe {
                        isa.pack_left(packing.a.from(0, pc), [packing.rows, depth], out);
                    }),
                }
            }
        });
        work(left)
    }

    /// The panels from `row` (a multiple of a panel's rows) on, over the block of the depth that begins at `pc` and is `depth` deep, and the floats
    /// from one to the next.
    pub(super) fn block(&self, row: usize, pc: usize, depth: usize) -> (*const f32, usize) {
        let (at, stride) = self.place(row / self.layout.rows(), pc, depth);
        (self.data.wrapping_add(at).cast_const(), stride)
    }

    /// Where panel `panel` begins, floats, and the stride of its block.
    fn place(&self, panel: usize, pc: usize, depth: usize) -> (usize, usize) {
        let stride = self.layout.stride(depth);
        (pc / self.kc * self.panels * self.layout.stride(self.kc) + panel * stride, stride)
    }
}

/// One panel, over the whole depth. Only [`SharedLeft::with`] makes one, by its promise.
#[derive(Clone, Copy)]
struct PackPanel {
    left: SharedLeft,
    /// From the panel's first row on.
    a: LeftOperand,
    rows: usize,
    k: usize,
    panel: usize,
}

impl PackPanel {
    /// First step, depth and place of each block.
    fn blocks(self) -> impl Iterator<Item = (usize, usize, *mut f32)> {
        let blocks: Range<usize> = 0..self.k.div_ceil(self.left.kc);
        blocks.map(move |block| {
            let pc = block * self.left.kc;
            let depth = self.left.kc.min(self.k - pc);
            (pc, depth, self.left.data.wrapping_add(self.left.place(self.panel, pc, depth).0))
        })
    }
}

impl Kernel for PackPanel {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        for (pc, depth, out) in self.blocks() {
            // SAFETY: the promise of `SharedLeft::with`: A is readable, and the panel is as wide as this tier's; it has room for its slack.
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
            let layout = Layout::Floats { mr };
            let left = SharedLeft { data: core::ptr::null_mut(), panels: usize::div_ceil(rows, mr), layout, kc };
            let mut spans: Vec<_> = (0..k)
                .step_by(kc)
                .flat_map(|pc| (0..left.panels).map(move |panel| (pc, panel)))
                .map(|(pc, panel)| {
                    let depth = kc.min(k - pc);
                    let (at, _) = left.place(panel, pc, depth);
                    assert!(at.is_multiple_of(16));
                    (at, at + mr * depth + SLACK)
                })
                .collect();
            spans.sort_unstable();
            assert!(spans.windows(2).all(|pair| pair[0].1 <= pair[1].0));
            assert!(spans.last().is_some_and(|last| last.1 <= packed_len([rows, k], layout, kc)));
        }
    }
}
