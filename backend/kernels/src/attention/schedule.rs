//! How attention is shared out to threads, by its sizes alone.

use super::panel::MAX_PANEL_ROWS;
use super::tiles::{AMX_MAX_ROWS, AMX_PANEL_ROWS, DECODE_ROWS, MAX_ROWS, Tiles, runs_on_amx};
use crate::Launch;
use core::fmt;

/// Multiply-adds for which a thread is worth its start: 10 µs at 50 GFLOP/s.
pub(super) const WORK_PER_THREAD: usize = 1 << 18;

/// The same where tiles multiply: 5 µs at 1 TFLOP/s.
const AMX_WORK_PER_THREAD: usize = 1 << 21;

/// Keys for which a thread is worth its start when the keys of one unit are split.
const KEYS_PER_SPLIT: usize = 256;

/// Units for each thread from which on the last ones keep no thread waiting long.
const UNITS_WITHOUT_SPLIT: usize = 4;

/// Units that a thread should get at least where there are enough rows: they differ in work under a causal order.
const UNITS_PER_THREAD: usize = 4;

/// Sizes of a problem: what decides how it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionSizes {
    /// Sequences.
    pub batch: usize,
    /// Heads of queries, a multiple of `kv_heads`.
    pub heads: usize,
    /// Heads of keys and values, at least 1.
    pub kv_heads: usize,
    /// Queries of a sequence.
    pub queries: usize,
    /// Keys of a sequence.
    pub keys: usize,
    /// Length of a head of queries and keys.
    pub d: usize,
    /// Length of a head of values.
    pub dv: usize,
    /// Whether queries, keys and values all are bf16.
    pub bf16: bool,
}

/// How [`attention`](super::attention) runs a problem. `Display` writes it as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// Threads that share it.
    pub threads: usize,
    /// Rows of a unit: queries of heads that share a key head.
    pub rows: usize,
    /// Keys of a tile.
    pub keys: usize,
    /// Parts that the keys of a unit are cut into, 1 where they are not.
    pub splits: usize,
    /// Whether keys and values are read in their own layout, and not in panels: rows are few.
    pub decode: bool,
    /// Whether tiles of AMX multiply.
    pub amx: bool,
    pub(super) units: usize,
    pub(super) cut: Cut,
}

/// Sizes of units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) head_parts: usize,
    /// Query heads of a unit.
    pub(super) heads: usize,
    pub(super) query_parts: usize,
    /// Queries of a unit.
    pub(super) queries: usize,
}

impl Schedule {
    /// That of `sizes` in units of `tiles`; `split_keys` as in
    /// [`AttentionOptions::split_keys`](super::AttentionOptions::split_keys).
    pub fn choose(launch: Launch, sizes: AttentionSizes, tiles: Tiles, split_keys: bool) -> Self {
        let AttentionSizes { batch, heads, kv_heads, queries, keys, d, dv, bf16 } = sizes;
        let group = heads / kv_heads;
        let amx = bf16 && runs_on_amx(launch.tier, d, group * queries);
        let (tiles, bounds, least_work) = if amx {
            (tiles.for_amx(d, dv), [AMX_PANEL_ROWS, AMX_MAX_ROWS], AMX_WORK_PER_THREAD)
        } else {
            (tiles, [MAX_PANEL_ROWS, MAX_ROWS], WORK_PER_THREAD)
        };
        let launch = launch.limit(batch * heads * queries * keys * (d + dv) / least_work);
        let cut = Cut::choose(sizes, tiles, bounds, launch.threads);
        let units = batch * kv_heads * cut.head_parts * cut.query_parts;
        // Where threads would wait for the last units, parts of the keys are shared out as well.
        let whole =
            units.is_multiple_of(launch.threads) || units >= UNITS_WITHOUT_SPLIT * launch.threads || !split_keys;
        let splits =
            if whole { 1 } else { (2 * launch.threads).div_ceil(units.max(1)).min(keys / KEYS_PER_SPLIT).max(1) };
        Self {
            threads: launch.threads.min(units * splits).max(1),
            rows: cut.heads * cut.queries,
            keys: tiles.keys,
            splits,
            decode: !amx && group * queries <= DECODE_ROWS && group <= tiles.rows,
            amx,
            units,
            cut,
        }
    }
}

impl Cut {
    /// How heads and queries are cut into units of at most [`Tiles::rows`] rows, and of at most those of `bounds`: all
    /// heads of a group first, then as many queries as fit. With few queries and many threads units are smaller, but
    /// whole panels, so that no thread is idle long.
    fn choose(sizes: AttentionSizes, tiles: Tiles, [panel, most]: [usize; 2], threads: usize) -> Self {
        let AttentionSizes { batch, heads, kv_heads, queries, .. } = sizes;
        let group = heads / kv_heads;
        let all = batch * heads * queries;
        let fair = (all / (threads * UNITS_PER_THREAD)).next_multiple_of(panel).max(panel);
        let rows = tiles.rows.min(fair).clamp(1, most);
        let head_parts = group.div_ceil(rows);
        let heads = group.div_ceil(head_parts);
        let of_unit = (rows / heads).clamp(1, queries.max(1));
        Self { head_parts, heads, query_parts: queries.div_ceil(of_unit), queries: of_unit }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { threads, rows, keys, splits, decode, amx, .. } = self;
        let layout = match (amx, decode) {
            (true, _) => "tiles of AMX",
            (_, true) => "keys in their own layout",
            _ => "keys in panels",
        };
        write!(f, "{rows} x {keys} tiles, {layout}")?;
        if *splits > 1 {
            write!(f, " and {splits} parts")?;
        }
        write!(f, ", {threads} thread{}", if *threads == 1 { "" } else { "s" })
    }
}
