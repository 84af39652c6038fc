//! What the pool counts: shared by its shelves and the caches of threads.

use super::block::PoolBlock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Counters of the pool of this process.
#[derive(Debug)]
pub(super) struct Counters {
    pub(super) hits: AtomicUsize,
    pub(super) misses: AtomicUsize,
    /// Bytes that are free.
    pub(super) held: AtomicUsize,
    /// Bytes that tensors have.
    pub(super) in_use: AtomicUsize,
    pub(super) high_water: AtomicUsize,
    /// Number of trims: a thread whose cache has seen fewer empties it.
    pub(super) trims: AtomicUsize,
}

pub(super) static COUNTERS: Counters = Counters {
    hits: AtomicUsize::new(0),
    misses: AtomicUsize::new(0),
    held: AtomicUsize::new(0),
    in_use: AtomicUsize::new(0),
    high_water: AtomicUsize::new(0),
    trims: AtomicUsize::new(0),
};

impl Counters {
    /// Returns a held block to the system.
    pub(super) fn release(&self, block: PoolBlock) {
        self.held.fetch_sub(block.len(), Relaxed);
    }
}
