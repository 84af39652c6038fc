//! Products of few rows with B whose rows are contiguous: B is streamed row by row into the output.
//!
//! ```text
//! for columns j.. that stay in the L1 cache, with the rows of B that are read and those that come next
//!     for p in 0..k by 4
//!         for i in 0..m by 2
//!             C[i..i + 2][j..] += A[i..i + 2][p..p + 4] · B[p..p + 4][j..]
//! ```

use super::few_rows::Rows;
use super::part::Part;
use super::plan::GEMV_ROWS;
use super::raw::{RawFloats, RawMatrix};
use super::sink::{Finish, Region, Turn};
use crate::Storage;
use crate::simd::{Isa, PANEL};
use core::mem::MaybeUninit;

/// Floats of C, of the rows of B that are read and of those that come next, which stay in the L1 cache: 24 of 32 KB.
const AXPY_FLOATS: usize = 6144;

/// Rows of B that are added at a time: each load and store of C serves that many multiply-adds.
const AXPY_DEPTH: usize = 4;

/// Products of the few rows of `part` with B whose rows are contiguous.
///
/// # Safety
/// As for [`Part::kernel`]; `b.col_stride` is 1.
#[inline(always)]
pub(super) unsafe fn multiply_axpys<I: Isa>(isa: I, part: &Part, b: RawMatrix) {
    let (data, stride) = (b.from(0, part.region.col).data, b.row_stride);
    // SAFETY: the caller's promise.
    unsafe {
        match data {
            RawFloats::F32(data) => multiply_axpys_as(isa, part, data, stride),
            RawFloats::Bf16(data) => multiply_axpys_as(isa, part, data, stride),
            RawFloats::F16(data) => multiply_axpys_as(isa, part, data, stride),
        }
    }
}

/// [`multiply_axpys`] for one element type.
///
/// # Safety
/// As for [`multiply_axpys`].
#[inline(always)]
unsafe fn multiply_axpys_as<I: Isa, S: Storage>(isa: I, part: &Part, b: *const S, stride: isize) {
    let Region { row, col, rows, cols } = part.region;
    debug_assert!(rows <= GEMV_ROWS);
    // SAFETY: the caller's promise.
    let a = unsafe { Rows::contiguous(isa, part.a.matrix.from(row, 0), rows, part.depth) };
    let mut tile = MaybeUninit::<[f32; AXPY_FLOATS]>::uninit();
    let tile: *mut f32 = tile.as_mut_ptr().cast();
    let width = AXPY_FLOATS / (rows + 2 * AXPY_DEPTH) / PANEL * PANEL;
    // The same columns of the next rows: the hardware follows no row for longer than `width`.
    let ahead = if part.prefetch > 0 { AXPY_DEPTH as isize * stride * size_of::<S>() as isize } else { 0 };
    for j in (0..cols).step_by(width) {
        let some = width.min(cols - j);
        // SAFETY: `rows` x `width` floats fit the array; the caller's promise for A and B.
        unsafe {
            core::ptr::write_bytes(tile, 0, rows * width);
            let mut p = 0;
            while p < part.depth {
                let data = b.wrapping_add(j).wrapping_offset(p as isize * stride);
                let deep = p + AXPY_DEPTH <= part.depth;
                let mut i = 0;
                while i < rows {
                    let x = (a.data.wrapping_offset(i as isize * a.stride).wrapping_add(p), a.stride);
                    let out = (tile.add(i * width), width);
                    let b = InputRows { data, stride, cols: some, ahead: if i == 0 { ahead } else { 0 } };
                    match (deep, i + 2 <= rows) {
                        (true, true) => add_rows::<I, S, 2, AXPY_DEPTH>(isa, x, b, out),
                        (true, false) => add_rows::<I, S, 1, AXPY_DEPTH>(isa, x, b, out),
                        (false, true) => add_rows::<I, S, 2, 1>(isa, x, b, out),
                        (false, false) => add_rows::<I, S, 1, 1>(isa, x, b, out),
                    }
                    i += 2;
                }
                p += if deep { AXPY_DEPTH } else { 1 };
            }
            let region = Region { row, col: col + j, rows, cols: some };
            isa.run(Finish::new(&part.sink, tile, width, region, Turn::WHOLE));
        }
    }
}

/// Rows of B with contiguous columns.
#[derive(Debug, Clone, Copy)]
struct InputRows<S> {
    data: *const S,
    stride: isize,
    cols: usize,
    /// How much further a line is asked for, bytes.
    ahead: isize,
}

/// `out[i][..cols] += Σ x[i][t] · b[t][..cols]` for `M` rows of A over `T` rows of B. Operands are pointers and row strides.
///
/// # Safety
/// `M` rows of `x` are readable for `T` floats, `T` rows of `b` for `cols` elements; each row of `out` has `cols` floats rounded up to
/// whole registers.
#[inline(always)]
unsafe fn add_rows<I: Isa, S: Storage, const M: usize, const T: usize>(
    isa: I,
    (x, x_stride): (*const f32, isize),
    b: InputRows<S>,
    (out, out_stride): (*mut f32, usize),
) {
    let InputRows { data: b, stride: b_stride, cols, ahead } = b;
    let mut xs = [[isa.splat(0.0); T]; M];
    for (i, row) in xs.iter_mut().enumerate() {
        for (t, v) in row.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            *v = isa.splat(unsafe { x.offset(i as isize * x_stride).add(t).read() });
        }
    }
    let whole = cols / I::LANES * I::LANES;
    for j in (0..whole).step_by(I::LANES) {
        let mut row = [isa.splat(0.0); T];
        for (t, v) in row.iter_mut().enumerate() {
            let at = b.wrapping_offset(t as isize * b_stride).wrapping_add(j);
            isa.prefetch(at.cast::<u8>().wrapping_offset(ahead));
            // SAFETY: a whole register from `j` lies within the row.
            *v = unsafe { S::load(isa, at) };
        }
        // SAFETY: as above.
        unsafe { add_register(isa, &xs, &row, (out.add(j), out_stride)) };
    }
    if whole < cols {
        let mut row = [isa.splat(0.0); T];
        for (t, v) in row.iter_mut().enumerate() {
            let at = b.wrapping_offset(t as isize * b_stride).wrapping_add(whole);
            // SAFETY: no more than the rest of the row is loaded.
            *v = unsafe { S::load_partial(isa, at, cols - whole) };
        }
        // SAFETY: the output has whole registers.
        unsafe { add_register(isa, &xs, &row, (out.add(whole), out_stride)) };
    }
}

/// One register of each row of [`add_rows`]: `out[i] += Σ x[i][t] · b[t]`.
///
/// # Safety
/// `M` rows of `out` are readable and writable for a register.
#[inline(always)]
unsafe fn add_register<I: Isa, const M: usize, const T: usize>(
    isa: I,
    xs: &[[I::V; T]; M],
    row: &[I::V; T],
    (out, stride): (*mut f32, usize),
) {
    for (i, xs) in xs.iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe {
            let mut sum = isa.load(out.add(i * stride));
            for (&x, &b) in xs.iter().zip(row) {
                sum = isa.mul_add(x, b, sum);
            }
            isa.store(out.add(i * stride), sum);
        }
    }
}
