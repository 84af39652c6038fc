//! One block of memory, aligned to cache lines.

use core::ptr::NonNull;
use memmap2::MmapMut;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};

/// Alignment of a block, bytes: one cache line, one register of AVX-512.
pub const ALIGNMENT: usize = 64;

/// Blocks from this size on are mapped by themselves, on huge pages where the system gives them: one fault in place of
/// 512, and one entry of the address cache.
const MAPPED: usize = 2 << 20;

/// A huge page, bytes.
const HUGE_PAGE: usize = 2 << 20;

/// Asks for huge pages under memory that nobody has touched yet, as far as it has whole ones: a hint.
pub(crate) fn advise_huge(memory: &mut [u8]) {
    #[cfg(target_os = "linux")]
    {
        let skip = memory.as_ptr().align_offset(HUGE_PAGE);
        let len = memory.len().saturating_sub(skip) / HUGE_PAGE * HUGE_PAGE;
        if len > 0 {
            // SAFETY: whole pages of this memory; the call changes nothing in them.
            unsafe { libc::madvise(memory.as_mut_ptr().add(skip).cast(), len, libc::MADV_HUGEPAGE) };
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = memory;
}

/// Memory that nobody else has. Every byte is initialised.
#[derive(Debug)]
pub struct PoolBlock {
    start: NonNull<u8>,
    len: usize,
    origin: Origin,
}

/// Where the memory came from, and goes back to.
#[derive(Debug)]
enum Origin {
    Allocator(Layout),
    /// Kept for its drop, which unmaps it.
    Map(#[allow(dead_code)] MmapMut),
}

// SAFETY: a block owns its memory.
unsafe impl Send for PoolBlock {}
// SAFETY: shared access only reads.
unsafe impl Sync for PoolBlock {}

impl PoolBlock {
    /// `len` bytes of zeros (at least one).
    ///
    /// Where the system refuses a mapping, the allocator is asked; where that fails, the process ends as for any other
    /// allocation.
    pub fn zeroed(len: usize) -> Self {
        let len = len.max(1);
        if len >= MAPPED
            && let Some(block) = Self::map(len)
        {
            return block;
        }
        let layout = Layout::from_size_align(len, ALIGNMENT).expect("a size that fits the address space");
        // SAFETY: the size is not 0.
        let Some(start) = NonNull::new(unsafe { alloc_zeroed(layout) }) else { handle_alloc_error(layout) };
        Self { start, len, origin: Origin::Allocator(layout) }
    }

    /// A mapping of zeros whose first byte begins a huge page.
    fn map(len: usize) -> Option<Self> {
        let mut map = MmapMut::map_anon(len.checked_add(HUGE_PAGE)?).ok()?;
        #[cfg(target_os = "linux")]
        // A kernel without huge pages gives small ones.
        let _ = map.advise(memmap2::Advice::HugePage);
        let skip = map.as_ptr().align_offset(HUGE_PAGE);
        let start = NonNull::from(map.get_mut(skip..skip.checked_add(len)?)?).cast();
        Some(Self { start, len, origin: Origin::Map(map) })
    }

    /// Its size, bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Never: a block has at least one byte.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: `len` initialised bytes that this block owns.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    /// The bytes, to write.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: `len` initialised bytes that this block owns, borrowed mutably.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for PoolBlock {
    fn drop(&mut self) {
        if let Origin::Allocator(layout) = self.origin {
            // SAFETY: allocated with this layout.
            unsafe { dealloc(self.start.as_ptr(), layout) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_aligned_zero_and_whole() {
        for len in [0, 1, 63, 4096, MAPPED - 1, MAPPED, MAPPED + 1, 3 * MAPPED + 5] {
            let mut block = PoolBlock::zeroed(len);
            assert_eq!(block.len(), len.max(1));
            assert!(block.as_slice().as_ptr().addr().is_multiple_of(ALIGNMENT));
            assert!(block.as_slice().iter().all(|&byte| byte == 0));
            block.as_mut_slice().fill(0xa5);
            assert_eq!(block.as_slice().last(), Some(&0xa5));
        }
    }
}
