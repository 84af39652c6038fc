//! Memory that files are read into.

use crate::memory::PoolBlock;

/// What reads around the page cache must be aligned to, in memory and in the file, bytes: a page, and a multiple of
/// every block size of disks in use (512 and 4096).
pub const PAGE: usize = 4096;

/// Buffers of this size and more are whole huge pages, bytes: else the part that is not used would be memory that
/// nobody counts.
const HUGE_PAGE: usize = 2 << 20;

/// Bytes that begin at a page. Every byte is initialised.
#[derive(Debug)]
pub struct PageBuffer {
    block: PoolBlock,
    skip: usize,
    len: usize,
}

impl PageBuffer {
    /// `len` bytes of zeros, rounded up to what [`PageBuffer::cost`] says.
    pub fn zeroed(len: usize) -> Self {
        let len = Self::cost(len);
        let slack = if len >= HUGE_PAGE { 0 } else { PAGE };
        let block = PoolBlock::zeroed(len + slack);
        // Huge blocks begin at a huge page, except where the system refused the mapping.
        let skip = block.as_slice().as_ptr().align_offset(PAGE);
        let (block, skip) = match skip <= slack {
            true => (block, skip),
            false => {
                let block = PoolBlock::zeroed(len + PAGE);
                let skip = block.as_slice().as_ptr().align_offset(PAGE);
                (block, skip)
            }
        };
        Self { block, skip, len }
    }

    /// Bytes of memory that a buffer of `len` bytes takes: whole pages, from 2 MiB on whole huge pages.
    pub fn cost(len: usize) -> usize {
        len.max(1).next_multiple_of(if len >= HUGE_PAGE { HUGE_PAGE } else { PAGE })
    }

    /// Its size, bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Never.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.block.as_slice()[self.skip..][..self.len]
    }

    /// The bytes, to write.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.block.as_mut_slice()[self.skip..][..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_begin_at_a_page() {
        for len in [0, 1, 4096, 5000, HUGE_PAGE - 1, HUGE_PAGE, HUGE_PAGE + 1] {
            let mut buffer = PageBuffer::zeroed(len);
            assert!(buffer.len() >= len && buffer.len() == PageBuffer::cost(len));
            assert!(buffer.as_slice().as_ptr().addr().is_multiple_of(PAGE));
            buffer.as_mut_slice().fill(1);
        }
    }
}
