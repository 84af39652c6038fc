//! Bandwidth of caches: copies that fit them, again and again.

use super::memory::Copy;
use super::run_together;
use kiln_kernels::simd::Tier;
use rayon::ThreadPool;
use serde::Serialize;
use std::hint::black_box;
use std::time::Duration;

/// A copy whose source and destination together stay in a cache.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CachedCopy {
    /// Bytes of source and destination of all threads.
    pub bytes: usize,
    /// GB/s, read and written.
    pub gbytes: f64,
}

/// Tries, of which the best counts.
const TRIES: usize = 20;

/// `repeats` copies by all threads of `pool` at one moment, each its part of about `bytes` of source and destination:
/// bytes read and written, and the time.
pub fn copy_in_cache(pool: &ThreadPool, bytes: usize, repeats: usize) -> (f64, Duration) {
    let tier = *Tier::available().last().expect("the portable tier is always there");
    let floats = (bytes / 8 / pool.current_num_threads()).max(1).next_multiple_of(256);
    let copy = |from: &[f32], to: &mut [f32]| tier.run(Copy { from: black_box(from), to: black_box(to), ahead: 0 });
    let prepare = || {
        let (from, mut to) = (vec![1.0_f32; floats], vec![0.0_f32; floats]);
        // Both come into the cache.
        copy(&from, &mut to);
        (from, to)
    };
    run_together(pool, prepare, |(from, to)| {
        for _ in 0..repeats {
            copy(from, to);
        }
        (8 * floats * repeats) as f64
    })
}

/// Copies of 16 KiB to 16 MiB by the threads of `pool`, each its own part again and again.
pub fn measure_cached_copy(pool: &ThreadPool) -> Vec<CachedCopy> {
    let measure = |bytes: usize| {
        let rate = |_| {
            let (moved, time) = copy_in_cache(pool, bytes, ((64 << 20) / bytes).max(4));
            moved / time.as_secs_f64() / 1e9
        };
        CachedCopy { bytes, gbytes: (0..TRIES).map(rate).fold(0.0, f64::max) }
    };
    [16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20].map(measure).into()
}
