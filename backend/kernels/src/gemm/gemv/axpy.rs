//! Products of few rows with B whose rows are contiguous: B is streamed row by row into the output.
//!
//! ```text
//! for columns j.. that stay in the L1 cache, with the rows of B that are read and those that come next
//!     for p in 0..k by 4
//!         for i in 0..m by 2
//!             C[i..i + 2][j..] += A[i..i + 2][p..p + 4] · B[p..p + 4][j..]
//! ```

use crate::Storage;
use crate::gemm::gemv::left_rows::{LeftRows, RowPointers, SumPointers};
use crate::gemm::macro_kernel::part::ProductPart;
use crate::gemm::macro_kernel::store::Finish;
use crate::gemm::raw::{RawFloats, RawMatrix};
use crate::gemm::region::{Region, TilePlace};
use crate::gemm::variant::GEMV_ROWS;
use crate::simd::{Isa, PANEL};
use core::mem::MaybeUninit;

/// Floats of C, of the rows of B that are read and of those that come next, which stay in the L1 cache: 24 of 32 KB.
const AXPY_FLOATS: usize = 6144;

/// Rows of B that are added at a time: each load and store of C serves that many multiply-adds.
const AXPY_DEPTH: usize = 4;

/// Products of the few rows of `part` with B whose rows are contiguous.
///
/// # Safety
/// `part` keeps the promise of a [`ProductPart`]; `b.col_stride` is 1.
#[inline(always)]
pub(in crate::gemm) unsafe fn multiply_axpys<I: Isa>(isa: I, part: &ProductPart, b: RawMatrix) {
    let (data, stride) = (b.from(0, part.region.col).data, b.row_stride);
    // SAFETY: `part` is as `ProductPart` says; `b.col_stride` is 1 (`# Safety` of `multiply_axpys`).
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
unsafe fn multiply_axpys_as<I: Isa, S: Storage>(isa: I, part: &ProductPart, b: *const S, stride: isize) {
    let Region { row, col, rows, cols } = part.region;
    debug_assert!(rows <= GEMV_ROWS);
    // SAFETY: `part` is as `ProductPart` says; `b.col_stride` is 1 (`# Safety` of `multiply_axpys`).
    let a = unsafe { LeftRows::contiguous(isa, part.a.matrix.from(row, 0), rows, part.depth) };
    let mut tile = MaybeUninit::<[f32; AXPY_FLOATS]>::uninit();
    let tile: *mut f32 = tile.as_mut_ptr().cast();
    let width = AXPY_FLOATS / (rows + 2 * AXPY_DEPTH) / PANEL * PANEL;
    // The same columns of the next rows: the hardware follows no row for longer than `width`.
    let ahead = if part.prefetch_distance() > 0 { AXPY_DEPTH as isize * stride * size_of::<S>() as isize } else { 0 };
    for j in (0..cols).step_by(width) {
        let some = width.min(cols - j);
        // SAFETY: `rows` x `width` floats fit the array; A and B as the `# Safety` clause of `multiply_axpys` says.
        unsafe {
            core::ptr::write_bytes(tile, 0, rows * width);
            let mut p = 0;
            while p < part.depth {
                let data = b.wrapping_add(j).wrapping_offset(p as isize * stride);
                let deep = p + AXPY_DEPTH <= part.depth;
                let mut i = 0;
                while i < rows {
                    let x = a.from(i).at(p);
                    let out = SumPointers { data: tile.add(i * width), stride: width };
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
            isa.run(Finish::new(&part.store, tile, width, TilePlace::whole(region)));
        }
    }
}

/// Rows of B with contiguous columns.
#[derive(Debug, Clone, Copy)]
struct InputRows<S> {
    data: *const S,
    stride: isize,
    cols: usize,
    /// How far ahead a line is prefetched, bytes.
    ahead: isize,
}

/// `out[i][..cols] += Σ x[i][t] · b[t][..cols]` for `M` rows of A over `T` rows of B.
///
/// # Safety
/// `M` rows of `x` are readable for `T` floats, `T` rows of `b` for `cols` elements; each row of `out` has `cols`
/// floats rounded up to whole registers.
#[inline(always)]
unsafe fn add_rows<I: Isa, S: Storage, const M: usize, const T: usize>(
    isa: I,
    x: RowPointers,
    b: InputRows<S>,
    out: SumPointers,
) {
    let InputRows { data: b, stride: b_stride, cols, ahead } = b;
    let mut xs = [[isa.splat(0.0); T]; M];
    for (i, row) in xs.iter_mut().enumerate() {
        for (t, v) in row.iter_mut().enumerate() {
            // SAFETY: `M` rows of `x` are readable for `T` floats, `T` rows of `b` for `cols` elements; each row of
            // `out` has `cols` floats rounded up to whole registers (`# Safety` of `add_rows`).
            *v = isa.splat(unsafe { x.data.offset(i as isize * x.stride).add(t).read() });
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
        // SAFETY: the output has whole registers of each row.
        unsafe { add_register(isa, &xs, &row, out.at(j)) };
    }
    if whole < cols {
        let mut row = [isa.splat(0.0); T];
        for (t, v) in row.iter_mut().enumerate() {
            let at = b.wrapping_offset(t as isize * b_stride).wrapping_add(whole);
            // SAFETY: no more than the rest of the row is loaded.
            *v = unsafe { S::load_partial(isa, at, cols - whole) };
        }
        // SAFETY: the output has whole registers.
        unsafe { add_register(isa, &xs, &row, out.at(whole)) };
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
    SumPointers { data: out, stride }: SumPointers,
) {
    for (i, xs) in xs.iter().enumerate() {
        // SAFETY: `M` rows of `out` are readable and writable for a register (`# Safety` of `add_register`).
        unsafe {
            let mut sum = isa.load(out.add(i * stride));
            for (&x, &b) in xs.iter().zip(row) {
                sum = isa.mul_add(x, b, sum);
            }
            isa.store(out.add(i * stride), sum);
        }
    }
}
