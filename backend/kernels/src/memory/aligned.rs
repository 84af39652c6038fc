//! Memory of a weight: its own, aligned to cache lines, so that it can become panels in place.

use super::block::{ALIGNMENT, advise_huge};
use core::fmt::Debug;
use core::ops::{Deref, DerefMut};

/// Bytes of one owner from the system's allocator, aligned to [`ALIGNMENT`].
///
/// Unlike a block of the [`Pool`](super::Pool) they are exactly as many as were requested and go back to the system:
/// weights live long, and what classes of sizes round up would be resident.
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
        let mut memory = vec![0; len + ALIGNMENT - 1];
        advise_huge(&mut memory);
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
}

/// Memory that one owner may write, as a weight is given to
/// [`PackedMatrix::pack_owned`](crate::gemm::PackedMatrix::pack_owned). Implemented for every such type.
///
/// `deref_mut` may copy first where the memory is shared; the same bytes come of each later call.
pub trait OwnedBytes: DerefMut<Target = [u8]> + Debug + Send + Sync {}

impl<T: DerefMut<Target = [u8]> + Debug + Send + Sync> OwnedBytes for T {}

impl Deref for AlignedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl DerefMut for AlignedBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
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
            let bytes = bytes.as_slice();
            assert!(bytes.as_ptr().addr().is_multiple_of(ALIGNMENT) && bytes == vec![7; len]);
        }
    }
}
