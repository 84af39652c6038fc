//! Few rows against a strided weight `[n, k]`, rows of A in the lanes of a register: each word of W is broadcast
//! straight from memory.
//!
//! A word is 32 bits of a row of W: one f32, or two bf16 that are neighbours. With 9 to 16 rows of A a register holds
//! one word of each row; with up to 8 it holds two words of each, and W is broadcast by two:
//!
//! ```text
//! A becomes [k words / Q][16 / Q rows][Q], Q = 1 or 2                   a panel, in L1 or L2
//! for j in 0..n by 8                                                    rows of W
//!     for p in 0..k words by Q
//!         a = panel[p / Q]                                              one line
//!         for r in 0..8:  acc[r] += a · broadcast(W[j + r][p..p + Q])   no other load, no shuffle
//!     transpose the sums of 16 rows of W; for Q = 2 add neighbours
//! ```
//!
//! Dot products along the rows (dots.rs) load A once for each few rows of W, more than an L1 cache holds, and sum
//! across lanes. Here a line of A serves 8 rows of W, and a line of W 16 words: the loop does one load a multiply-add,
//! which is what the arithmetic units keep pace with. 8 rows side by side fit the ways of any L1 cache, even a multiple
//! of 4 KiB apart, and their streams are prefetched in the rows themselves.

use crate::gemm::gemv::left_rows::LINE_BYTES;
use crate::gemm::macro_kernel::part::ProductPart;
use crate::gemm::macro_kernel::store::Finish;
use crate::gemm::region::{Region, TilePlace};
use crate::gemm::variant::GEMV_ROWS;
mod panel;
mod words;

use crate::scratch::Scratch;
use crate::simd::{Isa, PANEL};
use panel::{lay_panel, line_floats};
pub(in crate::gemm) use words::Words;
use words::{FloatWords, WordElement};

/// Rows of W side by side.
const SIDE: usize = 8;

/// Words in a line of W, and lanes of a register: the loop takes a line of each row at a time.
const WORDS: usize = PANEL;

/// Products of the few rows of `part` with the rows of `weight`, `stride` elements apart.
///
/// # Safety
/// `part` keeps the promise of a [`ProductPart`].
#[inline(always)]
pub(in crate::gemm) unsafe fn multiply_broadcast<I: Isa, W: WordElement>(
    isa: I,
    part: &ProductPart,
    weight: *const W,
    stride: isize,
) {
    let words = FloatWords::<W>::new(part.a.matrix.from(part.region.row, 0), part.depth);
    // SAFETY: `part` is as `ProductPart` says (`# Safety` of `multiply_broadcast`).
    unsafe {
        multiply(isa, part, words, WeightBytes { first: weight.cast(), stride: stride * size_of::<W>() as isize })
    };
}

/// Products of the few rows of `part`, which `words` reads, with rows of W: their first byte and the bytes between
/// them.
///
/// # Safety
/// `part` keeps the promise of a [`ProductPart`]; `words` reads A from the region's first row on, and its type is W's.
#[inline(always)]
pub(in crate::gemm) unsafe fn multiply<I: Isa, W: Words<I>>(isa: I, part: &ProductPart, words: W, weight: WeightBytes) {
    // SAFETY: `part` is as `ProductPart` says; `words` reads A from the region's first row on, and its type is W's (`#
    // Safety` of `multiply`); so many rows have so many lanes.
    unsafe {
        if part.region.rows <= I::LANES / 2 {
            multiply_words::<I, W, 2>(isa, part, words, weight);
        } else {
            multiply_words::<I, W, 1>(isa, part, words, weight);
        }
    }
}

/// [`multiply`] with `Q` words of each row of A in a register.
///
/// # Safety
/// As for [`multiply`].
#[inline(always)]
unsafe fn multiply_words<I: Isa, W: Words<I>, const Q: usize>(
    isa: I,
    part: &ProductPart,
    words: W,
    WeightBytes { first: data, stride }: WeightBytes,
) {
    let Region { row, col, rows, cols } = part.region;
    debug_assert!(rows <= GEMV_ROWS);
    let row_bytes = W::row_bytes(part.depth);
    let lines = row_bytes.div_ceil(LINE_BYTES);
    let (at_once, panel_len) = (I::LANES / Q, lines * line_floats::<I, W>(Q));
    let mut panels = Scratch::take(rows.div_ceil(at_once) * panel_len);
    let panels = panels.as_mut_ptr();
    for i in (0..rows).step_by(at_once) {
        let panel = panels.wrapping_add(i / at_once * panel_len);
        // SAFETY: the buffer has as many lines for each panel; A as the `# Safety` clause of `multiply` says.
        unsafe { lay_panel::<I, W, Q>(isa, words, (i, at_once.min(rows - i)), lines, panel) };
    }
    let ahead = (part.prefetch_distance() / SIDE).min(row_bytes);
    let mut tile = [0.0f32; GEMV_ROWS * PANEL];
    for j in (0..cols).step_by(PANEL) {
        let some = PANEL.min(cols - j);
        for jj in (0..some).step_by(I::LANES) {
            for i in (0..rows).step_by(at_once) {
                let panel = panels.wrapping_add(i / at_once * panel_len);
                let mut square = [isa.splat(0.0); PANEL];
                for s in (0..I::LANES.min(some - jj)).step_by(SIDE) {
                    let first = data.wrapping_offset((col + j + jj + s) as isize * stride);
                    let weight = BroadcastRows { first, stride, len: SIDE.min(some - jj - s), row_bytes, ahead };
                    // SAFETY: by the `# Safety` clause of `multiply`, those rows exist, as deep as the panel.
                    let sums = unsafe { weight.multiply::<I, W, Q>(isa, words, panel) };
                    square[s..s + SIDE].copy_from_slice(&sums);
                }
                isa.transpose(&mut square);
                for r in 0..at_once.min(rows - i) {
                    let sum = if Q == 2 { isa.add(square[r * Q], square[r * Q + 1]) } else { square[r] };
                    // SAFETY: the tile has `GEMV_ROWS` rows of 16 floats, and a register fits a row from `jj` on.
                    unsafe { isa.store(tile.as_mut_ptr().add((i + r) * PANEL + jj), sum) };
                }
            }
        }
        let region = Region { row, col: col + j, rows, cols: some };
        // SAFETY: the tile has `GEMV_ROWS` x 16 floats; the region lies in the part's.
        isa.run(unsafe { Finish::new(&part.store, tile.as_ptr(), PANEL, TilePlace::whole(region)) });
    }
}

/// All rows of W, by their bytes.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct WeightBytes {
    pub(in crate::gemm) first: *const u8,
    /// Bytes between rows.
    pub(in crate::gemm) stride: isize,
}

/// Up to [`SIDE`] rows of W.
#[derive(Debug, Clone, Copy)]
struct BroadcastRows {
    first: *const u8,
    /// Bytes between rows.
    stride: isize,
    /// Rows that exist, at least one: the last one stands for those that do not.
    len: usize,
    row_bytes: usize,
    /// How far ahead in a row a line is prefetched, bytes, at most a row.
    ahead: usize,
}

impl BroadcastRows {
    /// Bytes from behind the end of a row to the row of the next [`SIDE`].
    #[inline(always)]
    fn next_rows(self) -> isize {
        SIDE as isize * self.stride - self.row_bytes as isize
    }

    /// The sums of each row, a lane for each place of the panel.
    ///
    /// # Safety
    /// The rows are readable for `row_bytes`; the panel has as many lines.
    #[inline(always)]
    unsafe fn multiply<I: Isa, W: Words<I>, const Q: usize>(self, isa: I, words: W, panel: *const f32) -> [I::V; SIDE] {
        let mut rows = [self.first; SIDE];
        for (r, row) in rows.iter_mut().enumerate() {
            *row = self.first.wrapping_offset(r.min(self.len - 1) as isize * self.stride);
        }
        let mut sums = [[isa.splat(0.0); 2]; SIDE];
        let (whole, rest, step) = (self.row_bytes / LINE_BYTES, self.row_bytes % LINE_BYTES, line_floats::<I, W>(Q));
        let mut ends = [[0u8; LINE_BYTES]; SIDE];
        // Whole lines, then what is left of each row in a line of its own: one loop for both.
        for (lines, at_end) in [(0..whole, false), (whole..whole + usize::from(rest > 0), true)] {
            if at_end {
                for (row, end) in rows.iter_mut().zip(&mut ends) {
                    // SAFETY: the rest of the row.
                    unsafe { core::ptr::copy_nonoverlapping(row.add(whole * LINE_BYTES), end.as_mut_ptr(), rest) };
                    *row = end.as_ptr().wrapping_sub(whole * LINE_BYTES);
                }
            }
            for line in lines {
                let at = line * LINE_BYTES;
                // Behind the end of a row come the next rows.
                let further = if at + self.ahead < self.row_bytes { 0 } else { self.next_rows() };
                let ask = (at + self.ahead) as isize + further;
                for row in rows {
                    isa.prefetch(row.wrapping_offset(ask));
                }
                // SAFETY: a whole line of each row, or of what was made of it, and of the panel.
                unsafe { add_line::<I, W, Q>(isa, words, (rows, at), panel.add(line * step), &mut sums) };
            }
        }
        let mut all = [isa.splat(0.0); SIDE];
        for (all, sums) in all.iter_mut().zip(sums) {
            *all = isa.add(sums[0], sums[1]);
        }
        all
    }
}

/// Adds the products of a line of the panel with the line at byte `at` of each row.
///
/// # Safety
/// They are readable.
#[inline(always)]
unsafe fn add_line<I: Isa, W: Words<I>, const Q: usize>(
    isa: I,
    words: W,
    (rows, at): ([*const u8; SIDE], usize),
    panel: *const f32,
    sums: &mut [[I::V; 2]; SIDE],
) {
    for t in (0..WORDS / Q).step_by(2) {
        for parity in 0..2 {
            let a = panel.wrapping_add((t + parity) * W::STEPS * I::LANES);
            // SAFETY: by the `# Safety` clause of `add_line`, that many registers of the panel, and words of each row.
            unsafe {
                let first = isa.load(a);
                let a = [first, if W::STEPS == 2 { isa.load(a.add(I::LANES)) } else { first }];
                for (row, sums) in rows.iter().zip(&mut *sums) {
                    let word: *const f32 = row.wrapping_add(at).cast::<f32>().wrapping_add((t + parity) * Q);
                    let w = if Q == 2 { isa.splat_two(word) } else { isa.splat(word.read_unaligned()) };
                    words.add(isa, parity, w, a, sums);
                }
            }
        }
    }
}
