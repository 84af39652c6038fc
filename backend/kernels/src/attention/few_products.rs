//! Both products for few rows: K and V are read where they lie.
//!
//! A decode step is one query for each head: its work is reading the cache. Each key of a tile is read once for up to four
//! rows at a time (then from the first-level cache for four more), with the dot product along the head; meanwhile the row of V
//! that is needed next is asked for.

use super::packing::TileRows;
use crate::Storage;
use crate::rows::load;
use crate::simd::Isa;

/// Padded rows of f32.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows<P> {
    pub(super) data: P,
    pub(super) stride: usize,
}

impl Rows<*mut f32> {
    /// The same to read.
    #[inline(always)]
    pub(super) fn cast_const(self) -> Rows<*const f32> {
        Rows { data: self.data.cast_const(), stride: self.stride }
    }
}

/// `S[r][j] = q[r] · k[j]` for `rows` rows.
///
/// # Safety
/// `q` holds `rows` rows of `keys.d` padded with zeros to a multiple of 16, `keys` is readable, `s` is writable for `rows` rows
/// of `keys.n`.
#[inline(always)]
pub(super) unsafe fn scores<I: Isa, S: Storage>(
    isa: I,
    q: Rows<*const f32>,
    [keys, values]: [TileRows<S>; 2],
    s: Rows<*mut f32>,
    rows: usize,
) {
    let mut row = 0;
    while row < rows {
        // SAFETY: the caller's promise: each call has its number of rows left.
        unsafe {
            let q = Rows { data: q.data.add(row * q.stride), ..q };
            let s = Rows { data: s.data.add(row * s.stride), ..s };
            row += match rows - row {
                1 => scores_of::<I, S, 1>(isa, q, [keys, values], s),
                2 | 3 => scores_of::<I, S, 2>(isa, q, [keys, values], s),
                _ => scores_of::<I, S, 4>(isa, q, [keys, values], s),
            };
        }
    }
}

/// # Safety
/// As [`scores`], for `ROWS` rows. Returns their number.
#[inline(always)]
unsafe fn scores_of<I: Isa, S: Storage, const ROWS: usize>(
    isa: I,
    q: Rows<*const f32>,
    [keys, values]: [TileRows<S>; 2],
    s: Rows<*mut f32>,
) -> usize {
    // Elements of a cache line.
    let line = 64 / size_of::<S>();
    for j in 0..keys.n {
        let mut acc = [isa.splat(0.0); ROWS];
        // SAFETY: the caller's promise: key j of n, at + lanes ≤ d.
        unsafe {
            let key = keys.data.add(j * keys.stride);
            for at in (0..values.d).step_by(line) {
                isa.prefetch(values.data.wrapping_add(j * values.stride + at).cast());
            }
            for at in (0..keys.d).step_by(I::LANES) {
                let x = load(isa, key.add(at), I::LANES.min(keys.d - at));
                for (r, acc) in acc.iter_mut().enumerate() {
                    *acc = isa.mul_add(x, isa.load(q.data.add(r * q.stride + at)), *acc);
                }
            }
            for (r, &acc) in acc.iter().enumerate() {
                s.data.add(r * s.stride + j).write(isa.reduce_add(acc));
            }
        }
    }
    ROWS
}

/// `O[r] += Σ P[r][j] · v[j]` for `rows` rows. Meanwhile the keys that are read next are asked for.
///
/// # Safety
/// `p` holds `rows` rows of `values.n`, `values` is readable, and `o` is writable for `rows` rows of `values.d` padded to a
/// multiple of 16.
#[inline(always)]
pub(super) unsafe fn add_values<I: Isa, S: Storage>(
    isa: I,
    p: Rows<*const f32>,
    [values, next]: [TileRows<S>; 2],
    o: Rows<*mut f32>,
    rows: usize,
) {
    let mut row = 0;
    while row < rows {
        // Asked for once.
        let next = TileRows { n: if row == 0 { next.n } else { 0 }, ..next };
        // SAFETY: the caller's promise: each call has its number of rows left.
        unsafe {
            let p = Rows { data: p.data.add(row * p.stride), ..p };
            let o = Rows { data: o.data.add(row * o.stride), ..o };
            row += match rows - row {
                1 => add_values_of::<I, S, 1>(isa, p, [values, next], o),
                2 | 3 => add_values_of::<I, S, 2>(isa, p, [values, next], o),
                _ => add_values_of::<I, S, 4>(isa, p, [values, next], o),
            };
        }
    }
}

/// # Safety
/// As [`add_values`], for `ROWS` rows. Returns their number.
#[inline(always)]
unsafe fn add_values_of<I: Isa, S: Storage, const ROWS: usize>(
    isa: I,
    p: Rows<*const f32>,
    [values, next]: [TileRows<S>; 2],
    o: Rows<*mut f32>,
) -> usize {
    let mut at = 0;
    while at < values.d {
        // Two registers of columns while there are two: 8 accumulators for 4 rows.
        // SAFETY: the caller's promise: at least one column, or a whole second register, is left.
        unsafe {
            at += if values.d - at >= 2 * I::LANES {
                add_columns::<I, S, ROWS, 2>(isa, p, [values, next], o, at)
            } else {
                add_columns::<I, S, ROWS, 1>(isa, p, [values, next], o, at)
            };
        }
    }
    ROWS
}

/// # Safety
/// As [`add_values_of`], for the columns of `REGS` registers from `at` on, the last of which may be partial if it is the only
/// one. Returns their number.
#[inline(always)]
unsafe fn add_columns<I: Isa, S: Storage, const ROWS: usize, const REGS: usize>(
    isa: I,
    p: Rows<*const f32>,
    [values, next]: [TileRows<S>; 2],
    o: Rows<*mut f32>,
    at: usize,
) -> usize {
    // Elements of a cache line.
    let line = 64 / size_of::<S>();
    let mut acc = [[isa.splat(0.0); REGS]; ROWS];
    // SAFETY: the caller's promise.
    unsafe {
        for j in 0..values.n {
            // The same columns of the next keys: every turn over V asks for its part.
            if j < next.n {
                for ahead in (at..at + REGS * I::LANES).step_by(line) {
                    isa.prefetch(next.data.wrapping_add(j * next.stride + ahead).cast());
                }
            }
            let value = values.data.add(j * values.stride + at);
            let mut columns = [isa.splat(0.0); REGS];
            for (c, column) in columns.iter_mut().enumerate() {
                *column = load(isa, value.add(c * I::LANES), I::LANES.min(values.d - at - c * I::LANES));
            }
            for (r, acc) in acc.iter_mut().enumerate() {
                let weight = isa.splat(*p.data.add(r * p.stride + j));
                for (acc, &column) in acc.iter_mut().zip(&columns) {
                    *acc = isa.mul_add(weight, column, *acc);
                }
            }
        }
        for (r, acc) in acc.iter().enumerate() {
            for (c, &sum) in acc.iter().enumerate() {
                let to = o.data.add(r * o.stride + at + c * I::LANES);
                isa.store(to, isa.add(isa.load(to), sum));
            }
        }
    }
    REGS * I::LANES
}
