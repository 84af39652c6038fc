//! Our memory as that of a Burn tensor.

use super::block::Block;
use super::pool::Pool;
use burn_std::{AllocationController, AllocationProperty, Bytes};
use core::mem::MaybeUninit;

/// The alignment that Burn asks of any buffer, bytes; ours have a stricter one.
const BURN_ALIGNMENT: usize = align_of::<u128>();

/// Memory of one owner, every byte of which is initialised; the same bytes at each call.
pub(super) trait Initialised: Send + Sync + 'static {
    fn as_slice(&self) -> &[u8];

    fn as_mut_slice(&mut self) -> &mut [u8];
}

/// The memory of a tensor.
pub(super) fn into_bytes(memory: impl Initialised) -> Bytes {
    let len = memory.as_slice().len();
    // SAFETY: every byte is initialised.
    unsafe { Bytes::from_controller(Box::new(Controller(memory)), len) }
}

/// Memory as Burn holds it.
struct Controller<M>(M);

impl<M: Initialised> AllocationController for Controller<M> {
    fn alloc_align(&self) -> usize {
        BURN_ALIGNMENT
    }

    fn property(&self) -> AllocationProperty {
        AllocationProperty::Other
    }

    unsafe fn memory_mut(&mut self) -> &mut [MaybeUninit<u8>] {
        let bytes = self.0.as_mut_slice();
        // SAFETY: the same bytes; the caller promises to write only initialised ones.
        unsafe { core::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), bytes.len()) }
    }

    fn memory(&self) -> &[MaybeUninit<u8>] {
        let bytes = self.0.as_slice();
        // SAFETY: initialised bytes are also possibly initialised ones.
        unsafe { core::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len()) }
    }
}

/// Bytes from the [`Pool`], given back when dropped.
#[derive(Debug)]
pub struct PooledBytes {
    /// `None` only while it is dropped.
    block: Option<Block>,
    len: usize,
}

impl PooledBytes {
    /// `len` initialised bytes of any value, aligned to 64.
    pub fn take(len: usize) -> Self {
        Self { block: Some(Pool::global().take(len)), len }
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.block.as_ref().map_or(&[], |block| &block.as_slice()[..self.len])
    }

    /// The bytes, to write.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        let len = self.len;
        self.block.as_mut().map_or(&mut [], |block| &mut block.as_mut_slice()[..len])
    }

    /// The memory of a tensor.
    pub fn into_bytes(self) -> Bytes {
        into_bytes(self)
    }
}

impl Initialised for PooledBytes {
    fn as_slice(&self) -> &[u8] {
        self.as_slice()
    }

    fn as_mut_slice(&mut self) -> &mut [u8] {
        self.as_mut_slice()
    }
}

impl Drop for PooledBytes {
    fn drop(&mut self) {
        if let Some(block) = self.block.take() {
            Pool::global().put(block);
        }
    }
}
