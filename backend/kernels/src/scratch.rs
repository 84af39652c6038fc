//! Packing buffers, aligned to cache lines: kept by each thread, or of the pool where threads share them, so that a
//! product in steady state allocates nothing.

use crate::memory::{Pool, PoolBlock, advise_huge};
use bytemuck::{Pod, Zeroable};
use std::cell::Cell;

/// One cache line of floats.
#[derive(Debug, Clone, Copy, Zeroable, Pod)]
#[repr(C, align(64))]
struct Line([f32; 16]);

thread_local! {
    /// What the last product on this thread packed into.
    static SPARE: Cell<Vec<Line>> = const { Cell::new(Vec::new()) };
}

/// A buffer of this thread, given back when dropped. A product inside another one (a thread that steals work while it
/// waits) gets a buffer of its own.
#[derive(Debug)]
pub(crate) struct Scratch(Vec<Line>);

impl Scratch {
    /// At least `floats` floats of unspecified value, aligned to 64 bytes.
    pub(crate) fn take(floats: usize) -> Self {
        let mut lines = SPARE.take();
        if lines.len() * 16 < floats {
            // The old contents would only be copied.
            drop(lines);
            lines = bytemuck::zeroed_vec(floats.div_ceil(16));
            advise_huge(bytemuck::cast_slice_mut(&mut lines));
        }
        Self(lines)
    }

    /// The first float.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut f32 {
        self.0.as_mut_ptr().cast()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let lines = std::mem::take(&mut self.0);
        let other = SPARE.take();
        SPARE.set(if other.len() > lines.len() { other } else { lines });
    }
}

/// `floats` rounded up to whole cache lines, so that what follows in one buffer stays aligned.
pub(crate) const fn round_to_line(floats: usize) -> usize {
    floats.div_ceil(16) * 16
}

/// A buffer of the [`Pool`] that threads of one product share: given back when dropped, also where a part panics.
#[derive(Debug)]
pub(crate) struct PooledScratch(Option<PoolBlock>);

impl PooledScratch {
    /// At least `floats` floats of unspecified value, aligned to 64 bytes.
    pub(crate) fn take(floats: usize) -> Self {
        Self(Some(Pool::global().take(floats.max(1) * size_of::<f32>())))
    }

    /// How many floats it has.
    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |block| block.as_slice().len() / size_of::<f32>())
    }

    /// The floats.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        self.0.as_mut().map_or(&mut [], |block| bytemuck::cast_slice_mut(block.as_mut_slice()))
    }

    /// The first float.
    pub(crate) fn as_mut_ptr(&mut self) -> *mut f32 {
        self.as_mut_slice().as_mut_ptr()
    }
}

impl Drop for PooledScratch {
    fn drop(&mut self) {
        if let Some(block) = self.0.take() {
            Pool::global().put(block);
        }
    }
}
