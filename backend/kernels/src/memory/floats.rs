//! Floats in a block of the pool.

use super::pooled::PooledBytes;
use crate::{ElementType, Floats, FloatsMut};

/// Floats of one type in a block of the [`Pool`](super::Pool).
#[derive(Debug)]
pub struct PooledFloats {
    bytes: PooledBytes,
    dtype: ElementType,
}

impl PooledFloats {
    /// `len` floats of any value; `None` for more bytes than there are addresses.
    pub fn take(dtype: ElementType, len: usize) -> Option<Self> {
        let bytes = len.checked_mul(dtype.size()).filter(|&bytes| isize::try_from(bytes).is_ok())?;
        Some(Self { bytes: PooledBytes::take(bytes), dtype })
    }

    /// The element type.
    pub fn dtype(&self) -> ElementType {
        self.dtype
    }

    /// The block, to own.
    pub fn into_bytes(self) -> PooledBytes {
        self.bytes
    }

    /// The floats, to read.
    pub fn as_floats(&self) -> Floats<'_> {
        let bytes = self.bytes.as_slice();
        match self.dtype {
            ElementType::Bf16 => Floats::Bf16(bytemuck::cast_slice(bytes)),
            ElementType::F16 => Floats::F16(bytemuck::cast_slice(bytes)),
            ElementType::F32 => Floats::F32(bytemuck::cast_slice(bytes)),
        }
    }

    /// The floats, to write.
    pub fn as_floats_mut(&mut self) -> FloatsMut<'_> {
        let bytes = self.bytes.as_mut_slice();
        match self.dtype {
            ElementType::Bf16 => FloatsMut::Bf16(bytemuck::cast_slice_mut(bytes)),
            ElementType::F16 => FloatsMut::F16(bytemuck::cast_slice_mut(bytes)),
            ElementType::F32 => FloatsMut::F32(bytemuck::cast_slice_mut(bytes)),
        }
    }
}
