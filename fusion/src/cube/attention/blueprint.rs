//! From what is asked and where to the tile that is baked into the kernel.
//!
//! Derivation. A unit holds 4 x 4 scores and `4 x ⌈value_dim / 4 / columns⌉` vectors of the output in registers, and
//! reads four floats from shared memory at a time: 8 such reads for 64 multiply-adds of `Q·Kᵀ`, 4 and one a column for
//! 16 a column of `P·V`.
//!
//! ```text
//!                      rows   units     keys a tile   output a unit      shared memory (d = 128)   cubes an SM of SM61
//! prefill, d <= 128     64    16 x 8        32        4 x 4 vectors      24.5 KiB                  3
//! prefill, d <= 256     32     8 x 16       64        4 x 2 (4) vectors  24.0 KiB                  3
//! few rows              16     4 x 16       64        4 x 2 (4)          16.5 KiB                  5
//! decoding               8     2 x 16       64        4 x 2 (4)           8.3 KiB                 11
//! ```
//!
//! The 4 x 4 output vectors, scores, operands and bounds are up to 168 registers, of which SM61 has 65,536: 3 cubes of
//! 128 units by registers too. Such cubes are bound by arithmetic and shared memory.
//!
//! Decoding waits for memory, if shared memory lets it: SM61 reads 128 bytes of it a cycle, so that a tile of 64 keys
//! of d = 128 costs a plane 8 · 4 · 32 + 6 · 4 · 2 · 16 = 1,800 cycles, against 2,500 in which 192 GB/s over 10 SMs
//! bring these keys and values in f16. More planes on the same keys would read them again. 11 cubes with four loads of
//! 8 bytes a unit on their way are 11 KiB an SM; 192 GB/s over 10 SMs at 500 ns need 10. Hence the depth of one plane's
//! chunks, half of that of the others.

use crate::cube::{Unavailable, limits::Limits, rows};
use core::fmt;
use serde::{Deserialize, Serialize};

/// Rows a unit holds: four, for the reads of keys and values are the same for fewer. (With one or two the CUDA compiler
/// also spills to reach more units a multiprocessor.)
pub(super) const ROWS_A_UNIT: usize = 4;

/// Keys a unit scores.
pub(super) const KEYS_A_UNIT: usize = 4;

/// Vectors of four along the depth in a chunk, at most. With the odd stride that follows, eight rows lie in eight
/// groups of banks.
const MAX_DEPTH: usize = 8;

/// Longest head, queries and keys or values: the output of a unit is 64 registers then.
const MAX_DIM: usize = 256;

/// Keys in the shortest split: shorter ones cost more to combine than to read.
const MIN_SPLIT: usize = 128;

/// Cubes a multiprocessor should have.
const CUBES_A_MULTIPROCESSOR: usize = 8;

/// Multiprocessors where the driver does not tell.
const MULTIPROCESSORS: u32 = 16;

/// Sizes of one attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Problem {
    /// Sequences.
    pub batch: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Query heads that share one of them.
    pub group: usize,
    /// Queries of a sequence.
    pub queries: usize,
    /// Keys of a sequence.
    pub keys: usize,
    /// Elements of a query and of a key.
    pub head_dim: usize,
    /// Elements of a value.
    pub value_dim: usize,
}

impl Problem {
    /// Rows of the product of one key head: the queries of its group.
    pub fn rows(&self) -> usize {
        self.queries * self.group
    }
}

/// How the caller wants the kernel run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AttentionStrategy {
    /// By the sizes and the device's properties.
    #[default]
    Auto,
    /// The keys in this many parts, as far as there are keys for them, 1 or more.
    Splits(usize),
}

/// All that the kernel is specialised on, next to storage types and kinds of masks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Blueprint {
    /// Units along the rows.
    pub row_units: usize,
    /// Units along keys and output columns.
    pub column_units: usize,
    /// Vectors of four along the depth in a chunk of queries and keys.
    pub depth: usize,
    /// Chunks that make up the depth; the last is filled up with zeros.
    pub chunks: usize,
    /// Keys whose values are in shared memory at one time.
    pub value_keys: usize,
    /// Output vectors a unit holds of a row.
    pub values_a_unit: usize,
    /// Elements of a query and of a key.
    pub head_dim: usize,
    /// Elements of a value.
    pub value_dim: usize,
    /// Query heads that share a key head: known, so that no load divides by it.
    pub group: usize,
    /// Elements in a load or store: 4, or 1 where something does not divide.
    pub vector: usize,
}

/// The largest power of two that is not above `limit`, 4 at least.
fn floor_power(limit: usize) -> usize {
    1 << limit.max(4).ilog2()
}

impl Blueprint {
    /// The tile for the rows at hand; the next smaller one where the device has too little shared memory.
    pub(in crate::cube) fn new(problem: &Problem, vector: usize, limits: &Limits) -> Result<Self, Unavailable> {
        let longest = problem.head_dim.max(problem.value_dim);
        if longest > MAX_DIM {
            return Err(Unavailable::HeadDim { found: longest, limit: MAX_DIM });
        }
        // Row units and column units.
        let tiles = [(16, 8), (8, 16), (4, 16), (2, 16)];
        let wide = longest > 128;
        let rows = problem.rows();
        let enough = |&(units, _): &(usize, usize)| ROWS_A_UNIT * units / 2 < rows || units == 2;
        let tiles = tiles.into_iter().skip(usize::from(wide)).filter(enough);
        let mut reason = Unavailable::Units { found: 32, limit: limits.units };
        for (row_units, column_units) in tiles {
            let blueprint = Self::with_units(problem, vector, row_units, column_units);
            let (units, shared) = (blueprint.units(), blueprint.shared_bytes());
            if units > limits.units {
                reason = Unavailable::Units { found: units, limit: limits.units };
            } else if shared > limits.shared_bytes {
                reason = Unavailable::SharedMemory { found: shared, limit: limits.shared_bytes };
            } else {
                return Ok(blueprint);
            }
        }
        Err(reason)
    }

    fn with_units(problem: &Problem, vector: usize, row_units: usize, column_units: usize) -> Self {
        let depth = problem.head_dim.div_ceil(4);
        let chunks = depth.div_ceil(if row_units * column_units > 32 { MAX_DEPTH } else { MAX_DEPTH / 2 });
        let values_a_unit = problem.value_dim.div_ceil(4).div_ceil(column_units);
        let mut blueprint = Self {
            row_units,
            column_units,
            depth: depth.div_ceil(chunks),
            chunks,
            value_keys: 4,
            values_a_unit,
            head_dim: problem.head_dim,
            value_dim: problem.value_dim,
            group: problem.group,
            vector,
        };
        let room = (blueprint.rows() + blueprint.keys()) * blueprint.depth_stride();
        blueprint.value_keys = floor_power(room / blueprint.value_stride()).min(blueprint.keys());
        blueprint
    }

    /// Units in a cube.
    pub fn units(&self) -> u32 {
        (self.row_units * self.column_units) as u32
    }

    /// Rows of a tile.
    pub fn rows(&self) -> usize {
        self.row_units * ROWS_A_UNIT
    }

    /// Keys of a tile.
    pub fn keys(&self) -> usize {
        self.column_units * KEYS_A_UNIT
    }

    /// Vectors from a row of a chunk to the next: odd, so that eight rows lie in eight groups of banks.
    pub(super) fn depth_stride(&self) -> usize {
        self.depth | 1
    }

    /// Vectors from the values of a key to those of the next.
    pub(super) fn value_stride(&self) -> usize {
        self.values_a_unit * self.column_units
    }

    /// Vectors from a row of weights to the next, odd likewise.
    pub(super) fn weight_stride(&self) -> usize {
        self.column_units + 1
    }

    /// Vectors of the memory that holds chunks of queries and keys, then chunks of values.
    pub(super) fn stage(&self) -> usize {
        let chunks = (self.rows() + self.keys()) * self.depth_stride();
        chunks.max(self.value_keys * self.value_stride())
    }

    /// Bytes of shared memory.
    pub fn shared_bytes(&self) -> usize {
        16 * (self.stage() + self.rows() * self.weight_stride()) + 4 * self.rows() * self.column_units
    }

    /// Tiles of rows.
    pub fn row_tiles(&self, problem: &Problem) -> usize {
        problem.rows().div_ceil(self.rows())
    }

    /// Keys in each part and how many parts there are: one where the cubes fill the device, or keys are few.
    pub(in crate::cube) fn split(
        &self,
        problem: &Problem,
        strategy: AttentionStrategy,
        limits: &Limits,
    ) -> (usize, usize) {
        let splits = match strategy {
            AttentionStrategy::Splits(splits) => splits.max(1),
            AttentionStrategy::Auto => {
                let cubes = problem.batch * problem.kv_heads * self.row_tiles(problem);
                let wanted = limits.multiprocessors.unwrap_or(MULTIPROCESSORS) as usize * CUBES_A_MULTIPROCESSOR;
                (wanted / cubes.max(1)).min(problem.keys / MIN_SPLIT).max(1)
            }
        };
        let keys = problem.keys.div_ceil(splits).next_multiple_of(self.keys()).max(self.keys());
        (keys, problem.keys.div_ceil(keys).max(1))
    }
}

impl fmt::Display for Blueprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { row_units, column_units, vector, .. } = self;
        write!(f, "tiles of {} rows by {} keys, {row_units}x{column_units} units, ", self.rows(), self.keys())?;
        write!(f, "{} KiB of shared memory, vectors of {vector}", self.shared_bytes().div_ceil(1024))
    }
}

/// How one attention is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionPlan {
    /// The kernel over tiles.
    pub tile: Blueprint,
    /// Parts of the keys.
    pub splits: usize,
    /// Keys in each part but the last.
    pub split_keys: usize,
    /// The kernel that combines parts, where there are several.
    pub combine: Option<rows::Blueprint>,
}

impl fmt::Display for AttentionPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tile, splits, split_keys, combine } = self;
        match combine {
            Some(combine) => write!(f, "{tile}; {splits} parts of {split_keys} keys, combined by {combine}"),
            None => tile.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(queries: usize, keys: usize, head_dim: usize) -> Problem {
        Problem { batch: 1, kv_heads: 8, group: 2, queries, keys, head_dim, value_dim: head_dim }
    }

    #[test]
    fn tiles_fit_the_rows() {
        for (queries, head_dim, rows) in [
            (1, 128, 8),
            (3, 80, 8),
            (4, 64, 8),
            (8, 72, 16),
            (9, 128, 32),
            (17, 128, 64),
            (512, 128, 64),
            (512, 256, 32),
        ] {
            let blueprint = Blueprint::new(&problem(queries, 512, head_dim), 4, &Limits::sm61()).unwrap();
            assert_eq!(blueprint.rows(), rows, "{queries} queries, d = {head_dim}");
        }
    }

    #[test]
    fn every_tile_fits_a_device_of_32_kib() {
        let small = Limits { shared_bytes: 32 * 1024, ..Limits::sm61() };
        for queries in [1, 3, 6, 13, 1000] {
            for head_dim in 1..=256 {
                let blueprint = Blueprint::new(&problem(queries, 1000, head_dim), 1, &small).unwrap();
                assert_eq!(blueprint, Blueprint::new(&problem(queries, 1000, head_dim), 1, &Limits::sm61()).unwrap());
                assert!(4 * blueprint.depth * blueprint.chunks >= head_dim, "{blueprint:?}");
                assert!(4 * blueprint.value_stride() >= head_dim, "{blueprint:?}");
                assert!(blueprint.values_a_unit <= 4, "{blueprint:?}");
                assert!(blueprint.keys().is_multiple_of(blueprint.value_keys), "{blueprint:?}");
            }
        }
    }

    #[test]
    fn small_devices_get_smaller_tiles_or_none() {
        let less = Limits { shared_bytes: 16 * 1024, ..Limits::sm61() };
        let blueprint = Blueprint::new(&problem(512, 512, 128), 4, &less).unwrap();
        assert!(blueprint.shared_bytes() <= 16 * 1024 && blueprint.rows() == 8, "{blueprint:?}");
        let none = Limits { shared_bytes: 1024, ..Limits::sm61() };
        let error = Blueprint::new(&problem(1, 512, 128), 4, &none).unwrap_err();
        assert!(matches!(error, Unavailable::SharedMemory { limit: 1024, .. }), "{error}");
        let error = Blueprint::new(&problem(1, 512, 257), 4, &Limits::sm61()).unwrap_err();
        assert_eq!(error, Unavailable::HeadDim { found: 257, limit: 256 });
    }

    #[test]
    fn keys_are_split_until_the_device_is_full() {
        let limits = Limits::sm61();
        let count = |queries, keys| {
            let problem = problem(queries, keys, 128);
            let blueprint = Blueprint::new(&problem, 4, &limits).unwrap();
            let (each, splits) = blueprint.split(&problem, AttentionStrategy::Auto, &limits);
            assert!(each * splits >= keys && each * (splits - 1) < keys && each.is_multiple_of(blueprint.keys()));
            splits
        };
        assert_eq!(count(1, 200), 1);
        assert_eq!(count(1, 1024), 8);
        assert_eq!(count(1, 32768), 10);
        assert_eq!(count(512, 512), 1);
    }
}
