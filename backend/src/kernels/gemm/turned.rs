//! Few rows against a weight `[n, k]` as it lies, in wide registers: the weight is turned into panels a piece at a time, in the L1 cache.
//!
//! ```text
//! for j in 0..n by 16                              rows of W
//!     for p in 0..k by 128 words                   a word: one f32, or two bf16 that are neighbours
//!         turn W[j..j + 16][p..p + 128] into a panel of 8 KiB, and on from there as with a packed weight:
//!         for each line of it, for i in 0..m:  acc[i] += A[i][p] · line
//!         meanwhile ask for the next such piece, a line of memory for each line of the panel
//! ```
//!
//! Dot products along the rows (gemv.rs) load a register of A for each few products, sum across lanes at the end, and read all rows of
//! A, which exceed an L1 cache, again for each few rows of W. A panel needs one broadcast a row and no sum across lanes; a word of A
//! serves 16 columns. Turning costs four shuffles a line, less than a line's way from memory.

use super::few_rows::{LINE_BYTES, Rows};
use super::packed_gemv::{PanelElement, add_line};
use super::part::Part;
use super::plan::GEMV_ROWS;
use super::sink::{Finish, Region, Turn};
use crate::simd::{Isa, PANEL};
use core::mem::MaybeUninit;
use half::bf16;

/// Lines of a panel in a turn: 8 KiB, next to which 16 rows of A as deep (another 8 KiB) stay in the smallest L1 cache.
const CHUNK: usize = 128;

/// A piece of a panel.
#[repr(C, align(64))]
struct Piece(MaybeUninit<[u32; CHUNK * PANEL]>);

impl Piece {
    /// Unspecified contents.
    fn new() -> Self {
        Self(MaybeUninit::uninit())
    }

    /// The first word.
    fn as_mut_ptr(&mut self) -> *mut u32 {
        self.0.as_mut_ptr().cast()
    }
}

/// An element type of weights that are turned.
pub(super) trait TurnedElement: PanelElement {
    /// `LANES` words.
    ///
    /// # Safety
    /// `p` is readable for `LANES · STEPS` elements.
    unsafe fn load_words<I: Isa>(isa: I, p: *const Self) -> I::V;
}

impl TurnedElement for f32 {
    #[inline(always)]
    unsafe fn load_words<I: Isa>(isa: I, p: *const Self) -> I::V {
        // SAFETY: the caller's promise.
        unsafe { isa.load(p) }
    }
}

impl TurnedElement for bf16 {
    #[inline(always)]
    unsafe fn load_words<I: Isa>(isa: I, p: *const Self) -> I::V {
        // SAFETY: the caller's promise: `LANES` pairs are as long as a register.
        unsafe { isa.load(p.cast()) }
    }
}

/// Up to 16 rows of a weight, from one step of the depth on.
#[derive(Debug, Clone, Copy)]
struct Sixteen<S> {
    data: *const S,
    /// Elements between rows.
    stride: isize,
    /// Rows that exist, at least one: the last one stands for those that do not.
    len: usize,
    /// Elements of each row that exist.
    depth: usize,
}

impl<S: TurnedElement> Sixteen<S> {
    /// Elements of a row in a chunk.
    const STEPS: usize = CHUNK * S::STEPS;

    /// The next piece in the order of the loops: further along the rows or, at their end, the next 16 rows.
    #[inline(always)]
    fn next(self, begin: *const S) -> Ask {
        let rows_end = self.depth <= Self::STEPS;
        let at = if rows_end {
            begin.wrapping_offset(PANEL as isize * self.stride)
        } else {
            self.data.wrapping_add(Self::STEPS)
        };
        Ask {
            at: at.cast(),
            stride: self.stride * size_of::<S>() as isize,
            per_row: Self::STEPS * size_of::<S>() / LINE_BYTES,
        }
    }

    /// Turns the first lines, at most [`CHUNK`], into a piece of a panel. Returns how many steps those are.
    ///
    /// # Safety
    /// The rows are readable for the depth; `out` is writable for [`CHUNK`] lines.
    #[inline(always)]
    unsafe fn turn<I: Isa>(self, isa: I, out: *mut u32) -> usize {
        let steps = S::STEPS;
        let have = self.depth.min(Self::STEPS);
        let row = |i: usize| self.data.wrapping_offset(i.min(self.len - 1) as isize * self.stride);
        let rows: [*const S; PANEL] = core::array::from_fn(row);
        for line in (0..have.div_ceil(steps)).step_by(PANEL) {
            let (at, some) = (line * steps, (have - line * steps).min(PANEL * steps));
            let mut square: [I::V; PANEL] = if some == PANEL * steps {
                // SAFETY: the caller's promise: a whole register lies within the depth.
                core::array::from_fn(|i| unsafe { S::load_words(isa, rows[i].add(at)) })
            } else {
                // SAFETY: the caller's promise; what does not exist is not read.
                core::array::from_fn(|i| unsafe { load_some(isa, rows[i].add(at), some) })
            };
            isa.transpose(&mut square);
            for (t, v) in square.into_iter().enumerate() {
                // SAFETY: the caller's promise: `CHUNK` is a multiple of 16.
                unsafe { isa.store(out.add((line + t) * PANEL).cast(), v) };
            }
        }
        have
    }
}

/// The words of the first `some` elements, the others 0.
///
/// # Safety
/// `p` is readable for them; they are fewer than a register of words.
#[inline(always)]
unsafe fn load_some<I: Isa, S: TurnedElement>(isa: I, p: *const S, some: usize) -> I::V {
    let mut words = [S::zeroed(); 2 * PANEL];
    // SAFETY: the caller's promise; the array holds a register of words.
    unsafe {
        core::ptr::copy_nonoverlapping(p, words.as_mut_ptr(), some);
        S::load_words(isa, words.as_ptr())
    }
}

const _: () = assert!(CHUNK.is_multiple_of(PANEL), "whole squares are turned");

/// The lines of memory of the next piece, of which groups of rows of A ask for a share each.
#[derive(Debug, Clone, Copy)]
struct Ask {
    at: *const u8,
    stride: isize,
    per_row: usize,
}

impl Ask {
    /// The line to ask for at line `line` of the panel, in group `group` of `2^log_groups`.
    #[inline(always)]
    fn line(self, line: usize, (group, log_groups): (usize, u32)) -> *const u8 {
        let share = (line + group * CHUNK) >> log_groups;
        let at = share * self.per_row * PANEL / CHUNK;
        self.at.wrapping_offset((at / self.per_row) as isize * self.stride).wrapping_add(at % self.per_row * LINE_BYTES)
    }
}

/// Products of the few rows of `part` with the rows of `weight`, `stride` elements apart, where a register has 16 lanes.
///
/// # Safety
/// As for [`Part::kernel`].
#[inline(always)]
pub(super) unsafe fn multiply_turned<I: Isa, S: TurnedElement>(isa: I, part: &Part, weight: *const S, stride: isize) {
    let Region { row, col, rows, cols } = part.region;
    debug_assert!(rows <= GEMV_ROWS && I::LANES == PANEL);
    // SAFETY: the caller's promise.
    let a = unsafe { Rows::contiguous(isa, part.a.matrix.from(row, 0), rows, part.depth) };
    let mut piece = Piece::new();
    let log_groups = (rows / 16 + rows % 16 / 8 + rows % 8 / 4 + rows % 4 / 2 + rows % 2).next_power_of_two().ilog2();
    for j in (0..cols).step_by(PANEL) {
        let begin = weight.wrapping_offset((col + j) as isize * stride);
        let len = PANEL.min(cols - j);
        let mut tile = [0.0f32; GEMV_ROWS * PANEL];
        let mut p = 0;
        while p < part.depth {
            let weight = Sixteen { data: begin.wrapping_add(p), stride, len, depth: part.depth - p };
            let ask = weight.next(begin);
            // SAFETY: the caller's promise; the piece has `CHUNK` lines.
            let have = unsafe { weight.turn(isa, piece.as_mut_ptr()) };
            let (mut i, mut group) = (0, 0);
            while i < rows {
                let left = (a.data.wrapping_offset(i as isize * a.stride).wrapping_add(p), a.stride);
                let out = tile.as_mut_ptr().wrapping_add(i * PANEL);
                let piece = (piece.as_mut_ptr().cast::<S>().cast_const(), have);
                let ask = (ask, (group, log_groups));
                // SAFETY: those rows of A exist; the piece was just written; the tile has `GEMV_ROWS` x 16 floats.
                i += unsafe {
                    match rows - i {
                        16.. => add_piece::<I, S, 16, 1>(isa, left, piece, ask, out),
                        8.. => add_piece::<I, S, 8, 1>(isa, left, piece, ask, out),
                        4.. => add_piece::<I, S, 4, 2>(isa, left, piece, ask, out),
                        2.. => add_piece::<I, S, 2, 4>(isa, left, piece, ask, out),
                        _ => add_piece::<I, S, 1, 4>(isa, left, piece, ask, out),
                    }
                };
                group += 1;
            }
            p += have;
        }
        let region = Region { row, col: col + j, rows, cols: len };
        // SAFETY: the tile has `GEMV_ROWS` x 16 floats; the region lies in the part's.
        isa.run(unsafe { Finish::new(&part.sink, tile.as_ptr(), PANEL, region, Turn::WHOLE) });
    }
}

/// Adds to `M` rows of `out`, 16 floats each, the products of `M` rows of A with the first `have` steps of a piece. Returns `M`.
///
/// # Safety
/// The rows are readable for those steps, and the piece for them; `out` is readable and writable.
#[inline(always)]
unsafe fn add_piece<I: Isa, P: PanelElement, const M: usize, const U: usize>(
    isa: I,
    (a, a_stride): (*const f32, isize),
    (piece, have): (*const P, usize),
    (ask, share): (Ask, (usize, u32)),
    out: *mut f32,
) -> usize {
    let mut acc = [[[isa.splat(0.0); 2]; M]; U];
    for (i, sum) in acc[0].iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        sum[0] = unsafe { isa.load(out.add(i * PANEL)) };
    }
    let whole = have / P::STEPS;
    let mut line = 0;
    while line + U <= whole {
        for (u, sums) in acc.iter_mut().enumerate() {
            let at = line + u;
            let (a, b) = (a.wrapping_add(at * P::STEPS), piece.wrapping_add(at * PANEL * P::STEPS));
            // SAFETY: line `at` lies within the piece.
            unsafe { add_line(isa, (a, a_stride), (b, ask.line(at, share)), P::STEPS, sums) };
        }
        line += U;
    }
    for at in line..have.div_ceil(P::STEPS) {
        let (a, b) = (a.wrapping_add(at * P::STEPS), piece.wrapping_add(at * PANEL * P::STEPS));
        let steps = P::STEPS.min(have - at * P::STEPS);
        // SAFETY: line `at` lies within the piece, and no more steps are taken than A has.
        unsafe { add_line(isa, (a, a_stride), (b, ask.line(at, share)), steps, &mut acc[0]) };
    }
    for i in 0..M {
        let sum = acc[1..].iter().fold(acc[0][i][0], |sum, more| isa.add(sum, more[i][0]));
        // SAFETY: the caller's promise.
        unsafe { isa.store(out.add(i * PANEL), sum) };
    }
    M
}
