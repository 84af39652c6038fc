//! The time of an algorithm, in cycles of one core, as far as it differs from another's.
//!
//! ```text
//! F = 16 / nr cycles a row and line of 16 columns: two multiply-adds a cycle
//! tiles = ⌈n / nr⌉, lines = tiles · nr / 16
//!
//! blocks      ⌈m / mr⌉ · mr · lines · k · F                   the tiles, whole ones
//!             + m · k · T   + n · k · (T | P | 0)             packing A and B: transposed, copied, or there
//!             + (2 · ⌈k / kc⌉ - 1) · m · n · 4 / C_RATE       sums that wait in C
//! strided     m · lines · k · F                               the tiles, of as many rows as there are
//!             + tiles · k · (2 | 0.75 a tile of rows)         what addresses of rows take, of 6 rows and of up to 4
//!             + lines · k · (2 | 4)                           B from L2 or L3 for the first tile of rows
//!             + lines · k · (0 to 4 a further tile of rows)   again, as far as L1 does not keep it
//!             + tiles · m · k / 5                             A, where L2 does not keep it
//!             + n · k · T                                     packing B, unless tiles read it in place
//! rows of B   m · lines · k · 2                               sums are loaded and stored
//! panels      lines · k · 2.5 · m                             panels are read again for every 4 rows
//! ```
//!
//! All numbers are fitted to medians of 9 to 21 runs on Zen 3 (AVX2, 32 KB / 512 KB / 32 MB), one thread, of some 150
//! shapes; the model errs by 10 to 20 percent. The last two lines hold for f32 on AVX2: other loops run elsewhere.
//! `nc`, which follows from the number of threads, has no part in it.

use crate::Caches;
use crate::gemm::{Blocking, GEMV_ROWS, Layout, ProductShape, Tile, Variant};
use crate::simd::{PANEL, Tier};

/// Bytes of C a cycle: rows of a tile are loaded and stored at strides that share sets of L1. (Fitted, with the rates
/// of analytic.rs, to products of 64 to 512 rows and depths of 512 to 6144 with `kc` of 256 to 2048, one thread and
/// two.)
const C_RATE: f64 = 4.0;

/// Packing an element whose vectors are transposed, and one that is copied, from L1 or L2.
const TRANSPOSE: f64 = 0.7;
const COPY: f64 = 0.25;

/// Packing an element of an operand beyond L2 takes so much more.
const FROM_L3: f64 = 0.5;

/// Reading A again from beyond L2, an element.
const STREAM: f64 = 0.2;

/// Cycles beyond the multiply-adds of a step of a strided tile, of 6 rows and of up to 4.
const TALL_STEP: f64 = 2.0;
const STEP: f64 = 0.75;

/// Bytes a cycle of a line that nothing prefetched, from L2 and from L3.
const L2_RATE: f64 = 32.0;
const L3_RATE: f64 = 16.0;

/// Bytes a cycle of a weight from memory.
const MEMORY_RATE: f64 = 7.0;

/// Tiles of rows that together prefetch all lines of the next columns: fewer leave much of their time exposed.
const PREFETCHING_TILES: usize = 3;

/// What a weight from memory takes then.
const UNPREFETCHED: f64 = 1.75;

/// Rows of B at multiples of so many bytes share few sets of L1, and the hardware's prefetch sees few of them a page.
const CONFLICT: usize = 1024;

/// Cycles of a row of A and a line of B by rows of B, and by panels.
const AXPY_STEP: f64 = 2.0;
const PANEL_STEP: f64 = 2.5;

/// Bytes of a line of 16 columns of f32.
const LINE: f64 = (PANEL * size_of::<f32>()) as f64;

/// What a product's time follows from.
#[derive(Debug, Clone, Copy)]
pub(super) struct CostModel {
    pub(super) shape: ProductShape,
    pub(super) tier: Tier,
    pub(super) tile: Tile,
    pub(super) caches: Caches,
}

impl CostModel {
    /// Cycles of the product by `variant`; `None` where the model knows nothing.
    pub(super) fn cycles(&self, variant: Variant, blocking: Blocking) -> Option<f64> {
        let ProductShape { m, a, b, layout, .. } = self.shape;
        let steps = self.lines() * self.shape.k as f64;
        // The loops of few rows were measured with f32 on AVX2.
        let known = m > GEMV_ROWS || (self.tier == Tier::Avx2 && a.is_f32() && b.is_f32());
        match variant {
            _ if !known || !variant.applies(&self.shape) => None,
            Variant::Dot if layout == Layout::Packed => Some(steps * self.panel_cycles()),
            Variant::Dot => None,
            Variant::Axpy => Some(steps * AXPY_STEP * m as f64),
            Variant::Unpacked => self.strided(),
            // The weight comes from memory. A plain one would be packed besides, which never paid.
            Variant::Blocked if m <= GEMV_ROWS && layout == Layout::Packed => {
                let prefetches = m.div_ceil(self.tile.mr) >= PREFETCHING_TILES;
                let memory = LINE / MEMORY_RATE * if prefetches { 1.0 } else { UNPREFETCHED };
                Some(self.blocked(blocking) + steps * memory)
            }
            Variant::Blocked => (m > GEMV_ROWS).then(|| self.blocked(blocking)),
        }
    }

    /// The time of the product's multiply-adds, or of reading B where that is more: what threads share.
    pub(super) fn shared_cycles(&self) -> f64 {
        let ProductShape { m, n, k, b, .. } = self.shape;
        let elements = n as f64 * k as f64;
        let arithmetic = m as f64 * elements * self.multiply_cycles() / PANEL as f64;
        arithmetic.max(elements * b.size() as f64 / MEMORY_RATE)
    }

    /// Cycles besides the multiply-adds that sums in C take with blocks of the depth `kc`.
    pub(super) fn partial_sums(&self, kc: usize) -> f64 {
        let ProductShape { m, n, k, .. } = self.shape;
        (2 * k.div_ceil(kc).max(1) - 1) as f64 * (m * n * size_of::<f32>()) as f64 / C_RATE
    }

    /// Cycles of a row of A and a line of B.
    fn multiply_cycles(&self) -> f64 {
        PANEL as f64 / self.tile.nr as f64
    }

    /// Lines of 16 columns, those of whole tiles.
    fn lines(&self) -> f64 {
        (self.shape.n.div_ceil(self.tile.nr) * self.tile.nr / PANEL) as f64
    }

    fn panel_cycles(&self) -> f64 {
        (PANEL_STEP * self.shape.m as f64).max(LINE / MEMORY_RATE)
    }

    /// Whether an operand of so many elements of f32 is beyond L2.
    fn beyond_l2(&self, elements: usize) -> bool {
        elements.saturating_mul(size_of::<f32>()) > self.caches.l2
    }

    fn blocked(&self, blocking: Blocking) -> f64 {
        let ProductShape { m, n, k, b, layout, .. } = self.shape;
        let (rows, depth) = ((m.div_ceil(self.tile.mr) * self.tile.mr) as f64, k as f64);
        let far = |elements| if self.beyond_l2(elements) { FROM_L3 } else { 0.0 };
        let pack_a = m as f64 * depth * (TRANSPOSE + far(m.saturating_mul(k)));
        let pack_b = match layout {
            Layout::Packed if b.is_f32() => 0.0,
            Layout::Packed | Layout::Rows => COPY + far(n.saturating_mul(k)),
            Layout::Columns | Layout::Strided => TRANSPOSE + far(n.saturating_mul(k)),
        };
        rows * self.lines() * depth * self.multiply_cycles()
            + pack_a
            + n as f64 * depth * pack_b
            + self.partial_sums(blocking.kc)
    }

    /// Of strided tiles; `None` where they come back to rows of B that L2 does not keep.
    fn strided(&self) -> Option<f64> {
        let ProductShape { m, n, k, b, layout, .. } = self.shape;
        let in_place = b.is_f32() && layout == Layout::Rows;
        let stride = n * size_of::<f32>();
        // (16 rows: B of 300 KB is 1.2 to 1.4 times as fast as by its rows; of 4 MB 1.2 times on a quiet machine, 0.4
        // to 0.7 where others use L3; of 9 MB 0.4.)
        if in_place && stride.saturating_mul(k) > self.caches.l2 / 4 * 3 {
            return None;
        }
        let (depth, tiles) = (k as f64, n.div_ceil(self.tile.nr) as f64);
        // Rows that would leave one or two behind are two tiles of 4 (microkernel.rs).
        let tall = if self.tile.mr != 6 { 0 } else { (m / 6).saturating_sub(usize::from(m % 6 == 1 || m % 6 == 2)) };
        let low = (m - 6 * tall).div_ceil(4);
        let panel = k.saturating_mul(self.tile.nr * size_of::<f32>());
        let far = self.beyond_l2(n.saturating_mul(k));
        let line = LINE / if far { L3_RATE } else { L2_RATE };
        let again = match () {
            () if in_place && stride.is_multiple_of(CONFLICT) => line,
            () if panel <= self.caches.l1d * 3 / 4 => 0.0,
            // Hardware prefetches half of it.
            () if panel <= self.caches.l2 / 4 => LINE / L2_RATE / 2.0,
            () => LINE / L2_RATE,
        };
        let steps = self.lines() * depth;
        let stream = if self.beyond_l2(m.saturating_mul(k)) { tiles * m as f64 * depth * STREAM } else { 0.0 };
        let pack = if in_place { 0.0 } else { n as f64 * depth * (TRANSPOSE + if far { FROM_L3 } else { 0.0 }) };
        Some(
            m as f64 * steps * self.multiply_cycles()
                + tiles * depth * (TALL_STEP * tall as f64 + STEP * low as f64)
                + steps * (line + again * (tall + low).saturating_sub(1) as f64)
                + stream
                + pack
                + (m * n * size_of::<f32>()) as f64 / C_RATE,
        )
    }
}
