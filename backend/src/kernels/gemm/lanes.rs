//! Few rows against a weight `[n, k]` as it lies, rows of A in the lanes of a register: each word of W is broadcast straight from memory.
//!
//! A word is 32 bits of a row of W: one f32, or two bf16 that are neighbours. With 9 to 16 rows of A a register holds one word of
//! each row; with up to 8 it holds two words of each, and W is broadcast by two:
//!
//! ```text
//! A becomes [k words / Q][16 / Q rows][Q], Q = 1 or 2                   a panel, in L1 or L2
//! for j in 0..n by 8                                                    rows of W
//!     for p in 0..k words by Q
//!         a = panel[p / Q]                                              one line
//!         for r in 0..8:  acc[r] += a · broadcast(W[j + r][p..p + Q])   no other load, no shuffle
//!     turn the sums of 16 rows of W; for Q = 2 add neighbours
//! ```
//!
//! Dot products along the rows (gemv.rs) load A once for each few rows of W, more than an L1 cache holds, and sum across lanes. Here a line
//! of A serves 8 rows of W, and a line of W 16 words: the loop does one load a multiply-add, which is what the arithmetic units keep
//! pace with. 8 rows side by side fit the ways of any L1 cache, even where they lie a multiple of 4 KiB apart, and their
//! streams are asked for in the rows themselves.

use super::epilogue::load_up_to;
use super::few_rows::LINE_BYTES;
use super::part::Part;
use super::plan::GEMV_ROWS;
use super::raw::{RawFloats, RawMatrix};
use super::scratch::Scratch;
use super::sink::{Finish, Region, Turn};
use crate::kernels::Storage;
use crate::simd::{Isa, PANEL};
use core::marker::PhantomData;

/// Rows of W side by side.
const SIDE: usize = 8;

/// Words in a line of W, and lanes of a register: the loop takes a line of each row at a time.
const WORDS: usize = PANEL;

/// Sums of each row of W, which do not wait for each other: where there are 32 registers.
#[inline(always)]
const fn sums_a_row<I: Isa>() -> usize {
    if I::LANES == PANEL { 2 } else { 1 }
}

/// How words of W are multiplied, and how A lies for it.
pub(super) trait Words<I: Isa>: Copy {
    /// Steps of A that a word is multiplied by in registers of their own: 2 where its halves are widened.
    const STEPS: usize;

    /// Bytes of a row of W.
    fn row_bytes(depth: usize) -> usize;

    /// `LANES` numbers of row `i` of A from number `at` on (steps of the depth, or pairs of them), 0 where there are none.
    ///
    /// # Safety
    /// Row `i` is readable.
    unsafe fn load_left(self, isa: I, i: usize, at: usize) -> I::V;

    /// Adds the products of words `w` with their steps of A. `turn` alternates between 0 and 1.
    fn add(self, isa: I, turn: usize, w: I::V, a: [I::V; 2], sums: &mut [I::V; 2]);
}

/// Weights of type `W` against floats of type `A`.
#[derive(Debug, Clone, Copy)]
struct FloatWords<A, W> {
    a: *const A,
    row_stride: isize,
    col_stride: isize,
    depth: usize,
    weight: PhantomData<W>,
}

/// An element type of weights that are broadcast by words.
pub(super) trait WordElement: Storage {
    /// Elements in a word.
    const IN_WORD: usize = size_of::<f32>() / size_of::<Self>();

    /// The words as f32: each of its elements.
    fn widen<I: Isa>(isa: I, words: I::V) -> [I::V; 2];
}

impl WordElement for f32 {
    #[inline(always)]
    fn widen<I: Isa>(_isa: I, words: I::V) -> [I::V; 2] {
        [words; 2]
    }
}

impl WordElement for half::bf16 {
    #[inline(always)]
    fn widen<I: Isa>(isa: I, words: I::V) -> [I::V; 2] {
        [isa.even_bf16(words), isa.odd_bf16(words)]
    }
}

impl<I: Isa, A: Storage, W: WordElement> Words<I> for FloatWords<A, W> {
    const STEPS: usize = W::IN_WORD;

    fn row_bytes(depth: usize) -> usize {
        depth * size_of::<W>()
    }

    #[inline(always)]
    unsafe fn load_left(self, isa: I, i: usize, at: usize) -> I::V {
        let have = self.depth.saturating_sub(at).min(I::LANES);
        let from = self.a.wrapping_offset(i as isize * self.row_stride + at as isize * self.col_stride);
        // SAFETY: the caller's promise: `have` elements of the row exist.
        unsafe {
            if self.col_stride == 1 {
                return load_up_to(isa, from, have);
            }
            let mut some = [0.0f32; PANEL];
            for (p, x) in some.iter_mut().enumerate().take(have) {
                *x = from.wrapping_offset(p as isize * self.col_stride).read().to_f32();
            }
            isa.load(some.as_ptr())
        }
    }

    #[inline(always)]
    fn add(self, isa: I, turn: usize, w: I::V, a: [I::V; 2], sums: &mut [I::V; 2]) {
        let w = W::widen(isa, w);
        let turn = turn % sums_a_row::<I>();
        sums[turn] = isa.mul_add(w[0], a[0], sums[turn]);
        if W::IN_WORD == 2 {
            let turn = (turn + 1) % sums_a_row::<I>();
            sums[turn] = isa.mul_add(w[1], a[1], sums[turn]);
        }
    }
}

/// Products of the few rows of `part` with the rows of `weight`, `stride` elements apart.
///
/// # Safety
/// As for [`Part::kernel`].
#[inline(always)]
pub(super) unsafe fn multiply_lanes<I: Isa, W: WordElement>(isa: I, part: &Part, weight: *const W, stride: isize) {
    let RawMatrix { data, row_stride, col_stride } = part.a.matrix.from(part.region.row, 0);
    let (depth, rows) = (part.depth, (weight.cast::<u8>(), stride * size_of::<W>() as isize));
    // SAFETY: the caller's promise.
    unsafe {
        match data {
            RawFloats::F32(a) => {
                multiply(isa, part, FloatWords { a, row_stride, col_stride, depth, weight: PhantomData::<W> }, rows);
            }
            RawFloats::Bf16(a) => {
                multiply(isa, part, FloatWords { a, row_stride, col_stride, depth, weight: PhantomData::<W> }, rows);
            }
            RawFloats::F16(a) => {
                multiply(isa, part, FloatWords { a, row_stride, col_stride, depth, weight: PhantomData::<W> }, rows);
            }
        }
    }
}

/// Products of the few rows of `part`, which `words` reads, with rows of W: their first byte and the bytes between them.
///
/// # Safety
/// As for [`Part::kernel`]; `words` reads A from the region's first row on, and its type is W's.
#[inline(always)]
pub(super) unsafe fn multiply<I: Isa, W: Words<I>>(isa: I, part: &Part, words: W, weight: (*const u8, isize)) {
    // SAFETY: the caller's promise; so many rows have so many lanes.
    unsafe {
        if part.region.rows <= I::LANES / 2 {
            multiply_rows::<I, W, 2>(isa, part, words, weight);
        } else {
            multiply_rows::<I, W, 1>(isa, part, words, weight);
        }
    }
}

/// [`multiply`] with `Q` words of each row of A in a register.
///
/// # Safety
/// As for [`multiply`].
#[inline(always)]
unsafe fn multiply_rows<I: Isa, W: Words<I>, const Q: usize>(
    isa: I,
    part: &Part,
    words: W,
    (data, stride): (*const u8, isize),
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
        // SAFETY: the buffer has as many lines for each panel; the caller's promise for A.
        unsafe { lay_panel::<I, W, Q>(isa, words, (i, at_once.min(rows - i)), lines, panel) };
    }
    let ahead = (part.prefetch / SIDE).min(row_bytes);
    let mut tile = [0.0f32; GEMV_ROWS * PANEL];
    for j in (0..cols).step_by(PANEL) {
        let some = PANEL.min(cols - j);
        for jj in (0..some).step_by(I::LANES) {
            for i in (0..rows).step_by(at_once) {
                let panel = panels.wrapping_add(i / at_once * panel_len);
                let mut square = [isa.splat(0.0); PANEL];
                for s in (0..I::LANES.min(some - jj)).step_by(SIDE) {
                    let first = data.wrapping_offset((col + j + jj + s) as isize * stride);
                    let weight = WeightRows { first, stride, len: SIDE.min(some - jj - s), row_bytes, ahead };
                    // SAFETY: the caller's promise: those rows exist, as deep as the panel.
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
        isa.run(unsafe { Finish::new(&part.sink, tile.as_ptr(), PANEL, region, Turn::WHOLE) });
    }
}

/// Floats of a panel of A that one line of each row of W is multiplied by.
#[inline(always)]
fn line_floats<I: Isa, W: Words<I>>(q: usize) -> usize {
    WORDS / q * W::STEPS * I::LANES
}

/// Lays rows of A, the first of them and their number, out: `[words / Q][STEPS][LANES / Q rows][Q]`, zeros for rows and words that do not
/// exist.
///
/// # Safety
/// The rows are readable; `panel` is writable for `lines` of [`line_floats`].
#[inline(always)]
unsafe fn lay_panel<I: Isa, W: Words<I>, const Q: usize>(
    isa: I,
    words: W,
    (first, rows): (usize, usize),
    lines: usize,
    panel: *mut f32,
) {
    let (classes, steps) = (Q * W::STEPS, lines * WORDS / Q);
    // A square of registers comes of as many words of each row in each of `Q` places.
    for from in (0..steps).step_by(I::LANES) {
        let mut squares = [[isa.splat(0.0); PANEL]; 2];
        for i in 0..rows {
            let mut v = [isa.splat(0.0); 4];
            for (c, v) in v.iter_mut().enumerate().take(classes) {
                // SAFETY: the caller's promise.
                *v = unsafe { words.load_left(isa, first + i, from * classes + c * I::LANES) };
            }
            let classed = divide(isa, v, classes);
            for q in 0..Q {
                for (s, square) in squares.iter_mut().enumerate().take(W::STEPS) {
                    square[i * Q + q] = classed[q * W::STEPS + s];
                }
            }
        }
        for (s, square) in squares.iter_mut().enumerate().take(W::STEPS) {
            isa.transpose(square);
            for (t, &v) in square.iter().enumerate().take(I::LANES.min(steps - from)) {
                // SAFETY: a register of the panel.
                unsafe { isa.store(panel.add(((from + t) * W::STEPS + s) * I::LANES), v) };
            }
        }
    }
}

/// Numbers `0..classes · LANES` divided by what is left of their place over `classes`, which is 1, 2 or 4.
#[inline(always)]
fn divide<I: Isa>(isa: I, v: [I::V; 4], classes: usize) -> [I::V; 4] {
    match classes {
        1 => v,
        2 => {
            let [even, odd] = isa.split([v[0], v[1]]);
            [even, odd, v[2], v[3]]
        }
        _ => {
            let ([e0, o0], [e1, o1]) = (isa.split([v[0], v[1]]), isa.split([v[2], v[3]]));
            let ([c0, c2], [c1, c3]) = (isa.split([e0, e1]), isa.split([o0, o1]));
            [c0, c1, c2, c3]
        }
    }
}

/// Up to [`SIDE`] rows of W.
#[derive(Debug, Clone, Copy)]
struct WeightRows {
    first: *const u8,
    /// Bytes between rows.
    stride: isize,
    /// Rows that exist, at least one: the last one stands for those that do not.
    len: usize,
    row_bytes: usize,
    /// How much further in a row a line is asked for, at most a row.
    ahead: usize,
}

impl WeightRows {
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
        let (whole, step) = (self.row_bytes / LINE_BYTES, line_floats::<I, W>(Q));
        for line in 0..whole {
            let at = line * LINE_BYTES;
            // Behind the end of a row come the next rows.
            let further = if at + self.ahead < self.row_bytes {
                0
            } else {
                SIDE as isize * self.stride - self.row_bytes as isize
            };
            let ask = (at + self.ahead) as isize + further;
            for row in rows {
                isa.prefetch(row.wrapping_offset(ask));
            }
            // SAFETY: a whole line of each row and of the panel.
            unsafe { add_line::<I, W, Q>(isa, words, (rows, at), panel.add(line * step), &mut sums) };
        }
        let rest = self.row_bytes % LINE_BYTES;
        if rest > 0 {
            let mut ends = [[0u8; LINE_BYTES]; SIDE];
            let mut some = rows;
            for ((end, row), at) in ends.iter_mut().zip(rows).zip(&mut some) {
                // SAFETY: the rest of the row.
                unsafe { core::ptr::copy_nonoverlapping(row.add(whole * LINE_BYTES), end.as_mut_ptr(), rest) };
                *at = end.as_ptr();
            }
            // SAFETY: whole lines were made of them.
            unsafe { add_line::<I, W, Q>(isa, words, (some, 0), panel.add(whole * step), &mut sums) };
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
        for turn in 0..2 {
            let a = panel.wrapping_add((t + turn) * W::STEPS * I::LANES);
            // SAFETY: the caller's promise: that many registers of the panel, and words of each row.
            unsafe {
                let first = isa.load(a);
                let a = [first, if W::STEPS == 2 { isa.load(a.add(I::LANES)) } else { first }];
                for (row, sums) in rows.iter().zip(&mut *sums) {
                    let word: *const f32 = row.wrapping_add(at).cast::<f32>().wrapping_add((t + turn) * Q);
                    let w = if Q == 2 { isa.splat_two(word) } else { isa.splat(word.read_unaligned()) };
                    words.add(isa, turn, w, a, sums);
                }
            }
        }
    }
}
