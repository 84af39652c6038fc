//! Memory of the kernels as that of a Burn tensor.

use burn_std::{AllocationController, AllocationProperty, Bytes};
use core::mem::MaybeUninit;
use kiln_kernels::memory::{AlignedBytes, OwnedBytes, PooledBytes};

/// The alignment that Burn asks of any buffer, bytes; ours have a stricter one.
const BURN_ALIGNMENT: usize = align_of::<u128>();

/// Memory that can become that of a tensor: aligned to cache lines, every byte initialised, the same bytes at each
/// call.
pub trait TensorMemory: OwnedBytes + Sized + 'static {
    /// The memory of a tensor.
    fn into_bytes(self) -> Bytes {
        let len = self.len();
        // SAFETY: every byte of a slice is initialised.
        unsafe { Bytes::from_controller(Box::new(Controller(self)), len) }
    }
}

impl TensorMemory for AlignedBytes {}
impl TensorMemory for PooledBytes {}

/// Memory as Burn holds it.
struct Controller<M>(M);

impl<M: OwnedBytes> AllocationController for Controller<M> {
    fn alloc_align(&self) -> usize {
        BURN_ALIGNMENT
    }

    fn property(&self) -> AllocationProperty {
        AllocationProperty::Other
    }

    unsafe fn memory_mut(&mut self) -> &mut [MaybeUninit<u8>] {
        let bytes = &mut *self.0;
        // SAFETY: the same bytes; the caller promises to write only initialised ones.
        unsafe { core::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), bytes.len()) }
    }

    fn memory(&self) -> &[MaybeUninit<u8>] {
        let bytes = &*self.0;
        // SAFETY: initialised bytes are also possibly initialised ones.
        unsafe { core::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) }
    }
}
