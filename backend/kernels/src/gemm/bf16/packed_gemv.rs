//! Products of few bf16 rows with panels of pairs by `vdpbf16ps`: each panel is one stream of memory, read once for all
//! rows.
//!
//! ```text
//! for each panel of 16 columns
//!     for p in 0..k / 2
//!         b = panel[p]                       one line
//!         for i in 0..m
//!             acc[i] += A[i][p] · b          A's pair in every lane
//! ```
//!
//! All rows at once: a panel of depth 2048 is 64 KiB, more than an L1 cache, and would come from L2 for each further
//! group of rows.

use crate::gemm::bf16::pack::Bf16Source;
use crate::gemm::bf16::vectors::{PAIRS, Vectors};
use crate::gemm::gemv::left_rows::LINE_BYTES;
use crate::gemm::macro_kernel::part::ProductPart;
use crate::gemm::macro_kernel::store::Finish;
use crate::gemm::region::{Region, TilePlace};
use crate::gemm::variant::GEMV_ROWS;
use crate::gemm::vnni_panels::VnniPanels;
use crate::impossible::impossible;
use crate::scratch::{Scratch, round_to_line};
use crate::simd::{Avx512Bf16, Bf16Kernel, Isa, PANEL};

/// Few rows of pairs, contiguous and padded with zeros.
#[derive(Debug)]
pub(in crate::gemm) struct Bf16Rows {
    pub(in crate::gemm) data: *const u32,
    /// Pairs between rows.
    pub(in crate::gemm) stride: usize,
    _buffer: Scratch,
}

impl Bf16Rows {
    /// The first `rows` rows of `a`, and rows of zeros up to `padded`.
    ///
    /// # Safety
    /// `a` is readable for `rows` x `depth`.
    pub(in crate::gemm) unsafe fn copy(
        isa: Avx512Bf16,
        a: Bf16Source,
        [rows, depth]: [usize; 2],
        padded: usize,
    ) -> Self {
        // Whole registers of pairs, and a line more: rows a multiple of a page apart fall into the same few lines of
        // the L1 cache.
        let stride = round_to_line(depth.div_ceil(2)) + LINE_BYTES / size_of::<u32>();
        let mut buffer = Scratch::take(padded * stride);
        let out: *mut u32 = buffer.as_mut_ptr().cast();
        let shape = [rows, depth];
        match a {
            Bf16Source::Stored(from) => isa.run(CopyRows { from, shape, padded, out: (out, stride) }),
            Bf16Source::Rounded(from) => isa.run(CopyRows { from, shape, padded, out: (out, stride) }),
            Bf16Source::RoundedColumns(_) => impossible("columns of f32 reached an algorithm for few rows"),
        }
        Self { data: out, stride, _buffer: buffer }
    }
}

/// Copies rows of pairs. Only [`Bf16Rows::copy`] makes one, by its promise.
struct CopyRows<V> {
    from: V,
    shape: [usize; 2],
    padded: usize,
    out: (*mut u32, usize),
}

impl<V: Vectors> Bf16Kernel for CopyRows<V> {
    type Out = ();

    #[inline(always)]
    fn call(self, isa: Avx512Bf16) {
        let Self { from, shape: [rows, depth], padded, out: (out, stride) } = self;
        for i in 0..padded {
            for p in (0..stride).step_by(PAIRS) {
                let pairs = if i < rows && 2 * p < depth {
                    // SAFETY: by the `# Safety` clause of `copy`, those steps exist.
                    unsafe { from.load(isa, (i, 2 * p), (depth - 2 * p).min(2 * PAIRS)) }
                } else {
                    isa.base().splat(0.0)
                };
                // SAFETY: the buffer has `padded` x `stride` pairs, and a stride is whole registers.
                unsafe { isa.base().store(out.add(i * stride + p).cast(), pairs) };
            }
        }
    }
}

/// Products of the few rows of `part` with panels: of one operand (the first one), or of both if the product is gated.
///
/// # Safety
/// `part` keeps the promise of a [`ProductPart`]; `a` is A and `panels` are B.
pub(in crate::gemm) unsafe fn multiply(isa: Avx512Bf16, part: &ProductPart, a: Bf16Source, panels: [VnniPanels; 2]) {
    let Region { row, col, rows, cols } = part.region;
    debug_assert!(rows <= GEMV_ROWS && row == 0);
    let padded = pad_rows(rows);
    // SAFETY: `part` is as `ProductPart` says; `a` is A and `panels` are B (`# Safety` of `multiply`).
    let a = unsafe { Bf16Rows::copy(isa, a, [rows, part.depth], padded) };
    let (panels, ahead) = (panels.map(|panels| panels.from(col, 0)), part.prefetch_distance());
    isa.run(PanelStream { part, a: &a, panels, rows: padded, cols, ahead });
}

/// The number of rows that [`PanelStream`] is compiled for which holds `rows`.
fn pad_rows(rows: usize) -> usize {
    [1, 2, 3, 4, 6, 8, 12].into_iter().find(|&some| some >= rows).unwrap_or(GEMV_ROWS)
}

/// All panels of a part. Only [`multiply`] makes one, by its promise.
struct PanelStream<'a> {
    part: &'a ProductPart,
    a: &'a Bf16Rows,
    panels: [VnniPanels; 2],
    rows: usize,
    cols: usize,
    /// How far ahead a line is prefetched, bytes.
    ahead: usize,
}

impl Bf16Kernel for PanelStream<'_> {
    type Out = ();

    #[inline(always)]
    fn call(self, isa: Avx512Bf16) {
        // Enough sums to hide the latency of an addition.
        match self.rows {
            1 => self.run::<1, 8>(isa),
            2 => self.run::<2, 4>(isa),
            3 => self.run::<3, 4>(isa),
            4 => self.run::<4, 2>(isa),
            6 => self.run::<6, 2>(isa),
            8 => self.run::<8, 1>(isa),
            12 => self.run::<12, 1>(isa),
            _ => self.run::<16, 1>(isa),
        }
    }
}

impl PanelStream<'_> {
    /// `M` rows of A, with `U` sums each.
    #[inline(always)]
    fn run<const M: usize, const U: usize>(self, isa: Avx512Bf16) {
        let Self { part, a, panels, cols, ahead, .. } = self;
        let (base, pairs) = (isa.base(), part.depth.div_ceil(2));
        let factors = part.b.factors();
        let (mut tile, stride) = ([0.0f32; GEMV_ROWS * PANEL * 2], PANEL * factors);
        for j in (0..cols).step_by(PANEL) {
            for (half, panels) in panels.iter().enumerate().take(factors) {
                let panel = panels.from(j, 0).data;
                let mut acc = [[base.splat(0.0); M]; U];
                let mut p = 0;
                while p + U <= pairs {
                    for (u, sums) in acc.iter_mut().enumerate() {
                        // SAFETY: by the `# Safety` clause of `multiply`, line `p + u` of the panel, and as many pairs
                        // of each row.
                        unsafe { add_line(isa, (a, p + u), (panel, ahead), sums) };
                    }
                    p += U;
                }
                for p in p..pairs {
                    // SAFETY: by the `# Safety` clause of `multiply`, line `p` of the panel, and as many pairs of each
                    // row.
                    unsafe { add_line(isa, (a, p), (panel, ahead), &mut acc[0]) };
                }
                for i in 0..M {
                    let sum = acc[1..].iter().fold(acc[0][i], |sum, more| base.add(sum, more[i]));
                    // SAFETY: the tile has `GEMV_ROWS` rows of a panel for each operand.
                    unsafe { base.store(tile.as_mut_ptr().add(i * stride + half * PANEL), sum) };
                }
            }
            let region = Region { col: part.region.col + j, cols: PANEL.min(cols - j), ..part.region };
            // SAFETY: all rows of the tile were written; the region lies in the part's.
            base.run(unsafe { Finish::new(&part.store, tile.as_ptr(), stride, TilePlace::whole(region)) });
        }
    }
}

/// Line `p` of a panel times pair `p` of each row.
///
/// # Safety
/// They exist.
#[inline(always)]
unsafe fn add_line<const M: usize>(
    isa: Avx512Bf16,
    (a, p): (&Bf16Rows, usize),
    (panel, ahead): (*const u32, usize),
    sums: &mut [<crate::simd::Avx512 as Isa>::V; M],
) {
    let line = panel.wrapping_add(p * PANEL);
    isa.base().prefetch(line.cast::<u8>().wrapping_add(ahead));
    // SAFETY: the `# Safety` clause of `add_line`.
    unsafe {
        let b = isa.base().load(line.cast());
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum = isa.dot(*sum, isa.splat_pair(a.data.add(i * a.stride + p)), b);
        }
    }
}
