//! Both products for few rows: K and V are read in their own layout.
//!
//! A decode step is one query for each head: its work is reading the cache. Each key of a tile is read once for up to
//! four rows at a time (then from the first-level cache for four more), with the dot product along the head; meanwhile
//! the row of V that is needed next is prefetched.

use super::packing::TileRows;
use crate::Storage;
use crate::rows::load;
use crate::simd::Isa;

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

/// Keys that are multiplied, and the values that are prefetched meanwhile.
#[derive(Debug, Clone, Copy)]
pub(super) struct ScoredTile<S> {
    pub(super) keys: TileRows<S>,
    /// Addresses that are only prefetched: at most as many rows as there are keys.
    pub(super) values: TileRows<S>,
}

/// Values that are summed, and the keys that are prefetched meanwhile.
#[derive(Debug, Clone, Copy)]
pub(super) struct WeightedTile<S> {
    pub(super) values: TileRows<S>,
    /// Addresses that are only prefetched, and may lie behind the last key.
    pub(super) next_keys: TileRows<S>,
}

/// `S[r][j] = q[r] · k[j]` for `rows` rows.
///
/// # Safety
/// `q` holds `rows` rows of `keys.d` padded with zeros to a multiple of 16, `keys` is readable, `s` is writable for
/// `rows` rows of `keys.n`.
#[inline(always)]
pub(super) unsafe fn scores<I: Isa, S: Storage>(
    isa: I,
    q: PaddedRows<*const f32>,
    ScoredTile { keys, values }: ScoredTile<S>,
    s: PaddedRows<*mut f32>,
    rows: usize,
) {
    let mut row = 0;
    while row < rows {
        // SAFETY: by the `# Safety` clause of `scores`, each call has its number of rows left.
        unsafe {
            let q = PaddedRows { data: q.data.add(row * q.stride), ..q };
            let s = PaddedRows { data: s.data.add(row * s.stride), ..s };
            row += match rows - row {
                1 => scores_of::<I, S, 1>(isa, q, ScoredTile { keys, values }, s),
                2 | 3 => scores_of::<I, S, 2>(isa, q, ScoredTile { keys, values }, s),
                _ => scores_of::<I, S, 4>(isa, q, ScoredTile { keys, values }, s),
            };
        }
    }
}

/// # Safety
/// As [`scores`], for `ROWS` rows. Returns their number.
#[inline(always)]
unsafe fn scores_of<I: Isa, S: Storage, const ROWS: usize>(
    isa: I,
    q: PaddedRows<*const f32>,
    ScoredTile { keys, values }: ScoredTile<S>,
    s: PaddedRows<*mut f32>,
) -> usize {
    // Elements of a cache line.
    let line = 64 / size_of::<S>();
    for j in 0..keys.n {
        let mut acc = [isa.splat(0.0); ROWS];
        // SAFETY: by the `# Safety` clause of `scores`, key j of n, at + lanes ≤ d.
        unsafe {
            let key = keys.data.add(j * keys.stride);
            if j < values.n {
                for at in (0..values.d).step_by(line) {
                    isa.prefetch(values.data.wrapping_add(j * values.stride + at).cast());
                }
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

/// `O[r] += Σ P[r][j] · v[j]` for `rows` rows. Meanwhile the keys that are read next are prefetched.
///
/// # Safety
/// `p` holds `rows` rows of `values.n`, `values` is readable, and `o` is writable for `rows` rows of `values.d` padded
/// to a multiple of 16.
#[inline(always)]
pub(super) unsafe fn add_values<I: Isa, S: Storage>(
    isa: I,
    p: PaddedRows<*const f32>,
    WeightedTile { values, next_keys }: WeightedTile<S>,
    o: PaddedRows<*mut f32>,
    rows: usize,
) {
    let mut row = 0;
    while row < rows {
        // Once.
        let next_keys = TileRows { n: if row == 0 { next_keys.n } else { 0 }, ..next_keys };
        let tile = WeightedTile { values, next_keys };
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
    while at < d {
        // Two registers of columns while there are two: 8 accumulators for 4 rows.
        // SAFETY: by the `# Safety` clause of `add_values`, at least one column, or a whole second register, is left.
        unsafe {
            at += if d - at >= 2 * I::LANES {
                add_columns::<I, S, ROWS, 2>(isa, p, tile, o, at)
            } else {
                add_columns::<I, S, ROWS, 1>(isa, p, tile, o, at)
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
    WeightedTile { values, next_keys: next }: WeightedTile<S>,
    o: PaddedRows<*mut f32>,
    at: usize,
) -> usize {
    // Elements of a cache line.
    let line = 64 / size_of::<S>();
    let mut acc = [[isa.splat(0.0); REGS]; ROWS];
    // SAFETY: the `# Safety` clause of `add_values_of`.
    unsafe {
        for j in 0..values.n {
            // The same columns of the next keys: each pass over V prefetches its part.
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
