//! The left operand, packed once for every part of a product.
//!
//! Parts that lie beside each other multiply the same rows of A. Each could pack them for itself, which costs as much as 16
//! multiply-adds an element and each part: with many threads more than the product. So A is packed first, in parallel by panels, and then
//! the parts run, which only read it: two phases, each joined before the next, and nobody waits inside of one.
//!
//! ```text
//! for each block of kc of the depth, for each panel of mr rows     [depth][mr], padded to whole cache lines with room for the slack
//! ```

use super::cache::Caches;
use super::packing::{SLACK, pack};
use super::raw::RawMatrix;
use super::scratch::round_to_line;
use crate::kernels::Launch;
use crate::memory::{Block, Pool};
use crate::simd::{Isa, Kernel};

/// The largest packed operand, in L2 caches of the threads that share it: beyond it parts pack for themselves, as each then has much to do
/// with what it packed. (2 threads with 1 MB each, n = 1024 to 2048, against packing in each part: 1.02 to 1.08 at 1 to 4 MB, 1.00 at 5 MB, 0.92 to
/// 0.96 at 8 to 12 MB, 0.83 to 0.91 at 16 MB.)
const L2_CACHES: usize = 2;

/// Panels that one thread packs at a time.
const PANELS_PER_TURN: usize = 4;

/// Where packed panels lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct SharedLeft {
    data: *mut f32,
    panels: usize,
    mr: usize,
    kc: usize,
}

// SAFETY: an address and sizes; threads write disjoint panels in the first phase and only read in the second.
unsafe impl Send for SharedLeft {}
// SAFETY: as above.
unsafe impl Sync for SharedLeft {}

/// Floats from one panel to the next.
fn panel_stride(mr: usize, depth: usize) -> usize {
    round_to_line(mr * depth + SLACK)
}

/// Floats of `rows` rows of depth `k` in blocks of `kc`.
fn packed_len([rows, k]: [usize; 2], mr: usize, kc: usize) -> usize {
    let (whole, rest) = (k / kc, k % kc);
    let column = whole * panel_stride(mr, kc) + if rest > 0 { panel_stride(mr, rest) } else { 0 };
    rows.div_ceil(mr).saturating_mul(column)
}

/// Whether packing `[rows, k]` as a whole pays for `threads` threads.
pub(super) fn pays([rows, k]: [usize; 2], mr: usize, kc: usize, threads: usize) -> bool {
    let largest = L2_CACHES * threads * Caches::detect().l2;
    k > 0 && packed_len([rows, k], mr, kc) <= largest / size_of::<f32>()
}

impl SharedLeft {
    /// Packs `[rows, k]` in panels of `mr` rows and blocks of `kc`, on the threads of `launch`, and calls `work` with them.
    ///
    /// # Safety
    /// `a` is readable for `rows` x `k`; `mr` is that of the tier.
    pub(super) unsafe fn with<R>(
        launch: Launch,
        a: RawMatrix,
        shape: [usize; 2],
        [mr, kc]: [usize; 2],
        work: impl FnOnce(Self) -> R,
    ) -> R {
        /// Gives the block back also where a part panics.
        struct Lent(Option<Block>);
        impl Drop for Lent {
            fn drop(&mut self) {
                if let Some(block) = self.0.take() {
                    Pool::global().put(block);
                }
            }
        }
        let mut lent = Lent(Some(Pool::global().take(packed_len(shape, mr, kc) * size_of::<f32>())));
        let data = lent.0.as_mut().map_or(core::ptr::null_mut(), |block| block.as_mut_slice().as_mut_ptr().cast());
        let left = Self { data, panels: shape[0].div_ceil(mr), mr, kc };
        launch.split(left.panels, PANELS_PER_TURN, |panels| {
            launch.tier.run(PackPanels { left, a, shape, panels });
        });
        work(left)
    }

    /// The panels from `row` (a multiple of `mr`) on, over the block of the depth that begins at `pc` and is `depth` deep, and the floats from
    /// one to the next.
    pub(super) fn block(&self, row: usize, pc: usize, depth: usize) -> (*const f32, usize) {
        let (at, stride) = self.place(row / self.mr, pc, depth);
        (self.data.wrapping_add(at).cast_const(), stride)
    }

    /// Where panel `panel` begins, floats, and the stride of its block.
    fn place(&self, panel: usize, pc: usize, depth: usize) -> (usize, usize) {
        let stride = panel_stride(self.mr, depth);
        (pc / self.kc * self.panels * panel_stride(self.mr, self.kc) + panel * stride, stride)
    }
}

/// Some panels, over the whole depth.
struct PackPanels {
    left: SharedLeft,
    a: RawMatrix,
    shape: [usize; 2],
    panels: core::ops::Range<usize>,
}

impl Kernel for PackPanels {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        let Self { left, a, shape: [rows, k], panels } = self;
        for pc in (0..k).step_by(left.kc) {
            let depth = left.kc.min(k - pc);
            for panel in panels.clone() {
                let row = panel * left.mr;
                let (at, _) = left.place(panel, pc, depth);
                // SAFETY: the promise of `SharedLeft::with`: A is readable, and `mr` is this tier's width; each panel has room for its slack.
                unsafe {
                    pack(isa, a.from(row, pc), [left.mr.min(rows - row), depth], I::MR, left.data.wrapping_add(at));
                }
            }
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
            let left = SharedLeft { data: core::ptr::null_mut(), panels: usize::div_ceil(rows, mr), mr, kc };
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
            assert!(spans.last().is_some_and(|last| last.1 <= packed_len([rows, k], mr, kc)));
        }
    }
}
