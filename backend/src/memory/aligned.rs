//! Memory of a weight: its own, aligned to cache lines, so that it can become panels where it lies.

use super::block::ALIGNMENT;
use super::controller::BURN_ALIGNMENT;
use burn_std::{AllocationController, AllocationProperty, Bytes};
use core::mem::MaybeUninit;

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
        let len = self.len;
        // SAFETY: every byte of a `Vec` within its length is initialised.
        unsafe { Bytes::from_controller(Box::new(self), len) }
    }
}

impl AllocationController for AlignedBytes {
    fn alloc_align(&self) -> usize {
        BURN_ALIGNMENT
    }

    fn property(&self) -> AllocationProperty {
        AllocationProperty::Other
    }

    unsafe fn memory_mut(&mut self) -> &mut [MaybeUninit<u8>] {
        let bytes = self.as_mut_slice();
        // SAFETY: the same bytes; the caller promises to write only initialised ones.
        unsafe { core::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), bytes.len()) }
    }

    fn memory(&self) -> &[MaybeUninit<u8>] {
        let bytes = self.as_slice();
        // SAFETY: initialised bytes are also possibly initialised ones.
        unsafe { core::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) }
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
