//! The register tile: the innermost loop of every product.
//!
//! `mr · nr` accumulators stay in registers for the whole depth of a block. For each step of the depth the tile loads
//! one row of B (`nr` floats, two registers on every tier) and multiplies it by each of `mr` broadcast elements of A:
//!
//! ```text
//! for p in 0..depth
//!     b[0..2] = B[p][0..nr]
//!     for r in 0..mr
//!         acc[r][0..2] += A[r][p] · b[0..2]
//! ```
//!
//! Two fused multiply-adds start each cycle and take 4 or 5, so 10 accumulators hide the latency; more of them raise
//! the arithmetic done for each load. 6 x 2 registers fill the 16 of AVX2 (with 2 of B, 1 of A), 14 x 2 the 32 of
//! AVX-512 (with 2 of B, 1 of A), 2 x 2 the portable tier's. The compiler keeps all of them in registers: neither loop
//! touches the stack.

use crate::Storage;
use crate::gemm::macro_kernel::store::{Finish, Store};
use crate::gemm::region::{Region, TilePlace};
use crate::simd::{Isa, Kernel, PANEL, RegisterTile};
use core::mem::MaybeUninit;

/// Rows of the next tile that reads a strided A, of `left` rows: up to 6 of AVX2, whose 4 x 2 sums would just hide the
/// latency of a multiply-add, else up to 4, as their addresses take registers too. Two rows less than a whole tile are
/// shared with the tile before.
#[inline(always)]
pub(in crate::gemm) fn unpacked_rows<I: Isa>(left: usize) -> usize {
    match (I::TILE, left) {
        (RegisterTile::Rows6, 7 | 8) => 4,
        (RegisterTile::Rows6, _) => left.min(6),
        (RegisterTile::Rows2 | RegisterTile::Rows14, _) => left.min(4),
    }
}

/// Floats of the largest tile, 14 x 32.
const LARGEST_TILE: usize = 448;

/// Floats of a cache line.
const LINE_FLOATS: usize = 16;

/// Where a tile finds A: element `(r, p)` is `r · row_stride + p · depth_stride` floats on.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct TileLeft {
    pub(in crate::gemm) data: *const f32,
    pub(in crate::gemm) row_stride: isize,
    pub(in crate::gemm) depth_stride: isize,
}

/// Where a tile finds B: step `p` of the depth is `p · depth_stride` elements on, for each of its two registers:
/// neighbouring columns of one operand, or the same columns of two.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct TileRight<S> {
    pub(in crate::gemm) data: [*const S; 2],
    pub(in crate::gemm) depth_stride: isize,
}

/// Lines of B that a tile prefetches while it multiplies: those of the tiles in the next columns, which are in memory
/// or in the L3 cache until then.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct PrefetchHint {
    /// First byte for each register.
    pub(in crate::gemm) at: [*const u8; 2],
    /// Bytes from one iteration of the loop over the depth to the next.
    pub(in crate::gemm) step: usize,
}

impl PrefetchHint {
    /// No prefetching: `at` is a line that the tile reads itself, so that the loop, which has no branch, brings nothing
    /// near that is not already.
    #[inline(always)]
    pub(in crate::gemm) fn none(at: *const u8) -> Self {
        Self { at: [at; 2], step: 0 }
    }
}

/// Steps of the depth in one iteration of the loop.
pub(in crate::gemm) const UNROLL: usize = 4;

/// One tile of the output: `region` (at most the instruction set's tile, [`unpacked_rows`] if A is not packed) of the
/// product over `depth`.
///
/// `PACKED` says that A is a packed panel (`row_stride` 1, `depth_stride` `MR`), which makes its addresses constants.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct TileProduct<'a, S, const PACKED: bool> {
    a: TileLeft,
    b: TileRight<S>,
    depth: usize,
    place: TilePlace,
    store: &'a Store,
    prefetch_output: bool,
    hint: PrefetchHint,
}

impl<'a, S: Storage, const PACKED: bool> TileProduct<'a, S, PACKED> {
    /// # Safety
    /// `a` is readable for a whole packed panel, or for the rows of the region if it is not packed; `b` is readable for
    /// the columns of the region rounded up to whole registers, in both of its operands if the store multiplies two;
    /// both over `depth`. The region is as [`Store::finish`] needs it.
    #[inline(always)]
    pub(in crate::gemm) unsafe fn new(
        a: TileLeft,
        b: TileRight<S>,
        depth: usize,
        place: TilePlace,
        store: &'a Store,
    ) -> Self {
        Self { a, b, depth, place, store, prefetch_output: false, hint: PrefetchHint::none(b.data[0].cast()) }
    }

    /// The same, prefetching the lines of the output before it multiplies where `output` says so, and those of `hint`
    /// meanwhile.
    #[inline(always)]
    pub(in crate::gemm) fn prefetching(self, output: bool, hint: PrefetchHint) -> Self {
        Self { prefetch_output: output, hint, ..self }
    }

    /// Multiplies in a tile of `ROWS` rows and `REGS` registers, and stores.
    ///
    /// # Safety
    /// As for [`TileProduct::new`]; `ROWS` and `REGS` hold the region.
    #[inline(always)]
    unsafe fn run<I: Isa, const ROWS: usize, const REGS: usize>(self, isa: I) {
        let Self { place: TilePlace { region, depth_block }, store, .. } = self;
        let cols = region.cols * store.factors();
        debug_assert!(region.rows <= ROWS && cols <= REGS * I::LANES);
        let plain = store.plain(region.row, region.col, depth_block);
        if let Some((c, stride)) = plain
            && self.prefetch_output
        {
            // A row of the tile is some lines, and one more where it does not begin with one.
            for r in 0..region.rows {
                let row = c.wrapping_offset(r as isize * stride);
                for line in 0..(REGS * I::LANES).div_ceil(LINE_FLOATS) {
                    isa.prefetch(row.wrapping_add(line * LINE_FLOATS).cast());
                }
                isa.prefetch(row.wrapping_add(cols - 1).cast());
            }
        }
        // SAFETY: `a` is readable for a whole packed panel, or for the rows of the region if it is not packed (`#
        // Safety` of `TileProduct::new`).
        let acc = unsafe { self.multiply::<I, ROWS, REGS>(isa) };
        if let Some((c, stride)) = plain
            && region.rows == ROWS
            && cols == REGS * I::LANES
        {
            for (r, row) in acc.iter().enumerate() {
                for (j, &sum) in row.iter().enumerate() {
                    // SAFETY: the region is whole, so all of its `ROWS` x `REGS` registers lie within the output.
                    unsafe {
                        let at = c.offset(r as isize * stride).add(j * I::LANES);
                        let sum = if depth_block.first { sum } else { isa.add(isa.load(at), sum) };
                        isa.store(at, sum);
                    }
                }
            }
            return;
        }
        let mut tile = MaybeUninit::<[f32; LARGEST_TILE]>::uninit();
        let at: *mut f32 = tile.as_mut_ptr().cast();
        for (r, row) in acc.iter().enumerate() {
            for (j, &sum) in row.iter().enumerate() {
                // SAFETY: ROWS · REGS · LANES is at most 14 · 2 · 16, the array's length.
                unsafe { isa.store(at.add((r * REGS + j) * I::LANES), sum) };
            }
        }
        // SAFETY: the tile was just written; the region as the `# Safety` clause of `TileProduct::new` says.
        isa.run(unsafe { Finish::new(store, at, REGS * I::LANES, self.place) });
    }

    /// The loop over the depth.
    ///
    /// # Safety
    /// As for [`TileProduct::run`].
    #[inline(always)]
    unsafe fn multiply<I: Isa, const ROWS: usize, const REGS: usize>(self, isa: I) -> [[I::V; REGS]; ROWS] {
        let Self { a, b, depth, place: TilePlace { region, .. }, .. } = self;
        let mut acc = [[isa.splat(0.0); REGS]; ROWS];
        let mut rows = [0isize; ROWS];
        for (r, row) in rows.iter_mut().enumerate() {
            // Rows that do not exist repeat the last one; they are not stored.
            *row = if PACKED { r as isize } else { r.min(region.rows - 1) as isize * a.row_stride };
        }
        let a_step = if PACKED { I::MR as isize } else { a.depth_stride };
        let mut at = (a.data, b.data);
        let [mut first, mut second] = self.hint.at;
        for _ in 0..depth / UNROLL {
            isa.prefetch(first);
            isa.prefetch(second);
            (first, second) = (first.wrapping_add(self.hint.step), second.wrapping_add(self.hint.step));
            for _ in 0..UNROLL {
                // SAFETY: `a` is readable for a whole packed panel, or for the rows of the region if it is not packed
                // (`# Safety` of `TileProduct::new`), at each step of the depth.
                unsafe { Self::add_step(isa, &rows, at, &mut acc) };
                at = (at.0.wrapping_offset(a_step), at.1.map(|b_at| b_at.wrapping_offset(b.depth_stride)));
            }
        }
        for _ in 0..depth % UNROLL {
            // SAFETY: `a` is readable for a whole packed panel, or for the rows of the region if it is not packed (`#
            // Safety` of `TileProduct::new`), at each of the last steps of the depth.
            unsafe { Self::add_step(isa, &rows, at, &mut acc) };
            at = (at.0.wrapping_offset(a_step), at.1.map(|b_at| b_at.wrapping_offset(b.depth_stride)));
        }
        acc
    }

    /// One step of the depth: `acc[r] += a[rows[r]] · b[..nr]`.
    ///
    /// # Safety
    /// `a` is readable at each of `rows`, and `b` for the registers of the tile.
    #[inline(always)]
    unsafe fn add_step<I: Isa, const ROWS: usize, const REGS: usize>(
        isa: I,
        rows: &[isize; ROWS],
        (a, b): (*const f32, [*const S; 2]),
        acc: &mut [[I::V; REGS]; ROWS],
    ) {
        let mut b_row = [isa.splat(0.0); REGS];
        for (v, b) in b_row.iter_mut().zip(b) {
            // SAFETY: `a` is readable at each of `rows`, and `b` for the registers of the tile (`# Safety` of
            // `TileProduct::add_step`).
            *v = unsafe { S::load(isa, b) };
        }
        for (row, sums) in rows.iter().zip(acc) {
            // SAFETY: `a` is readable at each of `rows`, and `b` for the registers of the tile (`# Safety` of
            // `TileProduct::add_step`).
            let x = isa.splat(unsafe { a.offset(*row).read() });
            for (sum, &v) in sums.iter_mut().zip(&b_row) {
                *sum = isa.mul_add(x, v, *sum);
            }
        }
    }
}

impl<S: Storage, const PACKED: bool> Kernel for TileProduct<'_, S, PACKED> {
    type Out = ();

    /// Runs the smallest tile that holds the region: rows that do not exist cost as much as those that do.
    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        const {
            assert!(I::PANELS * PANEL == 2 * I::LANES, "a register tile is two registers wide");
            assert!(I::MR * 2 * I::LANES <= LARGEST_TILE, "a register tile fits the buffer that it is finished in");
        }
        let Region { rows, cols, .. } = self.place.region;
        let wide = self.store.takes_second(cols, I::LANES);
        // SAFETY: `a` is readable for a whole packed panel, or for the rows of the region if it is not packed (`#
        // Safety` of `new`); each tile holds the region.
        unsafe {
            match (I::TILE, PACKED) {
                (RegisterTile::Rows14, true) if wide && rows > 8 => self.run::<I, 14, 2>(isa),
                (RegisterTile::Rows14, true) if wide && rows > 4 => self.run::<I, 8, 2>(isa),
                (RegisterTile::Rows14, true) if wide => self.run::<I, 4, 2>(isa),
                (RegisterTile::Rows14, true) if rows > 8 => self.run::<I, 14, 1>(isa),
                (RegisterTile::Rows14, true) => self.run::<I, 8, 1>(isa),
                (RegisterTile::Rows14, false) if wide => self.run::<I, 4, 2>(isa),
                (RegisterTile::Rows14, false) => self.run::<I, 4, 1>(isa),
                (RegisterTile::Rows6, _) if !wide => self.run::<I, 6, 1>(isa),
                (RegisterTile::Rows6, _) if rows > 4 => self.run::<I, 6, 2>(isa),
                (RegisterTile::Rows6, _) if rows > 2 => self.run::<I, 4, 2>(isa),
                (RegisterTile::Rows6, _) => self.run::<I, 2, 2>(isa),
                (RegisterTile::Rows2, true) => self.run::<I, 2, 2>(isa),
                (RegisterTile::Rows2, false) if wide => self.run::<I, 4, 2>(isa),
                (RegisterTile::Rows2, false) => self.run::<I, 4, 1>(isa),
            }
        }
    }
}
