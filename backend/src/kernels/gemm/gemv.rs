//! Products of few rows, where the time is that of reading B once.
//!
//! ```text
//! B transposed, a weight [n, k]      dots:   C[i][j] = Σ_p A[i][p] · W[j][p]        several rows of W and A at a time
//! B row-major [k, n]                 axpys:  C[i][..] += A[i][p] · B[p][..]         several p at a time, C in the L1 cache
//! ```
//!
//! Both read B in the order in which it lies, each element once for all rows of A, with enough sums at a time to hide the latency of a
//! multiply-add, and ask for lines ahead of their use.

use super::epilogue::{Finish, Region, Turn, load_up_to, store_up_to};
use super::part::Part;
use super::plan::GEMV_ROWS;
use super::raw::{RawFloats, RawMatrix};
use super::scratch::Scratch;
use crate::kernels::Storage;
use crate::simd::{Isa, Kernel, PANEL};
use core::mem::MaybeUninit;

/// How far ahead of its use a line of B is asked for, bytes.
pub(super) const PREFETCH_BYTES: usize = 1024;

/// Bytes of a cache line.
const LINE_BYTES: usize = 64;

/// Rows of A as contiguous f32.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) data: *const f32,
    pub(super) stride: isize,
    _copy: Option<Scratch>,
}

impl Rows {
    /// The first `rows` rows of `a`, copied unless they are contiguous f32 already.
    ///
    /// # Safety
    /// `a` is readable for `rows` x `depth`.
    #[inline(always)]
    pub(super) unsafe fn contiguous<I: Isa>(isa: I, a: RawMatrix, rows: usize, depth: usize) -> Self {
        if let (RawFloats::F32(data), 1) = (a.data, a.col_stride) {
            return Self { data, stride: a.row_stride, _copy: None };
        }
        let mut copy = Scratch::take(rows * depth);
        let out = copy.as_mut_ptr();
        isa.run(CopyRows { a, shape: [rows, depth], out });
        Self { data: out, stride: depth as isize, _copy: Some(copy) }
    }
}

/// Copies rows to contiguous f32. Only [`Rows::contiguous`] makes one, by its promise.
#[derive(Debug, Clone, Copy)]
struct CopyRows {
    a: RawMatrix,
    shape: [usize; 2],
    out: *mut f32,
}

impl Kernel for CopyRows {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        let Self { a: RawMatrix { data, row_stride, col_stride }, shape, out } = self;
        // SAFETY: the promise of `Rows::contiguous`; the buffer has `rows` x `depth` floats.
        unsafe {
            match data {
                RawFloats::F32(data) => copy_rows(isa, (data, row_stride, col_stride), shape, out),
                RawFloats::Bf16(data) => copy_rows(isa, (data, row_stride, col_stride), shape, out),
                RawFloats::F16(data) => copy_rows(isa, (data, row_stride, col_stride), shape, out),
            }
        }
    }
}

/// Copies `rows` x `depth` strided elements to contiguous f32.
///
/// # Safety
/// `data` with its strides is readable for them and `out` writable.
#[inline(always)]
unsafe fn copy_rows<I: Isa, S: Storage>(
    isa: I,
    (data, row_stride, col_stride): (*const S, isize, isize),
    [rows, depth]: [usize; 2],
    out: *mut f32,
) {
    for i in 0..rows {
        let row = data.wrapping_offset(i as isize * row_stride);
        let mut p = 0;
        while p < depth {
            // SAFETY: the caller's promise; no more than the rest of the row is touched.
            unsafe {
                if col_stride == 1 {
                    let n = I::LANES.min(depth - p);
                    store_up_to(isa, out.add(i * depth + p), load_up_to(isa, row.add(p), n), n);
                    p += n;
                } else {
                    out.add(i * depth + p).write(row.offset(p as isize * col_stride).read().to_f32());
                    p += 1;
                }
            }
        }
    }
}

/// Rows of a weight `[n, k]` with contiguous k.
#[derive(Debug, Clone, Copy)]
struct WeightRows<S> {
    data: *const S,
    stride: isize,
    /// Rows from `data` on that exist; the last one stands for those that do not.
    len: usize,
}

/// Products of the few rows of `part` with B whose columns are contiguous.
///
/// # Safety
/// As for [`Part::kernel`]; `b.row_stride` is 1.
#[inline(always)]
pub(super) unsafe fn multiply_dots<I: Isa>(isa: I, part: &Part, b: RawMatrix) {
    let stride = b.col_stride;
    // SAFETY: the caller's promise.
    unsafe {
        match b.data {
            RawFloats::F32(data) => multiply_dots_as(isa, part, data, stride),
            RawFloats::Bf16(data) => multiply_dots_as(isa, part, data, stride),
            RawFloats::F16(data) => multiply_dots_as(isa, part, data, stride),
        }
    }
}

/// [`multiply_dots`] for one element type.
///
/// # Safety
/// As for [`multiply_dots`].
#[inline(always)]
unsafe fn multiply_dots_as<I: Isa, S: Storage>(isa: I, part: &Part, weight: *const S, stride: isize) {
    let Region { row, col, rows, cols } = part.region;
    debug_assert!(rows <= GEMV_ROWS);
    // SAFETY: the caller's promise.
    let a = unsafe { Rows::contiguous(isa, part.a.from(row, 0), rows, part.depth) };
    let mut tile = [0.0f32; GEMV_ROWS * PANEL];
    let tile = tile.as_mut_ptr();
    for j in (0..cols).step_by(PANEL) {
        let some = PANEL.min(cols - j);
        for jj in (0..some).step_by(4) {
            let w = WeightRows {
                data: weight.wrapping_offset((col + j + jj) as isize * stride),
                stride,
                len: 4.min(some - jj),
            };
            let mut i = 0;
            while i < rows {
                let left = (a.data.wrapping_offset(i as isize * a.stride), a.stride);
                let out = tile.wrapping_add(i * PANEL + jj);
                // SAFETY: the caller's promise: those rows of A and W exist; the tile has `GEMV_ROWS` x 16 floats and 4 columns from `jj` fit.
                unsafe {
                    match rows - i {
                        1 => {
                            multiply_rows::<I, S, 1, 4, 2>(isa, left, w, part.depth, out);
                            i += 1;
                        }
                        2 | 3 => {
                            multiply_rows::<I, S, 2, 4, 1>(isa, left, w, part.depth, out);
                            i += 2;
                        }
                        // 4 x 4 sums fill 32 registers half; of 16 they would leave none.
                        _ if I::MR > 6 => {
                            multiply_rows::<I, S, 4, 4, 1>(isa, left, w, part.depth, out);
                            i += 4;
                        }
                        _ => {
                            let second = WeightRows {
                                data: w.data.wrapping_offset(2.min(w.len as isize - 1) * stride),
                                len: w.len.saturating_sub(2).max(1),
                                ..w
                            };
                            multiply_rows::<I, S, 4, 2, 1>(isa, left, w, part.depth, out);
                            multiply_rows::<I, S, 4, 2, 1>(isa, left, second, part.depth, out.wrapping_add(2));
                            i += 4;
                        }
                    }
                }
            }
        }
        let region = Region { row, col: col + j, rows, cols: some };
        // SAFETY: the tile has `GEMV_ROWS` x 16 floats; the region lies in the part's.
        isa.run(unsafe { Finish::new(&part.sink, tile, PANEL, region, Turn::WHOLE) });
    }
}

/// `M` rows of A times `R` rows of W, each with `U` sums: `out[i · PANEL + r]`.
///
/// # Safety
/// `M` rows of `a` and the `len` rows of `w` are readable for `depth`; `out` is writable.
#[inline(always)]
unsafe fn multiply_rows<I: Isa, S: Storage, const M: usize, const R: usize, const U: usize>(
    isa: I,
    (a, a_stride): (*const f32, isize),
    w: WeightRows<S>,
    depth: usize,
    out: *mut f32,
) {
    let mut rows = [w.data; R];
    for (r, row) in rows.iter_mut().enumerate() {
        *row = w.data.wrapping_offset(r.min(w.len - 1) as isize * w.stride);
    }
    let mut acc = [[[isa.splat(0.0); U]; R]; M];
    let mut p = 0;
    while p + U * I::LANES <= depth {
        for (r, row) in rows.iter().enumerate() {
            let bytes = U * I::LANES * size_of::<S>();
            for line in 0..bytes.div_ceil(LINE_BYTES) {
                isa.prefetch(row.wrapping_add(p).cast::<u8>().wrapping_add(PREFETCH_BYTES + line * LINE_BYTES));
            }
            for u in 0..U {
                // SAFETY: `U` registers from `p` lie within the depth.
                unsafe {
                    let v = S::load(isa, row.add(p + u * I::LANES));
                    for (i, sums) in acc.iter_mut().enumerate() {
                        let x = isa.load(a.offset(i as isize * a_stride).add(p + u * I::LANES));
                        sums[r][u] = isa.mul_add(x, v, sums[r][u]);
                    }
                }
            }
        }
        p += U * I::LANES;
    }
    while p < depth {
        let n = I::LANES.min(depth - p);
        for (r, row) in rows.iter().enumerate() {
            // SAFETY: `n` elements from `p` lie within the depth.
            unsafe {
                let v = load_up_to(isa, row.add(p), n);
                for (i, sums) in acc.iter_mut().enumerate() {
                    let x = load_up_to(isa, a.offset(i as isize * a_stride).add(p), n);
                    sums[r][0] = isa.mul_add(x, v, sums[r][0]);
                }
            }
        }
        p += n;
    }
    for (i, sums) in acc.iter().enumerate() {
        for (r, sums) in sums.iter().enumerate() {
            let mut sum = sums[0];
            for &more in &sums[1..] {
                sum = isa.add(sum, more);
            }
            // SAFETY: the caller's promise.
            unsafe { out.add(i * PANEL + r).write(isa.reduce_add(sum)) };
        }
    }
}

/// Floats of C that stay in the L1 cache while B streams by: half of 32 KB.
const AXPY_FLOATS: usize = 4096;

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
    let a = unsafe { Rows::contiguous(isa, part.a.from(row, 0), rows, part.depth) };
    let mut tile = MaybeUninit::<[f32; AXPY_FLOATS]>::uninit();
    let tile: *mut f32 = tile.as_mut_ptr().cast();
    let width = AXPY_FLOATS / rows.max(1) / PANEL * PANEL;
    for j in (0..cols).step_by(width) {
        let some = width.min(cols - j);
        // SAFETY: `rows` x `width` floats fit the array; the caller's promise for A and B.
        unsafe {
            core::ptr::write_bytes(tile, 0, rows * width);
            let mut p = 0;
            while p < part.depth {
                let b = (b.wrapping_add(j).wrapping_offset(p as isize * stride), stride);
                let deep = p + AXPY_DEPTH <= part.depth;
                let mut i = 0;
                while i < rows {
                    let x = (a.data.wrapping_offset(i as isize * a.stride).wrapping_add(p), a.stride);
                    let out = (tile.add(i * width), width);
                    match (deep, i + 2 <= rows) {
                        (true, true) => add_rows::<I, S, 2, AXPY_DEPTH>(isa, x, b, some, out),
                        (true, false) => add_rows::<I, S, 1, AXPY_DEPTH>(isa, x, b, some, out),
                        (false, true) => add_rows::<I, S, 2, 1>(isa, x, b, some, out),
                        (false, false) => add_rows::<I, S, 1, 1>(isa, x, b, some, out),
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

/// `out[i][..cols] += Σ x[i][t] · b[t][..cols]` for `M` rows of A over `T` rows of B. Operands are pointers and row strides.
///
/// # Safety
/// `M` rows of `x` are readable for `T` floats, `T` rows of `b` for `cols` elements; each row of `out` has `cols` floats rounded up to
/// whole registers.
#[inline(always)]
unsafe fn add_rows<I: Isa, S: Storage, const M: usize, const T: usize>(
    isa: I,
    (x, x_stride): (*const f32, isize),
    (b, b_stride): (*const S, isize),
    cols: usize,
    (out, out_stride): (*mut f32, usize),
) {
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
            isa.prefetch(at.cast::<u8>().wrapping_add(PREFETCH_BYTES));
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
