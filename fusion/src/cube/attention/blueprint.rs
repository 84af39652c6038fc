//! From what is asked and where to the tile that is baked into the kernel.
//!
//! Derivation. A unit holds `rows_a_unit x 4` scores and `rows_a_unit x ⌈value_dim / 4 / columns⌉` vectors of the output in
//! registers, and reads four floats from shared memory at a time. Per four elements of the depth it reads `rows_a_unit + 4` vectors
//! for `16 · rows_a_unit` multiply-adds, so four rows a unit are wanted wherever there are that many.
//!
//! ```text
//!                      rows   units        keys a tile   output a unit   shared memory (d = 128)
//! prefill, d <= 128     64    16 x 8           32        4 x 4 vectors   24.8 KiB   3 cubes an SM of SM61
//! prefill, d <= 256     32     8 x 16          64        4 x 4 vectors   24.3 KiB   3 cubes
//! few rows           4 - 16    4 x 16          64        1 - 4 x 2       10.9 - 16.8 KiB   8 to 5 cubes
//! ```
//!
//! 64 f32 of output a unit, with scores, operands and bounds, are about 130 of the 255 registers that SM61 gives a unit: 3 cubes
//! of 128 units an SM by registers too. Few rows wait for memory: what counts is bytes on their way, and 8 cubes that each load
//! 64 keys · 32 floats at a time have 32 KiB (f16) of them an SM; 192 GB/s over 10 SMs at 500 ns need 10 KiB.

use crate::cube::{Unavailable, limits::Limits};

/// Keys a unit scores.
pub(super) const KEYS_A_UNIT: usize = 4;

/// Vectors of four along the depth in a chunk, at most. With the odd stride that follows, eight rows lie in eight groups of banks.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
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
    /// Rows a unit holds.
    pub rows_a_unit: usize,
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
        // (rows a unit, row units, column units)
        let tiles = [(4, 16, 8), (4, 8, 16), (4, 4, 16), (2, 4, 16), (1, 4, 16)];
        let wide = longest > 128;
        let rows = problem.rows();
        let enough = |&(each, units, _): &(usize, usize, usize)| each * units / 2 < rows || each == 1;
        let tiles = tiles.into_iter().skip(usize::from(wide)).filter(enough);
        let mut reason = Unavailable::Units { found: 64, limit: limits.units };
        for (rows_a_unit, row_units, column_units) in tiles {
            let blueprint = Self::with_units(problem, vector, [rows_a_unit, row_units, column_units]);
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

    fn with_units(problem: &Problem, vector: usize, [rows_a_unit, row_units, column_units]: [usize; 3]) -> Self {
        let depth = problem.head_dim.div_ceil(4);
        let chunks = depth.div_ceil(MAX_DEPTH);
        let values_a_unit = problem.value_dim.div_ceil(4).div_ceil(column_units);
        let mut blueprint = Self {
            row_units,
            column_units,
            rows_a_unit,
            depth: depth.div_ceil(chunks),
            chunks,
            value_keys: 4,
            values_a_unit,
            head_dim: problem.head_dim,
            value_dim: problem.value_dim,
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
        self.row_units * self.rows_a_unit
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

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(queries: usize, keys: usize, head_dim: usize) -> Problem {
        Problem { batch: 1, kv_heads: 8, group: 2, queries, keys, head_dim, value_dim: head_dim }
    }

    #[test]
    fn tiles_fit_the_rows() {
        for (queries, head_dim, rows) in [
            (1, 128, 4),
            (2, 64, 4),
            (3, 80, 8),
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
                assert!(blueprint.rows_a_unit * blueprint.values_a_unit <= 16, "{blueprint:?}");
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
