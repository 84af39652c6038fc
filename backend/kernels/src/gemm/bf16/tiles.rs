//! The tile product of AMX: 32 x 32 of C in four tile registers.
//!
//! ```text
//! for p in 0..k by 32
//!     A0, A1 = 16 rows each of 32 steps        tmm4, tmm5
//!     B0, B1 = 32 steps of 16 columns each     tmm6, tmm7
//!     C00 += A0·B0   C01 += A0·B1              tmm0, tmm1
//!     C10 += A1·B0   C11 += A1·B1              tmm2, tmm3
//! ```
//!
//! Four loads of 1 KiB serve four products, 1 KiB a `tdpbf16ps`, where one tile of C alone would take two loads a
//! product. A product takes 16 cycles and a load 8 (two lines a cycle from L1), so that products are the limit: 512
//! multiply-adds a cycle, with the micropanel of B in L1 and panels of A coming from L2 at 32 bytes a cycle. One turn
//! of the depth of 512 steps is 1024 cycles of products for 8 KiB of C to read and write, 256 cycles that out-of-order
//! execution hides.

use crate::gemm::bf16::block::{Bf16Block, Bf16PrefetchHint};
use crate::gemm::macro_kernel::store::Finish;
use crate::gemm::region::{Region, TilePlace};
use crate::simd::{Amx, Isa, PANEL, TILE_BYTES, Tiles};
use core::mem::MaybeUninit;

/// Rows of a tile.
pub(in crate::gemm) const TILE_ROWS: usize = 16;

/// Pairs of the depth in a tile.
pub(in crate::gemm) const TILE_PAIRS: usize = 16;

/// Rows and columns of C in tile registers.
const SIDE: usize = 32;

/// Bytes of a row of a tile, and of a line of pairs.
const LINE: usize = 64;

/// Four tiles of f32, or two of pairs.
#[repr(C, align(64))]
struct Buffer<const N: usize>([MaybeUninit<u32>; N]);

/// The two inner loops of a product: a micropanel of B stays in the L1 cache while those of A pass by.
///
/// # Safety
/// As for `Bf16Blocks::multiply` (blocks.rs).
pub(in crate::gemm) unsafe fn multiply(isa: Amx, block: &Bf16Block<'_>) {
    let Region { row, col, rows, cols } = block.region;
    let width = block.width();
    isa.with_tiles(|tiles| {
        for jr in (0..cols).step_by(width) {
            let wide = Region { row, col: col + jr, rows, cols: width.min(cols - jr) };
            let mut tails = Buffer([MaybeUninit::uninit(); 2 * TILE_PAIRS * PANEL]);
            // SAFETY: by the `# Safety` clause of `BlockKernel::multiply`, the panels of those columns are readable.
            let right = unsafe { AmxRight::new(block, jr, wide.cols, &mut tails) };
            let squares = rows.div_ceil(SIDE);
            for square in 0..squares {
                let ir = square * SIDE;
                let a = block.a.wrapping_add(ir / TILE_ROWS * block.a_stride).cast::<u8>();
                let region = Region { row: row + ir, rows: SIDE.min(rows - ir), ..wide };
                let hint = block.prefetch_hint(jr, square, squares);
                let product = AmxTile { isa, tiles, a, right, hint, block: &Bf16Block { region, ..*block } };
                // SAFETY: the panels of A hold the rows of the region and those of B its columns, over the depth; the
                // region is as `Store::finish` needs it (`# Safety` of `BlockKernel::multiply`).
                unsafe {
                    match (region.rows > TILE_ROWS, block.store.takes_second(region.cols, PANEL)) {
                        (true, true) => product.run::<2, 2>(),
                        (true, false) => product.run::<2, 1>(),
                        (false, true) => product.run::<1, 2>(),
                        (false, false) => product.run::<1, 1>(),
                    }
                }
            }
        }
    });
}

/// Two panels of B. Steps that do not fill a tile are copies, padded with zeros: what follows a panel in memory may be
/// NaN.
#[derive(Debug, Clone, Copy)]
struct AmxRight {
    panels: [*const u8; 2],
    /// Whole tiles of a panel.
    steps: usize,
    /// The last tile of each panel where it is not whole.
    tails: Option<[*const u8; 2]>,
}

impl AmxRight {
    /// The panels of `cols` columns (1 ..= 32) from `col` of the block on.
    ///
    /// # Safety
    /// They are readable over the depth of the block.
    unsafe fn new(block: &Bf16Block<'_>, col: usize, cols: usize, buffer: &mut Buffer<512>) -> Self {
        let pairs = block.depth.div_ceil(2);
        let (steps, rest) = (pairs / TILE_PAIRS, pairs % TILE_PAIRS);
        let [first, second] = block.panels(col);
        let panels = [first, if block.store.takes_second(cols, PANEL) { second } else { first }];
        let mut tails = None;
        if rest > 0 {
            let out: *mut u32 = buffer.0.as_mut_ptr().cast();
            for (i, panel) in panels.iter().enumerate() {
                let (tile, len) = (out.wrapping_add(i * TILE_PAIRS * PANEL), rest * PANEL);
                // SAFETY: the `# Safety` clause of `AmxRight::new`; the buffer has two tiles.
                unsafe {
                    core::ptr::copy_nonoverlapping(panel.add(steps * TILE_PAIRS * PANEL), tile, len);
                    core::ptr::write_bytes(tile.add(len), 0, TILE_PAIRS * PANEL - len);
                }
            }
            tails = Some([out.cast_const().cast(), out.wrapping_add(TILE_PAIRS * PANEL).cast_const().cast()]);
        }
        Self { panels: panels.map(<*const u32>::cast), steps, tails }
    }
}

/// Up to 32 x 32 of C.
struct AmxTile<'a> {
    isa: Amx,
    tiles: &'a Tiles,
    /// The first of two panels of A.
    a: *const u8,
    right: AmxRight,
    hint: Bf16PrefetchHint,
    /// Its region is that of C.
    block: &'a Bf16Block<'a>,
}

impl AmxTile<'_> {
    /// Multiplies in `DOWN` x `ACROSS` tiles, and stores.
    ///
    /// # Safety
    /// As for [`multiply`]; the tiles hold the region.
    unsafe fn run<const DOWN: usize, const ACROSS: usize>(&self) {
        let Bf16Block { region, depth_block, store, .. } = *self.block;
        let whole = region.rows == DOWN * TILE_ROWS && region.cols * store.factors() == ACROSS * PANEL;
        if let Some((c, stride)) = store.plain(region.row, region.col, depth_block)
            && whole
            && stride > 0
        {
            let bytes = stride as usize * size_of::<f32>();
            // SAFETY: the region is whole, so its tiles lie within the output.
            unsafe {
                if depth_block.first {
                    self.zero::<DOWN, ACROSS>();
                } else {
                    self.load::<DOWN, ACROSS>(c.cast(), bytes);
                }
                self.sum::<DOWN, ACROSS>();
                self.store::<DOWN, ACROSS>(c.cast(), bytes);
            }
            return;
        }
        let mut tile = Buffer([MaybeUninit::uninit(); SIDE * SIDE]);
        let at: *mut f32 = tile.0.as_mut_ptr().cast();
        // SAFETY: the buffer has 32 x 32 floats; the panels of A hold the rows of the region and those of B its
        // columns, over the depth; the region is as `Store::finish` needs it (`# Safety` of `BlockKernel::multiply`).
        unsafe {
            self.zero::<DOWN, ACROSS>();
            self.sum::<DOWN, ACROSS>();
            self.store::<DOWN, ACROSS>(at.cast(), SIDE * size_of::<f32>());
            self.isa.base().base().run(Finish::new(store, at, SIDE, TilePlace { region, depth_block }));
        }
    }

    /// C = 0.
    #[inline(always)]
    fn zero<const DOWN: usize, const ACROSS: usize>(&self) {
        self.tiles.zero::<0>();
        if ACROSS == 2 {
            self.tiles.zero::<1>();
        }
        if DOWN == 2 {
            self.tiles.zero::<2>();
            if ACROSS == 2 {
                self.tiles.zero::<3>();
            }
        }
    }

    /// C from memory.
    ///
    /// # Safety
    /// `DOWN` x `ACROSS` tiles of f32 are readable at `c`, rows `stride` bytes apart.
    #[inline(always)]
    unsafe fn load<const DOWN: usize, const ACROSS: usize>(&self, c: *const u8, stride: usize) {
        let below = c.wrapping_add(TILE_ROWS * stride);
        // SAFETY: `DOWN` x `ACROSS` tiles of f32 are readable at `c`, rows `stride` bytes apart (`# Safety` of
        // `AmxTile::load`).
        unsafe {
            self.tiles.load::<0>(c, stride);
            if ACROSS == 2 {
                self.tiles.load::<1>(c.add(LINE), stride);
            }
            if DOWN == 2 {
                self.tiles.load::<2>(below, stride);
                if ACROSS == 2 {
                    self.tiles.load::<3>(below.add(LINE), stride);
                }
            }
        }
    }

    /// C to memory.
    ///
    /// # Safety
    /// As for [`AmxTile::load`], writable.
    #[inline(always)]
    unsafe fn store<const DOWN: usize, const ACROSS: usize>(&self, c: *mut u8, stride: usize) {
        let below = c.wrapping_add(TILE_ROWS * stride);
        // SAFETY: `DOWN` x `ACROSS` tiles of f32 are readable at `c`, rows `stride` bytes apart (`# Safety` of
        // `AmxTile::load`).
        unsafe {
            self.tiles.store::<0>(c, stride);
            if ACROSS == 2 {
                self.tiles.store::<1>(c.add(LINE), stride);
            }
            if DOWN == 2 {
                self.tiles.store::<2>(below, stride);
                if ACROSS == 2 {
                    self.tiles.store::<3>(below.add(LINE), stride);
                }
            }
        }
    }

    /// C += A · B over the depth.
    ///
    /// # Safety
    /// As for [`multiply`].
    #[inline(always)]
    unsafe fn sum<const DOWN: usize, const ACROSS: usize>(&self) {
        let AmxRight { panels, steps, tails } = self.right;
        let panel_bytes = self.block.a_stride * size_of::<u32>();
        let base = self.isa.base().base();
        let mut a = [self.a, self.a.wrapping_add(panel_bytes)];
        let mut b = panels;
        let (mut at, lines) = (self.hint.at, (self.hint.bytes / steps.max(1)).div_ceil(LINE));
        for _ in 0..steps {
            for _ in 0..lines {
                at = at.map(|p| {
                    base.prefetch(p);
                    p.wrapping_add(LINE)
                });
            }
            // SAFETY: by the `# Safety` clause of `BlockKernel::multiply`, whole tiles.
            unsafe { self.step::<DOWN, ACROSS>(a, b) };
            a = a.map(|p| p.wrapping_add(TILE_BYTES));
            b = b.map(|p| p.wrapping_add(TILE_BYTES));
        }
        if let Some(tails) = tails {
            // SAFETY: panels of A are padded to whole tiles, and the tails are.
            unsafe { self.step::<DOWN, ACROSS>(a, tails) };
        }
    }

    /// 32 steps of the depth.
    ///
    /// # Safety
    /// A tile is readable at each of the first `DOWN` of `a` and `ACROSS` of `b`.
    #[inline(always)]
    unsafe fn step<const DOWN: usize, const ACROSS: usize>(&self, a: [*const u8; 2], b: [*const u8; 2]) {
        let tiles = self.tiles;
        // SAFETY: A tile is readable at each of the first `DOWN` of `a` and `ACROSS` of `b` (`# Safety` of
        // `AmxTile::step`).
        unsafe {
            tiles.load::<6>(b[0], LINE);
            tiles.load::<4>(a[0], LINE);
            tiles.dot::<0, 4, 6>();
            if ACROSS == 2 {
                tiles.load::<7>(b[1], LINE);
                tiles.dot::<1, 4, 7>();
            }
            if DOWN == 2 {
                tiles.load::<5>(a[1], LINE);
                tiles.dot::<2, 5, 6>();
                if ACROSS == 2 {
                    tiles.dot::<3, 5, 7>();
                }
            }
        }
    }
}
