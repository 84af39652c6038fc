//! Memory of a weight: its own, aligned to cache lines, so that it can become panels where it lies.

use super::block::ALIGNMENT;
use super::controller::{Initialised, into_bytes};
use burn_std::Bytes;

/// Bytes of one owner from the system's allocator, aligned to [`ALIGNMENT`].
///
/// Unlike a block of the [`Pool`](super::Pool) they are exactly as many as were asked for and go back to the system: weights live long, and
/// what classes of sizes round up would be resident.
#[derive(Debug)]
pub struct AlignedBytes {
    /// The bytes, somewhere inside.
    memory: Vec<u8>,
    skip: usize,
    len: usize,
}

impl AlignedBytes {
    /// `len` zeros, which take memory when they are first written.
    pub fn zeroed(len: usize) -> Self {
        let memory = vec![0; len + ALIGNMENT - 1];
        let skip = memory.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT - 1);
        Self { memory, skip, len }
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.memory[self.skip..][..self.len]
    }

    /// The bytes, to write.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.memory[self.skip..][..self.len]
    }

    /// The memory of a tensor.
    pub fn into_bytes(self) -> Bytes {
        into_bytes(self)
    }
}

impl Initialised for AlignedBytes {
    fn as_slice(&self) -> &[u8] {
        self.as_slice()
    }

    fn as_mut_slice(&mut self) -> &mut [u8] {
        self.as_mut_slice()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_aligned_zero_and_as_many_as_asked_for() {
        for len in [0, 1, 63, 64, 65, 4096, 1 << 20] {
            let mut bytes = AlignedBytes::zeroed(len);
            assert_eq!(bytes.as_slice(), vec![0; len]);
            bytes.as_mut_slice().fill(7);
            let bytes = bytes.into_bytes();
            assert!(bytes.as_ptr().addr().is_multiple_of(ALIGNMENT) && *bytes == vec![7; len]);
        }
    }
}
