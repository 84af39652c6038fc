//! Products of few rows with B whose columns are contiguous, a weight `[n, k]`: the time is that of reading it once.
//!
//! ```text
//! for j in 0..n by 4 (where A is in L1: by 1)                rows of W, each a stream of memory
//!     for i in 0..m by 1, 2, 3 or 4
//!         C[i..][j..j + 4] = Σ_p A[i..][p] · W[j..j + 4][p]  a register of p at a time, summed across at the end
//! ```
//!
//! W is read in the order of memory, each element once from memory for all rows of A, with enough sums at a time to
//! hide the latency of a multiply-add. The same columns of the next four rows are prefetched meanwhile: what the
//! hardware predicts of a row ends with the row.

use crate::Storage;
use crate::gemm::gemv::gemv_broadcast::multiply_broadcast;
use crate::gemm::gemv::left_rows::{LINE_BYTES, LeftRows, RowPointers};
use crate::gemm::macro_kernel::part::ProductPart;
use crate::gemm::macro_kernel::store::Finish;
use crate::gemm::raw::{RawFloats, RawMatrix};
use crate::gemm::region::{Region, TilePlace};
use crate::gemm::registers::load_up_to;
use crate::gemm::variant::GEMV_ROWS;
use crate::simd::{Isa, PANEL, Tier};
use half::bf16;

/// How many bytes of the next rows of B are prefetched while some are read: half of the smallest L2 cache. Longer rows
/// are prefetched in themselves.
const AHEAD_BYTES: usize = 128 << 10;

/// From this many rows on, rows of A are in the lanes of registers of 16 (gemv_broadcast/). (6144 x 2048 out of cache,
/// against dot products, two threads and one: 5 rows 1.1 to 1.3 and 0.9 to 1.5; 8 rows 1.1 to 1.5 and 1.3 to 1.7; 16
/// rows 1.5 to 1.9 and 1.6 to 2.2. With 4 rows of 16 bits 0.93 and 0.9.)
pub(in crate::gemm) const BROADCAST_FROM: usize = 5;

/// The same for f32. (4 rows 1.16 and 1.5, 3 rows 1.05 and 1.2, 2 rows 0.9.)
const F32_BROADCAST_FROM: usize = 3;

/// How far ahead to prefetch lines of B where `rows` rows, `stride` elements apart, are read side by side: at the same
/// column of the next such rows, which no hardware predicts, or `prefetch` bytes further in long rows. 0 where
/// `prefetch` is.
///
/// One row at a time is read in the order of memory, and prefetched as far ahead as a packed weight.
pub(in crate::gemm) fn prefetch_ahead<S>(prefetch: usize, rows: usize, stride: isize) -> isize {
    if rows == 1 {
        return prefetch as isize;
    }
    let next = rows as isize * stride * size_of::<S>() as isize;
    if prefetch > 0 && next.unsigned_abs() <= AHEAD_BYTES { next } else { prefetch as isize }
}

/// Bytes of A, as f32, up to which rows of W are read one by one: the L1 cache of many CPUs. Longer rows of A come from
/// the L2 cache, once for each row of W, and four rows of W share them. (bf16, out of cache, two threads: 4 rows of
/// 6144 or 12288 1.75 times as fast by fours, 3 rows of 12288 1.45, 2 rows 1.1 to 1.2; with rows of 2048, 0.93.)
const IN_ORDER_BYTES: usize = 32 << 10;

/// Whether rows of W are read one by one, in the order of memory, for `rows` rows of A: as long as the loads of A, one
/// a product, keep pace with it. Narrow registers need more of them.
#[inline(always)]
fn reads_in_order<I: Isa>(rows: usize, depth: usize) -> bool {
    let most = if I::LANES == PANEL { 4 } else { 1 };
    rows == 1 || (rows <= most && rows * depth * size_of::<f32>() <= IN_ORDER_BYTES)
}

/// Whether `rows` rows of A are in lanes against a weight of `S`. Registers of 8 hold one word of each of 8 rows, and
/// pay where most of their lanes are used, with f32 alone. (AVX2, two threads: 5, 8 and 16 rows 1.2, 1.5 and 1.3, 9
/// rows 0.9; bf16 0.9, 1.1, 1.05 and 0.6.)
#[inline(always)]
fn broadcasts<I: Isa, S: Storage>(rows: usize) -> bool {
    let is_f32 = size_of::<S>() == size_of::<f32>();
    match I::TIER {
        Tier::Portable => false,
        Tier::Avx2 => is_f32 && (rows - 1) % I::LANES >= I::LANES / 2,
        _ => rows >= if is_f32 { F32_BROADCAST_FROM } else { BROADCAST_FROM },
    }
}

/// Rows of a weight `[n, k]` with contiguous k.
#[derive(Debug, Clone, Copy)]
struct DotRows<S> {
    data: *const S,
    stride: isize,
    /// Rows from `data` on that exist; the last one stands for those that do not.
    len: usize,
    depth: usize,
    /// How far ahead a line is prefetched, bytes.
    ahead: isize,
}

/// Products of the few rows of `part` with B whose columns are contiguous.
///
/// # Safety
/// `part` keeps the promise of a [`ProductPart`]; `b.row_stride` is 1.
#[inline(always)]
pub(in crate::gemm) unsafe fn multiply_dots<I: Isa>(isa: I, part: &ProductPart, b: RawMatrix) {
    let (stride, rows) = (b.col_stride, part.region.rows);
    // SAFETY: `part` is as `ProductPart` says; `b.row_stride` is 1 (`# Safety` of `multiply_dots`).
    unsafe {
        match b.data {
            RawFloats::F32(data) if broadcasts::<I, f32>(rows) => multiply_broadcast(isa, part, data, stride),
            RawFloats::F32(data) => multiply_dots_as(isa, part, data, stride),
            RawFloats::Bf16(data) if broadcasts::<I, bf16>(rows) => multiply_broadcast(isa, part, data, stride),
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
unsafe fn multiply_dots_as<I: Isa, S: Storage>(isa: I, part: &ProductPart, weight: *const S, stride: isize) {
    let Region { row, col, rows, cols } = part.region;
    debug_assert!(rows <= GEMV_ROWS);
    // SAFETY: `part` is as `ProductPart` says; `b.row_stride` is 1 (`# Safety` of `multiply_dots`).
    let a = unsafe { LeftRows::contiguous(isa, part.a.matrix.from(row, 0), rows, part.depth) };
    let mut tile = [0.0f32; GEMV_ROWS * PANEL];
    let tile = tile.as_mut_ptr();
    let side = if reads_in_order::<I>(rows, part.depth) { 1 } else { 4 };
    let ahead = prefetch_ahead::<S>(part.prefetch_distance(), side, stride);
    for j in (0..cols).step_by(PANEL) {
        let some = PANEL.min(cols - j);
        for jj in (0..some).step_by(side) {
            let weight = DotRows {
                data: weight.wrapping_offset((col + j + jj) as isize * stride),
                stride,
                len: side.min(some - jj),
                depth: part.depth,
                ahead,
            };
            if side == 1 {
                let (left, out) = (a.from(0), tile.wrapping_add(jj));
                // SAFETY: by the `# Safety` clause of `multiply_dots`, the rows of A and the row of W exist; the tile
                // has a column `jj`.
                unsafe {
                    match rows {
                        1 => multiply_rows::<I, S, 1, 1, 4>(isa, left, weight, out),
                        2 => multiply_rows::<I, S, 2, 1, 4>(isa, left, weight, out),
                        3 => multiply_rows::<I, S, 3, 1, 2>(isa, left, weight, out),
                        _ => multiply_rows::<I, S, 4, 1, 2>(isa, left, weight, out),
                    }
                }
                continue;
            }
            let mut i = 0;
            while i < rows {
                let left = a.from(i);
                let out = tile.wrapping_add(i * PANEL + jj);
                // The rows of A after the first ones find W in a cache.
                let w = if i == 0 { weight } else { DotRows { ahead: 0, ..weight } };
                // SAFETY: by the `# Safety` clause of `multiply_dots`, those rows of A and W exist; the tile has
                // `GEMV_ROWS` x 16 floats and 4 columns from `jj` fit.
                unsafe {
                    match rows - i {
                        1 => {
                            multiply_rows::<I, S, 1, 4, 2>(isa, left, w, out);
                            i += 1;
                        }
                        2 | 3 => {
                            multiply_rows::<I, S, 2, 4, 1>(isa, left, w, out);
                            i += 2;
                        }
                        // 4 x 4 sums fill 32 registers half; of 16 they would leave none.
                        _ if I::MR > 6 => {
                            multiply_rows::<I, S, 4, 4, 1>(isa, left, w, out);
                            i += 4;
                        }
                        _ => {
                            let second = DotRows {
                                data: w.data.wrapping_offset(2.min(w.len as isize - 1) * stride),
                                len: w.len.saturating_sub(2).max(1),
                                ..w
                            };
                            multiply_rows::<I, S, 4, 2, 1>(isa, left, w, out);
                            multiply_rows::<I, S, 4, 2, 1>(isa, left, second, out.wrapping_add(2));
                            i += 4;
                        }
                    }
                }
            }
        }
        let region = Region { row, col: col + j, rows, cols: some };
        // SAFETY: the tile has `GEMV_ROWS` x 16 floats; the region lies in the part's.
        isa.run(unsafe { Finish::new(&part.store, tile, PANEL, TilePlace::whole(region)) });
    }
}

/// `M` rows of A times `R` rows of W, each with `U` sums: `out[i · PANEL + r]`.
///
/// # Safety
/// `M` rows of `a` and the `len` rows of `w` are readable for its depth; `out` is writable.
#[inline(always)]
unsafe fn multiply_rows<I: Isa, S: Storage, const M: usize, const R: usize, const U: usize>(
    isa: I,
    RowPointers { data: a, stride: a_stride }: RowPointers,
    w: DotRows<S>,
    out: *mut f32,
) {
    let depth = w.depth;
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
                let at = row.wrapping_add(p).cast::<u8>().wrapping_add(line * LINE_BYTES);
                isa.prefetch(at.wrapping_offset(w.ahead));
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
            // SAFETY: `M` rows of `a` and the `len` rows of `w` are readable for its depth; `out` is writable (`#
            // Safety` of `multiply_rows`).
            unsafe { out.add(i * PANEL + r).write(isa.reduce_add(sum)) };
        }
    }
}
