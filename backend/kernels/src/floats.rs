//! Slices of any element type.

use crate::ElementType;
use half::{bf16, f16};

/// A slice of any element type that kernels read.
#[derive(Debug, Clone, Copy)]
pub enum Floats<'a> {
    /// Single precision.
    F32(&'a [f32]),
    /// bfloat16.
    Bf16(&'a [bf16]),
    /// Half precision.
    F16(&'a [f16]),
}

/// A slice of any element type that kernels write.
#[derive(Debug)]
pub enum FloatsMut<'a> {
    /// Single precision.
    F32(&'a mut [f32]),
    /// bfloat16.
    Bf16(&'a mut [bf16]),
    /// Half precision.
    F16(&'a mut [f16]),
}

impl<'a> Floats<'a> {
    /// `len` elements from `start` on.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn slice(self, start: usize, len: usize) -> Floats<'a> {
        match self {
            Self::F32(x) => Floats::F32(&x[start..start + len]),
            Self::Bf16(x) => Floats::Bf16(&x[start..start + len]),
            Self::F16(x) => Floats::F16(&x[start..start + len]),
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(x) => x.len(),
            Self::Bf16(x) => x.len(),
            Self::F16(x) => x.len(),
        }
    }

    /// True for no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True for single precision.
    pub fn is_f32(&self) -> bool {
        matches!(self, Self::F32(_))
    }

    /// The element type.
    pub fn dtype(&self) -> ElementType {
        match self {
            Self::F32(_) => ElementType::F32,
            Self::Bf16(_) => ElementType::Bf16,
            Self::F16(_) => ElementType::F16,
        }
    }
}

impl FloatsMut<'_> {
    /// The same slice for a while.
    pub fn reborrow(&mut self) -> FloatsMut<'_> {
        match self {
            Self::F32(x) => FloatsMut::F32(x),
            Self::Bf16(x) => FloatsMut::Bf16(x),
            Self::F16(x) => FloatsMut::F16(x),
        }
    }

    /// The same slice, to read.
    pub fn as_floats(&self) -> Floats<'_> {
        match self {
            Self::F32(x) => Floats::F32(x),
            Self::Bf16(x) => Floats::Bf16(x),
            Self::F16(x) => Floats::F16(x),
        }
    }

    /// Elements `start .. start + len`, for a while.
    ///
    /// # Panics
    /// If the slice ends before.
    pub fn slice_mut(&mut self, start: usize, len: usize) -> FloatsMut<'_> {
        match self {
            Self::F32(x) => FloatsMut::F32(&mut x[start..start + len]),
            Self::Bf16(x) => FloatsMut::Bf16(&mut x[start..start + len]),
            Self::F16(x) => FloatsMut::F16(&mut x[start..start + len]),
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(x) => x.len(),
            Self::Bf16(x) => x.len(),
            Self::F16(x) => x.len(),
        }
    }

    /// True for no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element type.
    pub fn dtype(&self) -> ElementType {
        match self {
            Self::F32(_) => ElementType::F32,
            Self::Bf16(_) => ElementType::Bf16,
            Self::F16(_) => ElementType::F16,
        }
    }
}
