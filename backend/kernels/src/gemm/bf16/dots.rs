//! The register tile of `vdpbf16ps`: that of f32 (microkernel.rs) with pairs in place of floats.
//!
//! ```text
//! for p in 0..k / 2
//!     b[0..2] = B[p][0..32]                    pairs
//!     for r in 0..14
//!         acc[r][0..2] += A[r][p] · b[0..2]    A's pair in every lane
//! ```

use crate::gemm::bf16::block::{Bf16Block, Bf16PrefetchHint};
use crate::gemm::macro_kernel::store::Finish;
use crate::gemm::region::{Region, TilePlace};
use crate::simd::{Avx512Bf16, Bf16Kernel, Isa, PANEL};
use core::mem::MaybeUninit;

/// Rows of the tile: 28 accumulators, 2 registers of B, 1 broadcast of A.
pub(in crate::gemm) const DOT_ROWS: usize = 14;

/// Lines of B in one iteration of the loop.
const UNROLL: usize = 4;

/// Columns of the tile.
const DOT_COLS: usize = 2 * PANEL;

/// The two inner loops of a product: a micropanel of B stays in the L1 cache while those of A pass by.
///
/// # Safety
/// As for `Bf16Blocks::multiply` (blocks.rs).
#[inline(always)]
pub(in crate::gemm) unsafe fn multiply(isa: Avx512Bf16, block: &Bf16Block<'_>) {
    let Region { row, col, rows, cols } = block.region;
    let pairs = block.depth.div_ceil(2);
    let width = block.width();
    for jr in (0..cols).step_by(width) {
        let b = block.panels(jr);
        let tiles = rows.div_ceil(DOT_ROWS);
        for tile in 0..tiles {
            let ir = tile * DOT_ROWS;
            let a = block.a.wrapping_add(tile * block.a_stride);
            let region =
                Region { row: row + ir, col: col + jr, rows: DOT_ROWS.min(rows - ir), cols: width.min(cols - jr) };
            let hint = block.prefetch_hint(jr, ir..(ir + DOT_ROWS).min(rows));
            isa.run(DotTile { a, b, pairs, hint, block: &Bf16Block { region, ..*block } });
        }
    }
}

/// One tile. Only [`multiply`] makes one, by its promise.
#[derive(Debug, Clone, Copy)]
struct DotTile<'a> {
    a: *const u32,
    b: [*const u32; 2],
    pairs: usize,
    hint: Bf16PrefetchHint,
    /// Its region is that of the tile.
    block: &'a Bf16Block<'a>,
}

impl Bf16Kernel for DotTile<'_> {
    type Out = ();

    /// Runs the smallest tile that holds the region.
    #[inline(always)]
    fn call(self, isa: Avx512Bf16) {
        let Region { rows, cols, .. } = self.block.region;
        let wide = self.block.store.takes_second(cols, PANEL);
        // SAFETY: the panels of A hold the rows of the region and those of B its columns, over the depth; the region is
        // as `Store::finish` needs it (`# Safety` of `multiply`); each tile holds the region.
        unsafe {
            match (rows, wide) {
                (9.., true) => self.run::<14, 2>(isa),
                (5.., true) => self.run::<8, 2>(isa),
                (_, true) => self.run::<4, 2>(isa),
                (9.., false) => self.run::<14, 1>(isa),
                (_, false) => self.run::<8, 1>(isa),
            }
        }
    }
}

impl DotTile<'_> {
    /// Multiplies in a tile of `ROWS` rows and `REGS` registers, and stores.
    ///
    /// # Safety
    /// As for [`multiply`]; `ROWS` and `REGS` hold the region.
    #[inline(always)]
    unsafe fn run<const ROWS: usize, const REGS: usize>(self, isa: Avx512Bf16) {
        let Bf16Block { region, depth_block, store, .. } = *self.block;
        let base = isa.base();
        let plain = store.plain(region.row, region.col, depth_block);
        if let Some((c, stride)) = plain
            && self.block.prefetch
        {
            for r in 0..region.rows {
                base.prefetch(c.wrapping_offset(r as isize * stride).cast());
                base.prefetch(c.wrapping_offset(r as isize * stride + PANEL as isize).cast());
            }
        }
        // SAFETY: the panels of A hold the rows of the region and those of B its columns, over the depth; the region is
        // as `Store::finish` needs it (`# Safety` of `BlockKernel::multiply`).
        let acc = unsafe { self.multiply::<ROWS, REGS>(isa) };
        if let Some((c, stride)) = plain
            && region.rows == ROWS
            && region.cols * store.factors() == REGS * PANEL
        {
            for (r, row) in acc.iter().enumerate() {
                for (j, &sum) in row.iter().enumerate() {
                    // SAFETY: the region is whole, so all of its registers lie within the output.
                    unsafe {
                        let at = c.offset(r as isize * stride).add(j * PANEL);
                        base.store(at, if depth_block.first { sum } else { base.add(base.load(at), sum) });
                    }
                }
            }
            return;
        }
        let mut tile = MaybeUninit::<[f32; DOT_ROWS * DOT_COLS]>::uninit();
        let at: *mut f32 = tile.as_mut_ptr().cast();
        for (r, row) in acc.iter().enumerate() {
            for (j, &sum) in row.iter().enumerate() {
                // SAFETY: ROWS · REGS · 16 is at most the array's length.
                unsafe { base.store(at.add((r * REGS + j) * PANEL), sum) };
            }
        }
        // SAFETY: the tile was just written; the region as the `# Safety` clause of `BlockKernel::multiply` says.
        base.run(unsafe { Finish::new(store, at, REGS * PANEL, TilePlace { region, depth_block }) });
    }

    /// The loop over the depth.
    ///
    /// # Safety
    /// As for [`DotTile::run`].
    #[inline(always)]
    unsafe fn multiply<const ROWS: usize, const REGS: usize>(
        self,
        isa: Avx512Bf16,
    ) -> [[<crate::simd::Avx512 as Isa>::V; REGS]; ROWS] {
        let Self { a, b, pairs, hint, .. } = self;
        let base = isa.base();
        let mut acc = [[base.splat(0.0); REGS]; ROWS];
        let (mut a, mut lines) = (a, b);
        let iterations = pairs / UNROLL;
        let (mut at, step) = (hint.at, hint.bytes / iterations.max(1));
        for _ in 0..iterations {
            for p in &mut at {
                base.prefetch(*p);
                *p = p.wrapping_add(step);
            }
            for _ in 0..UNROLL {
                // SAFETY: the panels of A hold the rows of the region and those of B its columns, over the depth; the
                // region is as `Store::finish` needs it (`# Safety` of `BlockKernel::multiply`), at each line of the
                // panels.
                unsafe { add_line(isa, a, &lines, &mut acc) };
                (a, lines) = (a.wrapping_add(DOT_ROWS), lines.map(|line| line.wrapping_add(PANEL)));
            }
        }
        for _ in 0..pairs % UNROLL {
            // SAFETY: the panels of A hold the rows of the region and those of B its columns, over the depth; the
            // region is as `Store::finish` needs it (`# Safety` of `BlockKernel::multiply`), at each of the last lines
            // of the panels.
            unsafe { add_line(isa, a, &lines, &mut acc) };
            (a, lines) = (a.wrapping_add(DOT_ROWS), lines.map(|line| line.wrapping_add(PANEL)));
        }
        acc
    }
}

/// One line of each panel of B: `acc[r] += a[r] · b[..]`.
///
/// # Safety
/// `a` is readable for `ROWS` pairs, `b` for a line in each of `REGS` panels.
#[inline(always)]
unsafe fn add_line<const ROWS: usize, const REGS: usize>(
    isa: Avx512Bf16,
    a: *const u32,
    b: &[*const u32; 2],
    acc: &mut [[<crate::simd::Avx512 as Isa>::V; REGS]; ROWS],
) {
    // SAFETY: `a` is readable for `ROWS` pairs, `b` for a line in each of `REGS` panels (`# Safety` of `add_line`).
    unsafe {
        let lines: [_; REGS] = core::array::from_fn(|j| isa.base().load(b[j].cast()));
        for (r, sums) in acc.iter_mut().enumerate() {
            let x = isa.splat_pair(a.add(r));
            for (sum, &v) in sums.iter_mut().zip(&lines) {
                *sum = isa.dot(*sum, x, v);
            }
        }
    }
}
