//! A block of the pool of so many bytes, which goes back when it is dropped.

use super::block::PoolBlock;
use super::pool::Pool;
use core::ops::{Deref, DerefMut};

/// Bytes from the [`Pool`], given back when dropped.
#[derive(Debug)]
pub struct PooledBytes {
    /// `None` only while it is dropped.
    block: Option<PoolBlock>,
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
}

impl Deref for PooledBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl DerefMut for PooledBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
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
