//! Panels of pairs of bf16, and their way to f32.

use crate::simd::{Isa, Kernel, PANEL};
use half::bf16;

/// Panels `[k / 2][16][2]` of bf16; a pair is counted as one `u32`.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct VnniPanels {
    /// The first pair.
    pub(in crate::gemm) data: *const u32,
    /// Pairs from one panel to the next.
    pub(in crate::gemm) stride: usize,
}

impl VnniPanels {
    /// Panels of depth `k` that begin at `data`.
    pub(in crate::gemm) fn new(data: *const bf16, k: usize) -> Self {
        Self { data: data.cast(), stride: k.div_ceil(2) * PANEL }
    }

    /// The panels from column `col` (a multiple of 16) and step `step` (even) of the depth on.
    #[inline(always)]
    pub(in crate::gemm) fn from(self, col: usize, step: usize) -> Self {
        debug_assert!(col.is_multiple_of(PANEL) && step.is_multiple_of(2));
        Self { data: self.data.wrapping_add(col / PANEL * self.stride + step / 2 * PANEL), ..self }
    }

    /// Widens `cols` columns rounded up to whole panels, `depth` steps of them, into panels `[depth][16]` of f32. A
    /// function of its own: it is called once a block.
    ///
    /// # Safety
    /// The panels hold them; `out` is writable for that many floats.
    #[inline(always)]
    pub(in crate::gemm) unsafe fn widen<I: Isa>(self, isa: I, [cols, depth]: [usize; 2], out: *mut f32) {
        isa.run(Widen { from: self, cols, depth, out });
    }
}

/// The arguments of [`VnniPanels::widen`].
#[derive(Debug, Clone, Copy)]
struct Widen {
    from: VnniPanels,
    cols: usize,
    depth: usize,
    out: *mut f32,
}

impl Kernel for Widen {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        let Self { from, cols, depth, mut out } = self;
        for col in (0..cols).step_by(PANEL) {
            let mut line = from.from(col, 0).data;
            for step in (0..depth).step_by(2) {
                for j in (0..PANEL).step_by(I::LANES) {
                    // SAFETY: by the `# Safety` clause of `widen`, line `step / 2` exists, and an odd depth has no
                    // second step.
                    unsafe {
                        let pairs = isa.load(line.add(j).cast());
                        isa.store(out.add(j), isa.even_bf16(pairs));
                        if step + 1 < depth {
                            isa.store(out.add(PANEL + j), isa.odd_bf16(pairs));
                        }
                    }
                }
                line = line.wrapping_add(PANEL);
                out = out.wrapping_add(PANEL * 2.min(depth - step));
            }
        }
    }
}
