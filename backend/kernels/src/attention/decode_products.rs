//! Both products for few rows: K and V are read in their own layout.
//!
//! A decode step is one query for each head: its work is reading the cache. Each key of a tile is read once for up to
//! four rows at a time (then from a cache for four more), with the dot product along the head; what comes next is
//! prefetched meanwhile. Registers of bf16 are widened without moving a lane, so that columns of Q and of
//! the sums lie in another order while a unit runs.
//!
//! Cycles of a line of 32 bf16 with two rows, AVX-512: scores 2 to widen and 4 multiply-adds on two ports, 3, and 2 for
//! the sums across lanes of two keys' fourths; values 3. One core's share of memory gives a line in 17 (Intel, 4.2
//! GHz).

use super::packing::TileRows;
use crate::Storage;
use crate::rows::load;
use crate::simd::{Isa, PANEL};

/// Padded rows of f32.
#[derive(Debug, Clone, Copy)]
pub(super) struct PaddedRows<P> {
    pub(super) data: P,
    pub(super) stride: usize,
}

impl PaddedRows<*mut f32> {
    /// The same to read.
    #[inline(always)]
    pub(super) fn cast_const(self) -> PaddedRows<*const f32> {
        PaddedRows { data: self.data.cast_const(), stride: self.stride }
    }
}

/// Keys that are multiplied.
#[derive(Debug, Clone, Copy)]
pub(super) struct ScoredTile<S> {
    pub(super) keys: TileRows<S>,
    /// They are prefetched so many rows ahead, behind the last one too; 0 for not at all.
    pub(super) ahead: usize,
}

/// Values that are summed.
#[derive(Debug, Clone, Copy)]
pub(super) struct WeightedTile<S> {
    pub(super) values: TileRows<S>,
    /// As for keys.
    pub(super) ahead: usize,
}

/// `S[r][j] = q[r] · k[j]` for `rows` rows.
///
/// # Safety
/// `q` holds `rows` rows of `keys.d` in the order of [`arrange`], padded with zeros to a multiple of 16, `keys` is
/// readable, and `s` is writable for `rows` rows of `keys.n`, padded to a multiple of 16.
#[inline(always)]
pub(super) unsafe fn scores<I: Isa, S: Storage>(
    isa: I,
    q: PaddedRows<*const f32>,
    tile: ScoredTile<S>,
    s: PaddedRows<*mut f32>,
    rows: usize,
) {
    let mut row = 0;
    while row < rows {
        // What was read once is in a cache.
        let tile = if row == 0 { tile } else { ScoredTile { ahead: 0, ..tile } };
        // SAFETY: by the `# Safety` clause of `scores`, each call has its number of rows left.
        unsafe {
            let q = PaddedRows { data: q.data.add(row * q.stride), ..q };
            let s = PaddedRows { data: s.data.add(row * s.stride), ..s };
            // 4 to 16 sums at a time: half of the registers.
            row += match rows - row {
                1 => scores_of::<I, S, 1, 4>(isa, q, tile, s),
                2 | 3 => scores_of::<I, S, 2, 4>(isa, q, tile, s),
                _ if I::LANES == PANEL => scores_of::<I, S, 4, 4>(isa, q, tile, s),
                _ => scores_of::<I, S, 4, 2>(isa, q, tile, s),
            };
        }
    }
}

/// `KEYS` keys at a time share the loads of Q; the sums of as many keys as there are lanes are added up across lanes
/// together, in a third of the shuffles that each alone takes.
///
/// # Safety
/// As [`scores`], for `ROWS` rows. Returns their number.
#[inline(always)]
unsafe fn scores_of<I: Isa, S: Storage, const ROWS: usize, const KEYS: usize>(
    isa: I,
    q: PaddedRows<*const f32>,
    ScoredTile { keys, ahead }: ScoredTile<S>,
    s: PaddedRows<*mut f32>,
) -> usize {
    for first in (0..keys.n).step_by(I::LANES) {
        let mut sums = [[isa.splat(0.0); PANEL]; ROWS];
        for j in (0..I::LANES.min(keys.n - first)).step_by(KEYS) {
            for key in (first + j + ahead..).take(if ahead > 0 { KEYS } else { 0 }) {
                prefetch_row(isa, keys, key);
            }
            let mut acc = [[isa.splat(0.0); ROWS]; KEYS];
            // SAFETY: by the `# Safety` clause of `scores`, keys below n (the last one stands for those that do not
            // exist), and columns below d.
            unsafe {
                let rows: [_; KEYS] =
                    core::array::from_fn(|k| keys.data.add((first + j + k).min(keys.n - 1) * keys.stride));
                let mut at = 0;
                while at + 2 * I::LANES <= keys.d {
                    for (acc, row) in acc.iter_mut().zip(rows) {
                        let x = S::load_block::<I, 2>(isa, row.add(at));
                        for (r, acc) in acc.iter_mut().enumerate() {
                            let q = q.data.add(r * q.stride + at);
                            *acc = isa.mul_add(x[0], isa.load(q), *acc);
                            *acc = isa.mul_add(x[1], isa.load(q.add(I::LANES)), *acc);
                        }
                    }
                    at += 2 * I::LANES;
                }
                while at < keys.d {
                    for (acc, row) in acc.iter_mut().zip(rows) {
                        let x = load(isa, row.add(at), I::LANES.min(keys.d - at));
                        for (r, acc) in acc.iter_mut().enumerate() {
                            *acc = isa.mul_add(x, isa.load(q.data.add(r * q.stride + at)), *acc);
                        }
                    }
                    at += I::LANES;
                }
            }
            for (k, acc) in acc.iter().enumerate() {
                for (sums, &acc) in sums.iter_mut().zip(acc) {
                    sums[j + k] = acc;
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            // SAFETY: by the `# Safety` clause of `scores`, rows of whole registers.
            unsafe { isa.store(s.data.add(r * s.stride + first), isa.reduce_add_each(sums)) };
        }
    }
    ROWS
}

/// Prefetches row `j`, whose address need not exist.
#[inline(always)]
fn prefetch_row<I: Isa, S>(isa: I, rows: TileRows<S>, j: usize) {
    for at in (0..rows.d).step_by(64 / size_of::<S>()) {
        isa.prefetch(rows.data.wrapping_add(j.wrapping_mul(rows.stride).wrapping_add(at)).cast());
    }
}

/// Columns of rows of f32 in the order in which registers of `S` are widened ([`Storage::load_block`]): of each two
/// registers the even ones first, where `S` splits them.
///
/// # Safety
/// `row` is writable for `d` floats.
#[inline(always)]
pub(super) unsafe fn arrange<I: Isa, S: Storage>(isa: I, row: *mut f32, d: usize) {
    let mut at = 0;
    while S::SPLIT && at + 2 * I::LANES <= d {
        // SAFETY: two registers from `at` on lie within the row.
        unsafe {
            let (first, second) = (row.add(at), row.add(at + I::LANES));
            let [even, odd] = isa.split([isa.load(first), isa.load(second)]);
            isa.store(first, even);
            isa.store(second, odd);
        }
        at += 2 * I::LANES;
    }
}

/// The inverse of [`arrange`].
///
/// # Safety
/// As for [`arrange`].
#[inline(always)]
pub(super) unsafe fn arrange_back<I: Isa, S: Storage>(row: *mut f32, d: usize) {
    let mut at = 0;
    while S::SPLIT && at + 2 * I::LANES <= d {
        let mut both = [0.0f32; 2 * PANEL];
        // SAFETY: two registers from `at` on lie within the row.
        let columns = unsafe { core::slice::from_raw_parts_mut(row.add(at), 2 * I::LANES) };
        both[..2 * I::LANES].copy_from_slice(columns);
        for (i, pair) in columns.chunks_exact_mut(2).enumerate() {
            (pair[0], pair[1]) = (both[i], both[I::LANES + i]);
        }
        at += 2 * I::LANES;
    }
}

/// `O[r] += Σ P[r][j] · v[j]` for `rows` rows.
///
/// # Safety
/// `p` holds `rows` rows of `values.n`, `values` is readable, and `o`, whose columns are in the order of [`arrange`],
/// is writable for `rows` rows of `values.d` padded to a multiple of 16.
#[inline(always)]
pub(super) unsafe fn add_values<I: Isa, S: Storage>(
    isa: I,
    p: PaddedRows<*const f32>,
    tile: WeightedTile<S>,
    o: PaddedRows<*mut f32>,
    rows: usize,
) {
    let mut row = 0;
    while row < rows {
        let tile = if row == 0 { tile } else { WeightedTile { ahead: 0, ..tile } };
        // SAFETY: by the `# Safety` clause of `add_values`, each call has its number of rows left.
        unsafe {
            let p = PaddedRows { data: p.data.add(row * p.stride), ..p };
            let o = PaddedRows { data: o.data.add(row * o.stride), ..o };
            row += match rows - row {
                1 => add_values_of::<I, S, 1>(isa, p, tile, o),
                2 | 3 => add_values_of::<I, S, 2>(isa, p, tile, o),
                _ => add_values_of::<I, S, 4>(isa, p, tile, o),
            };
        }
    }
}

/// # Safety
/// As [`add_values`], for `ROWS` rows. Returns their number.
#[inline(always)]
unsafe fn add_values_of<I: Isa, S: Storage, const ROWS: usize>(
    isa: I,
    p: PaddedRows<*const f32>,
    tile: WeightedTile<S>,
    o: PaddedRows<*mut f32>,
) -> usize {
    let (d, mut at) = (tile.values.d, 0);
    // Half of the registers are sums.
    let most = if I::LANES == PANEL { 16 } else { 8 } / ROWS;
    while at < d {
        // SAFETY: by the `# Safety` clause of `add_values`, at least one column, or so many registers, are left.
        unsafe {
            at += match ((d - at) / I::LANES).min(most) {
                8.. => add_columns::<I, S, ROWS, 8>(isa, p, tile, o, at),
                4.. => add_columns::<I, S, ROWS, 4>(isa, p, tile, o, at),
                2.. => add_columns::<I, S, ROWS, 2>(isa, p, tile, o, at),
                _ => add_columns::<I, S, ROWS, 1>(isa, p, tile, o, at),
            };
        }
    }
    ROWS
}

/// # Safety
/// As [`add_values_of`], for the columns of `REGS` registers from `at` on, the last of which may be partial if it is
/// the only one. Returns their number.
#[inline(always)]
unsafe fn add_columns<I: Isa, S: Storage, const ROWS: usize, const REGS: usize>(
    isa: I,
    p: PaddedRows<*const f32>,
    WeightedTile { values, ahead }: WeightedTile<S>,
    o: PaddedRows<*mut f32>,
    at: usize,
) -> usize {
    // Elements of a cache line.
    let line = 64 / size_of::<S>();
    let mut acc = [[isa.splat(0.0); REGS]; ROWS];
    // SAFETY: the `# Safety` clause of `add_values_of`.
    unsafe {
        for j in 0..values.n {
            // The same columns: each pass over V prefetches its part.
            if ahead > 0 {
                for column in (at..at + REGS * I::LANES).step_by(line) {
                    isa.prefetch(
                        values.data.wrapping_add((j + ahead).wrapping_mul(values.stride).wrapping_add(column)).cast(),
                    );
                }
            }
            let value = values.data.add(j * values.stride + at);
            let weights: [_; ROWS] = core::array::from_fn(|r| isa.splat(*p.data.add(r * p.stride + j)));
            if REGS == 1 {
                let column = load(isa, value, I::LANES.min(values.d - at));
                for (acc, &weight) in acc.iter_mut().zip(&weights) {
                    acc[0] = isa.mul_add(weight, column, acc[0]);
                }
                continue;
            }
            for c in (0..REGS).step_by(2) {
                let columns = S::load_block::<I, 2>(isa, value.add(c * I::LANES));
                for (acc, &weight) in acc.iter_mut().zip(&weights) {
                    acc[c] = isa.mul_add(weight, columns[0], acc[c]);
                    acc[c + 1] = isa.mul_add(weight, columns[1], acc[c + 1]);
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
