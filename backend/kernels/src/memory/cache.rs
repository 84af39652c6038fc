//! Blocks that one thread keeps for itself: a tensor made and dropped by one thread meets no lock.

use super::block::PoolBlock;
use super::class::Class;
use super::counters::COUNTERS;
use std::cell::RefCell;
use std::sync::atomic::Ordering;

/// Blocks of one class that a thread keeps.
const PER_CLASS: usize = 4;

/// The largest block that a thread keeps, bytes: those of one token's activations.
const LARGEST: usize = 256 << 10;

/// The blocks of this thread.
struct Cache {
    blocks: [Vec<PoolBlock>; Class::COUNT],
    /// The trim of the pool that these blocks have seen.
    trims: usize,
}

thread_local! {
    static CACHE: RefCell<Cache> =
        const { RefCell::new(Cache { blocks: [const { Vec::new() }; Class::COUNT], trims: 0 }) };
}

/// A block of `class` that this thread kept.
pub(super) fn take(class: Class) -> Option<PoolBlock> {
    if class.bytes() > LARGEST {
        return None;
    }
    // A thread that is ending has no cache any more.
    CACHE.try_with(|cache| cache.borrow_mut().of(class).pop()).ok().flatten()
}

/// Keeps `block`, or hands it back where it is too large, one too many, or the thread is ending.
pub(super) fn put(class: Class, block: PoolBlock) -> Option<PoolBlock> {
    if class.bytes() > LARGEST {
        return Some(block);
    }
    let mut block = Some(block);
    let _ = CACHE.try_with(|cache| {
        let mut cache = cache.borrow_mut();
        let blocks = cache.of(class);
        if blocks.len() < PER_CLASS {
            blocks.extend(block.take());
        }
    });
    block
}

/// Gives back to the system what this thread keeps.
pub(super) fn clear() {
    let _ = CACHE.try_with(|cache| cache.borrow_mut().clear());
}

impl Cache {
    /// The blocks of a class, after doing what a trim by another thread requested.
    fn of(&mut self, class: Class) -> &mut Vec<PoolBlock> {
        let trims = COUNTERS.trims.load(Ordering::Acquire);
        if self.trims != trims {
            self.clear();
            self.trims = trims;
        }
        &mut self.blocks[class.index()]
    }

    fn clear(&mut self) {
        for block in self.blocks.iter_mut().flat_map(|blocks| blocks.drain(..)) {
            COUNTERS.release(block);
        }
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        self.clear();
    }
}
