//! The tile product of AMX: 48 x 32 of C in six tile registers, 32 x 32 in four where rows end.
//!
//! ```text
//! for p in 0..k by 32
//!     B0                      32 steps of 16 columns                     tmm7
//!     A0   C00 += A0·B0       A: 16 rows of 32 steps, one after the other in tmm6
//!     A1   C10 += A1·B0
//!     A2   C20 += A2·B0
//!     B1   C21 += A2·B1
//!     A1   C11 += A1·B1       from L1
//!     A0   C01 += A0·B1       from L1
//!     a row of the tile before: bias, activation, residual, conversion, store
//! ```
//!
//! A product takes 16 cycles and a tile from L2 about 24, a line in one and a half: what L2 gives is the limit. Five
//! loads from L2 serve six products here and four serve four of 32 x 32, 53 and 64 bytes a cycle. (A prototype of
//! these loops on huge pages, 384 x 2048 x 2048, one thread, Xeon with 2 MiB of L2: 55.6 and 52.7 % of the register
//! peak; 32 x 32 without packing, C, and B from beyond L2 65 %.)
//!
//! So the depth is one block where it can be (isa.rs), no sum is written twice, and A, packed, stays in L2 while panels
//! of B pass by. What no load needs again passes by L1 (`tileloaddt1`). Where the depth takes several blocks, sums wait
//! as whole tiles in the order of these loops: rows of C at a multiple of 4 KiB would share one set of L1.
//!
//! The results of a tile are finished between the products of the next one, a row or two in each step: stores that
//! wait for a line of C, and the epilogue, are hidden by products.

use crate::gemm::bf16::block::{Bf16Block, Bf16PrefetchHint};
use crate::gemm::macro_kernel::store::{Finish, Store};
use crate::gemm::raw::RawFloatsMut;
use crate::gemm::region::{Region, TilePlace};
use crate::simd::{Amx, Avx512Bf16, Bf16Kernel, Isa, PANEL, TILE_BYTES, Tiles};
use core::mem::MaybeUninit;

/// Rows of a tile.
pub(in crate::gemm) const TILE_ROWS: usize = 16;

/// Pairs of the depth in a tile.
pub(in crate::gemm) const TILE_PAIRS: usize = 16;

/// Tiles of C down in registers.
const DOWN_MOST: usize = 3;

/// Columns of C in registers.
const COLS: usize = 2 * PANEL;

/// Bytes of a row of a tile, and of a line of pairs.
const LINE: usize = 64;

/// Floats that the sums of `m` x `n` take, `n` with both factors of a gated product: two tiles for each 16 rows and 32
/// columns.
pub(in crate::gemm) fn sums_len(m: usize, n: usize) -> usize {
    m.next_multiple_of(TILE_ROWS) * n.next_multiple_of(COLS)
}

/// The two inner loops of a product: the block of A stays in the L2 cache while panels of B pass by.
///
/// # Safety
/// As for `Bf16Blocks::multiply` (blocks.rs); `block.sums` has [`sums_len`] floats, which hold the sums of the same
/// block before unless the block of the depth is the first one, where it is not the only one.
pub(in crate::gemm) unsafe fn multiply(isa: Amx, block: &Bf16Block<'_>) {
    isa.with_tiles(|tiles| isa.base().run(Strips { tiles, block }));
}

/// What [`multiply`] runs, by its promise.
struct Strips<'a> {
    tiles: &'a Tiles,
    block: &'a Bf16Block<'a>,
}

impl Bf16Kernel for Strips<'_> {
    type Out = ();

    #[inline(always)]
    fn call(self, isa: Avx512Bf16) {
        let Self { tiles, block } = self;
        let Region { row, col, rows, cols } = block.region;
        let width = block.width();
        let mut before = Unfinished::new(isa, block.store);
        let mut sums = block.sums.cast::<u8>();
        for jr in (0..cols).step_by(width) {
            let wide = Region { row, col: col + jr, rows, cols: width.min(cols - jr) };
            let mut tails = Buffer([MaybeUninit::uninit(); 2 * TILE_PAIRS * PANEL]);
            // SAFETY: by the `# Safety` clause of `BlockKernel::multiply`, the panels of those columns are readable.
            let right = unsafe { AmxRight::new(block, jr, wide.cols, &mut tails) };
            let mut ir = 0;
            while ir < rows {
                let down = tiles_down((rows - ir).div_ceil(TILE_ROWS));
                let tall = (down * TILE_ROWS).min(rows - ir);
                let a = block.a.wrapping_add(ir / TILE_ROWS * block.a_stride).cast::<u8>();
                let region = Region { row: row + ir, rows: tall, ..wide };
                let hint = block.prefetch_hint(jr, ir..ir + tall);
                let tile = AmxTile { tiles, a, right, hint, sums, block: &Bf16Block { region, ..*block } };
                // SAFETY: the panels of A hold the rows of the region and those of B its columns, over the depth; the
                // region is as `Store::finish` needs it (`# Safety` of `BlockKernel::multiply`); so many sums lie
                // before those of this tile (`sums_len`).
                unsafe {
                    match (down, block.store.takes_second(region.cols, PANEL)) {
                        (DOWN_MOST, true) => tile.run::<DOWN_MOST, 2>(&mut before),
                        (DOWN_MOST, false) => tile.run::<DOWN_MOST, 1>(&mut before),
                        (2, true) => tile.run::<2, 2>(&mut before),
                        (2, false) => tile.run::<2, 1>(&mut before),
                        (_, true) => tile.run::<1, 2>(&mut before),
                        (_, false) => tile.run::<1, 1>(&mut before),
                    }
                }
                ir += tall;
                sums = sums.wrapping_add(2 * down * TILE_BYTES);
            }
        }
        before.finish(usize::MAX);
    }
}

/// How many of `left` tiles down are multiplied together: three, but so that none is left alone.
fn tiles_down(left: usize) -> usize {
    match left {
        2 | 4 => 2,
        _ => left.min(DOWN_MOST),
    }
}

/// Memory of whole cache lines.
#[repr(C, align(64))]
struct Buffer<const N: usize>([MaybeUninit<u32>; N]);

/// The results of a tile, rows of 32 floats, on their way out while the next one is multiplied into the other buffer.
struct Unfinished<'a> {
    isa: Avx512Bf16,
    store: &'a Store,
    buffers: [Buffer<{ DOWN_MOST * TILE_ROWS * COLS }>; 2],
    /// Which buffer has them.
    current: usize,
    /// What is not yet out.
    region: Region,
    /// The first row of it in the buffer.
    next: usize,
    /// Where its rows begin, and the row stride, if 32 sums are stored alone, as f32 or bf16.
    direct: Option<(RawFloatsMut, isize)>,
}

impl<'a> Unfinished<'a> {
    /// Nothing.
    #[inline(always)]
    fn new(isa: Avx512Bf16, store: &'a Store) -> Self {
        let buffers = [const { Buffer([MaybeUninit::uninit(); _]) }; 2];
        Self {
            isa,
            store,
            buffers,
            current: 0,
            region: Region { row: 0, col: 0, rows: 0, cols: 0 },
            next: 0,
            direct: None,
        }
    }

    /// Room for the results of the next tile.
    #[inline(always)]
    fn spare(&mut self) -> *mut u8 {
        self.buffers[1 - self.current].0.as_mut_ptr().cast()
    }

    /// The next tile was stored to [`Unfinished::spare`].
    ///
    /// # Safety
    /// Those are sums of `region` over the whole depth, rows of 32 floats; it is as [`Store::finish`] needs it.
    #[inline(always)]
    unsafe fn replace(&mut self, region: Region) {
        debug_assert!(self.region.rows == 0);
        (self.current, self.region, self.next) = (1 - self.current, region, 0);
        self.direct = match self.store.sums_alone(region.row, region.col) {
            Some((RawFloatsMut::F16(_), _)) => None,
            direct => direct.filter(|_| region.cols == COLS),
        };
    }

    /// Stores 32 sums as they are, or rounded: two registers become one of bf16.
    ///
    /// # Safety
    /// They are readable at `from`, and as many elements writable at `out`, which is no f16.
    #[inline(always)]
    unsafe fn store_sums(&self, from: *const f32, out: RawFloatsMut) {
        let base = self.isa.base();
        // SAFETY: the `# Safety` clause of `Unfinished::store_sums`.
        unsafe {
            let sums = [base.load(from), base.load(from.add(PANEL))];
            match out {
                RawFloatsMut::Bf16(out) => base.store(out.cast(), self.isa.round_neighbours(sums)),
                RawFloatsMut::F32(out) => {
                    base.store(out, sums[0]);
                    base.store(out.add(PANEL), sums[1]);
                }
                RawFloatsMut::F16(_) => {}
            }
        }
    }

    /// Finishes `rows` more rows, or as many as there are.
    #[inline(always)]
    fn finish(&mut self, rows: usize) {
        let rows = rows.min(self.region.rows);
        if rows == 0 {
            return;
        }
        let tile = self.buffers[self.current].0.as_ptr().cast::<f32>().wrapping_add(self.next * COLS);
        match self.direct {
            Some((out, stride)) => {
                for row in 0..rows {
                    let (from, by) = (tile.wrapping_add(row * COLS), (self.next + row) as isize * stride);
                    // SAFETY: by the `# Safety` clause of `Unfinished::replace`, 32 sums of a row, and as many elements
                    // of the output (`direct`).
                    unsafe { self.store_sums(from, out.offset(by)) };
                }
            }
            None => {
                let place = TilePlace::whole(Region { rows, ..self.region });
                // SAFETY: by the `# Safety` clause of `Unfinished::replace`.
                self.isa.base().run(unsafe { Finish::new(self.store, tile, COLS, place) });
            }
        }
        self.next += rows;
        self.region.row += rows;
        self.region.rows -= rows;
    }
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
    #[inline(always)]
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

/// How tiles of C lie in memory, bytes.
#[derive(Debug, Clone, Copy)]
struct Spacing {
    /// From a row of a tile to the next.
    row: usize,
    /// From a tile to the one beside it, and to the one below.
    across: usize,
    down: usize,
}

/// One tile after the other.
const WHOLE_TILES: Spacing = Spacing { row: LINE, across: TILE_BYTES, down: 2 * TILE_BYTES };

/// Rows of 32 floats.
const WIDE_ROWS: Spacing = Spacing { row: 2 * LINE, across: LINE, down: 2 * TILE_BYTES };

/// Up to 48 x 32 of C.
struct AmxTile<'a> {
    tiles: &'a Tiles,
    /// The first of three panels of A.
    a: *const u8,
    right: AmxRight,
    hint: Bf16PrefetchHint,
    /// Where its sums wait for the rest of the depth.
    sums: *mut u8,
    /// Its region is that of C.
    block: &'a Bf16Block<'a>,
}

impl AmxTile<'_> {
    /// Multiplies in `DOWN` x `ACROSS` tiles, and leaves the sums where they wait for the rest of the depth, or in
    /// `before`, whose last results are finished meanwhile.
    ///
    /// # Safety
    /// As for [`multiply`]; the tiles hold the region.
    #[inline(always)]
    unsafe fn run<const DOWN: usize, const ACROSS: usize>(&self, before: &mut Unfinished<'_>) {
        let Bf16Block { region, depth_block, .. } = *self.block;
        // SAFETY: the sums are those of this tile, with room for `DOWN` x 2 tiles, as the spare buffer; the others by
        // the `# Safety` clause of `multiply`.
        unsafe {
            if depth_block.first {
                self.zero::<DOWN, ACROSS>();
            } else {
                self.load::<DOWN, ACROSS>(self.sums, WHOLE_TILES);
            }
            self.sum::<DOWN, ACROSS>(before);
            if depth_block.last {
                before.finish(usize::MAX);
                self.store::<DOWN, ACROSS>(before.spare(), WIDE_ROWS);
                before.replace(region);
            } else {
                self.store::<DOWN, ACROSS>(self.sums, WHOLE_TILES);
            }
        }
    }

    /// C = 0.
    #[inline(always)]
    fn zero<const DOWN: usize, const ACROSS: usize>(&self) {
        let tiles = self.tiles;
        tiles.zero::<0>();
        if ACROSS == 2 {
            tiles.zero::<1>();
        }
        if DOWN >= 2 {
            tiles.zero::<2>();
            if ACROSS == 2 {
                tiles.zero::<3>();
            }
        }
        if DOWN >= 3 {
            tiles.zero::<4>();
            if ACROSS == 2 {
                tiles.zero::<5>();
            }
        }
    }

    /// C from memory.
    ///
    /// # Safety
    /// `DOWN` x `ACROSS` tiles of f32 are readable at `c`.
    #[inline(always)]
    unsafe fn load<const DOWN: usize, const ACROSS: usize>(
        &self,
        c: *const u8,
        Spacing { row, across, down }: Spacing,
    ) {
        let tiles = self.tiles;
        // SAFETY: the `# Safety` clause of `AmxTile::load`.
        unsafe {
            tiles.load::<0>(c, row);
            if ACROSS == 2 {
                tiles.load::<1>(c.add(across), row);
            }
            if DOWN >= 2 {
                tiles.load::<2>(c.add(down), row);
                if ACROSS == 2 {
                    tiles.load::<3>(c.add(down + across), row);
                }
            }
            if DOWN >= 3 {
                tiles.load::<4>(c.add(2 * down), row);
                if ACROSS == 2 {
                    tiles.load::<5>(c.add(2 * down + across), row);
                }
            }
        }
    }

    /// C to memory.
    ///
    /// # Safety
    /// As for [`AmxTile::load`], writable.
    #[inline(always)]
    unsafe fn store<const DOWN: usize, const ACROSS: usize>(&self, c: *mut u8, Spacing { row, across, down }: Spacing) {
        let tiles = self.tiles;
        // SAFETY: the `# Safety` clause of `AmxTile::store`.
        unsafe {
            tiles.store::<0>(c, row);
            if ACROSS == 2 {
                tiles.store::<1>(c.add(across), row);
            }
            if DOWN >= 2 {
                tiles.store::<2>(c.add(down), row);
                if ACROSS == 2 {
                    tiles.store::<3>(c.add(down + across), row);
                }
            }
            if DOWN >= 3 {
                tiles.store::<4>(c.add(2 * down), row);
                if ACROSS == 2 {
                    tiles.store::<5>(c.add(2 * down + across), row);
                }
            }
        }
    }

    /// C += A · B over the depth, and rows of the tile before between the products.
    ///
    /// # Safety
    /// As for [`multiply`].
    #[inline(always)]
    unsafe fn sum<const DOWN: usize, const ACROSS: usize>(&self, before: &mut Unfinished<'_>) {
        let AmxRight { panels, steps, tails } = self.right;
        let panel_bytes = self.block.a_stride * size_of::<u32>();
        let mut a = [0, 1, 2].map(|panel| self.a.wrapping_add(panel * panel_bytes));
        let mut b = panels;
        let (mut at, mut lines) = (self.hint.at, self.hint.bytes.div_ceil(LINE));
        let lines_a_step = lines.div_ceil(steps.max(1));
        let rows_a_step = before.region.rows.div_ceil(steps.max(1));
        for _ in 0..steps {
            for _ in 0..lines_a_step.min(lines) {
                at = at.map(|p| {
                    self.tiles.prefetch_l2(p);
                    p.wrapping_add(LINE)
                });
            }
            lines = lines.saturating_sub(lines_a_step);
            // SAFETY: by the `# Safety` clause of `BlockKernel::multiply`, whole tiles.
            unsafe { self.step::<DOWN, ACROSS>(a, b) };
            before.finish(rows_a_step);
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
    unsafe fn step<const DOWN: usize, const ACROSS: usize>(&self, a: [*const u8; 3], b: [*const u8; 2]) {
        let tiles = self.tiles;
        // SAFETY: the `# Safety` clause of `AmxTile::step`.
        unsafe {
            tiles.load_streamed::<7>(b[0], LINE);
            if DOWN == 3 {
                tiles.load::<6>(a[0], LINE);
                tiles.dot::<0, 6, 7>();
                tiles.load::<6>(a[1], LINE);
                tiles.dot::<2, 6, 7>();
                tiles.load_streamed::<6>(a[2], LINE);
                tiles.dot::<4, 6, 7>();
                if ACROSS == 2 {
                    tiles.load_streamed::<7>(b[1], LINE);
                    tiles.dot::<5, 6, 7>();
                    tiles.load::<6>(a[1], LINE);
                    tiles.dot::<3, 6, 7>();
                    tiles.load::<6>(a[0], LINE);
                    tiles.dot::<1, 6, 7>();
                }
                return;
            }
            tiles.load_streamed::<4>(a[0], LINE);
            tiles.dot::<0, 4, 7>();
            if ACROSS == 2 {
                tiles.load_streamed::<6>(b[1], LINE);
                tiles.dot::<1, 4, 6>();
            }
            if DOWN == 2 {
                tiles.load_streamed::<5>(a[1], LINE);
                tiles.dot::<2, 5, 7>();
                if ACROSS == 2 {
                    tiles.dot::<3, 5, 6>();
                }
            }
        }
    }
}
