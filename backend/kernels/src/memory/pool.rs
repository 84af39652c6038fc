//! The shelves: free blocks by class, a cap on their bytes, and counters.

use super::block::PoolBlock;
use super::cache;
use super::class::Class;
use super::counters::COUNTERS;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed, Ordering::Release};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

/// The share of the machine's memory that a pool keeps at most, unless told otherwise: one part in so many.
const SHARE_OF_MEMORY: usize = 8;

/// What a pool keeps at most where the machine's memory is not known, and in any case, bytes.
const LARGEST_CAP: usize = 1 << 30;

/// What a pool did, and holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PoolStats {
    /// Buffers that came from a cache or a shelf.
    pub hits: usize,
    /// Buffers that the system had to give.
    pub misses: usize,
    /// Bytes that are free in the pool.
    pub held: usize,
    /// Bytes of blocks that tensors have.
    pub in_use: usize,
    /// The most bytes that were held and in use at one time.
    pub high_water: usize,
    /// The most bytes that may be held.
    pub cap: usize,
}

/// Free blocks, by class. There is one for the process: [`Pool::global`].
#[derive(Debug)]
pub struct Pool {
    shelves: [Mutex<Vec<PoolBlock>>; Class::COUNT],
    cap: AtomicUsize,
}

impl Pool {
    /// The pool of this process. It keeps at most an eighth of the machine's memory and at most 1 GiB.
    pub fn global() -> &'static Self {
        static POOL: LazyLock<Pool> = LazyLock::new(|| Pool {
            shelves: [const { Mutex::new(Vec::new()) }; Class::COUNT],
            cap: AtomicUsize::new(Pool::default_cap()),
        });
        &POOL
    }

    /// The cap that a pool begins with: an eighth of the machine's memory, at most 1 GiB.
    pub fn default_cap() -> usize {
        (machine_memory() / SHARE_OF_MEMORY).min(LARGEST_CAP)
    }

    /// A block of at least `bytes`: every byte is initialised, to what nobody should rely on.
    pub fn take(&self, bytes: usize) -> PoolBlock {
        let class = Class::of(bytes);
        let found = class.and_then(|class| cache::take(class).or_else(|| self.shelf(class).pop()));
        let block = match found {
            Some(mut block) => {
                COUNTERS.hits.fetch_add(1, Relaxed);
                COUNTERS.held.fetch_sub(block.len(), Relaxed);
                if cfg!(debug_assertions) {
                    // NaN in each float type: a kernel that leaves an element out shows.
                    block.as_mut_slice().fill(0xff);
                }
                block
            }
            None => {
                COUNTERS.misses.fetch_add(1, Relaxed);
                PoolBlock::zeroed(class.map_or(bytes, Class::bytes))
            }
        };
        let in_use = COUNTERS.in_use.fetch_add(block.len(), Relaxed) + block.len();
        COUNTERS.high_water.fetch_max(in_use + COUNTERS.held.load(Relaxed), Relaxed);
        block
    }

    /// Takes a block back, to hand it out again or to return it to the system.
    pub fn put(&self, block: PoolBlock) {
        COUNTERS.in_use.fetch_sub(block.len(), Relaxed);
        let (bytes, cap) = (block.len(), self.cap.load(Relaxed));
        let Some(class) = Class::of(bytes).filter(|_| bytes <= cap) else { return };
        if COUNTERS.held.fetch_add(bytes, Relaxed) + bytes > cap {
            // What is held did not serve; the sizes in use have changed.
            self.clear_shelves();
            if COUNTERS.held.load(Relaxed) > cap {
                COUNTERS.release(block);
                return;
            }
        }
        if let Some(block) = cache::put(class, block) {
            self.shelf(class).push(block);
        }
    }

    /// Returns to the system what is free: at once what is on the shelves and in this thread's cache, and what other
    /// threads cached when each next takes or drops a buffer.
    pub fn trim(&self) {
        COUNTERS.trims.fetch_add(1, Release);
        cache::clear();
        self.clear_shelves();
    }

    /// Sets the most bytes that may be free; 0 keeps none. What is beyond is returned to the system.
    pub fn set_cap(&self, bytes: usize) {
        self.cap.store(bytes, Relaxed);
        if COUNTERS.held.load(Relaxed) > bytes {
            self.trim();
        }
    }

    /// Counters, each right by itself while other threads work.
    pub fn stats(&self) -> PoolStats {
        PoolStats {
            hits: COUNTERS.hits.load(Relaxed),
            misses: COUNTERS.misses.load(Relaxed),
            held: COUNTERS.held.load(Relaxed),
            in_use: COUNTERS.in_use.load(Relaxed),
            high_water: COUNTERS.high_water.load(Relaxed),
            cap: self.cap.load(Relaxed),
        }
    }

    fn clear_shelves(&self) {
        for shelf in &self.shelves {
            let blocks = std::mem::take(&mut *lock(shelf));
            blocks.into_iter().for_each(|block| COUNTERS.release(block));
        }
    }

    fn shelf(&self, class: Class) -> MutexGuard<'_, Vec<PoolBlock>> {
        lock(&self.shelves[class.index()])
    }
}

/// A shelf is a list of whole blocks at any moment, so one whose holder panicked is as good as any.
fn lock(shelf: &Mutex<Vec<PoolBlock>>) -> MutexGuard<'_, Vec<PoolBlock>> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Physical memory of the machine, bytes; a guess of 8 GiB where the system does not say.
fn machine_memory() -> usize {
    let total = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
        line.split_whitespace().nth(1)?.parse::<usize>().ok()
    });
    total.map_or(8 << 30, |kibibytes| kibibytes.saturating_mul(1024))
}
