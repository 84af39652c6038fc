//! Checks of a configuration's values.

use super::{ConfigError, OptimizationConfig};
use bytesize::ByteSize;
use core::ops::RangeInclusive;

/// Rows, columns or depth of a block: a packed block is at most a few GiB even at the largest.
const BLOCK: RangeInclusive<usize> = 1..=65_536;

/// Queries or keys of an attention tile.
const ATTENTION_TILE: RangeInclusive<usize> = 1..=8_192;

/// Bytes of a block of rows: from a few cache lines to more than any first-level cache.
const ROW_BLOCK: RangeInclusive<usize> = 256..=16 << 20;

/// Bytes that a line may be prefetched ahead of its use.
const PREFETCH_DISTANCE: RangeInclusive<usize> = 0..=1 << 20;

/// Threads of one operation.
const THREADS: RangeInclusive<usize> = 1..=4_096;

/// The least limit of memory that is no slip, bytes. What a model needs at least is known when it is loaded, and told
/// then: a second minimum here would be told to whoever has kept to that one.
const LEAST_MEMORY: u64 = 1;

impl OptimizationConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// [`ConfigError::Value`] names the first field that is out of its range.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let tiling = &self.tiling;
        check("tiling.mc", tiling.mc, BLOCK)?;
        check("tiling.kc", tiling.kc, BLOCK)?;
        check("tiling.nc", tiling.nc, BLOCK)?;
        check("tiling.attention_q", tiling.attention_q, ATTENTION_TILE)?;
        check("tiling.attention_k", tiling.attention_k, ATTENTION_TILE)?;
        check("blocking.rows", self.blocking.rows, ROW_BLOCK)?;
        check("prefetch.distance", self.prefetch.distance, PREFETCH_DISTANCE)?;
        check("threads.max", self.threads.max, THREADS)?;
        check_limit("streaming.memory_limit", self.streaming.memory_limit, LEAST_MEMORY)?;
        check_limit("gpu.memory_limit", self.gpu.memory_limit, LEAST_MEMORY)
    }
}

fn check_limit(field: &'static str, limit: Option<ByteSize>, least: u64) -> Result<(), ConfigError> {
    match limit {
        Some(limit) if limit.as_u64() < least => Err(ConfigError::Value {
            field,
            found: limit.to_string(),
            expected: format!("at least {}", ByteSize(least)),
        }),
        _ => Ok(()),
    }
}

fn check(field: &'static str, value: Option<usize>, range: RangeInclusive<usize>) -> Result<(), ConfigError> {
    match value {
        Some(value) if !range.contains(&value) => Err(ConfigError::Value {
            field,
            found: value.to_string(),
            expected: format!("{} to {}, or nothing to derive it", range.start(), range.end()),
        }),
        _ => Ok(()),
    }
}
