//! A backend's tensors as slices.

use burn_backend::tensor::{BoolTensor, FloatTensor, IntTensor};
use burn_backend::{DType, TensorMetadata};
use burn_kiln_fusion::FusedOps;
use burn_std::{Bytes, Shape, SmallVec};
use half::{bf16, f16};
use kiln_kernels::memory::PooledFloats;
use kiln_kernels::{ElementType, Floats, FloatsMut};

/// Sizes or strides, one a dimension. Those of up to six dimensions need no allocation, which would take as long as an
/// op on a thousand elements.
pub type Sizes = SmallVec<[usize; 6]>;

/// A strided tensor of floats. Strides and offset are in elements; strides are not negative.
#[derive(Debug, Clone)]
pub struct View<'a> {
    /// The buffer.
    pub data: Floats<'a>,
    /// Index of the first element.
    pub offset: usize,
    /// Sizes.
    pub shape: Sizes,
    /// Elements between neighbours in each dimension.
    pub strides: Sizes,
}

/// A strided tensor of truth values, one byte each, 0 or 1.
#[derive(Debug, Clone)]
pub struct BoolView<'a> {
    /// The buffer.
    pub data: &'a [u8],
    /// Index of the first element.
    pub offset: usize,
    /// Sizes.
    pub shape: Sizes,
    /// Elements between neighbours in each dimension.
    pub strides: Sizes,
}

/// A new contiguous buffer.
#[derive(Debug)]
pub enum OwnedFloats {
    /// Single precision.
    F32(Vec<f32>),
    /// bfloat16.
    Bf16(Vec<bf16>),
    /// Half precision.
    F16(Vec<f16>),
    /// Floats of one type in a block of the pool.
    Pooled(PooledFloats),
}

/// `shape` with rows of `width`.
pub(super) fn with_width(shape: &Shape, width: usize) -> Shape {
    let mut shape = shape.to_vec();
    if let Some(last) = shape.last_mut() {
        *last = width;
    }
    Shape::from(shape)
}

/// The element type of kernels that is Burn's `dtype`; `None` for a type that kernels don't store.
pub fn element_type(dtype: DType) -> Option<ElementType> {
    match dtype {
        DType::F32 => Some(ElementType::F32),
        DType::BF16 => Some(ElementType::Bf16),
        DType::F16 => Some(ElementType::F16),
        _ => None,
    }
}

/// Burn's name of an element type.
pub fn dtype(element: ElementType) -> DType {
    match element {
        ElementType::F32 => DType::F32,
        ElementType::Bf16 => DType::BF16,
        ElementType::F16 => DType::F16,
    }
}

impl OwnedFloats {
    /// `len` zeros.
    pub fn zeros(element: ElementType, len: usize) -> Self {
        match element {
            ElementType::F32 => Self::F32(vec![0.0; len]),
            ElementType::Bf16 => Self::Bf16(vec![bf16::ZERO; len]),
            ElementType::F16 => Self::F16(vec![f16::ZERO; len]),
        }
    }

    /// The buffer, to read.
    pub fn as_floats(&self) -> Floats<'_> {
        match self {
            Self::F32(x) => Floats::F32(x),
            Self::Bf16(x) => Floats::Bf16(x),
            Self::F16(x) => Floats::F16(x),
            Self::Pooled(x) => x.as_floats(),
        }
    }

    /// The buffer, to write.
    pub fn as_floats_mut(&mut self) -> FloatsMut<'_> {
        match self {
            Self::F32(x) => FloatsMut::F32(x),
            Self::Bf16(x) => FloatsMut::Bf16(x),
            Self::F16(x) => FloatsMut::F16(x),
            Self::Pooled(x) => x.as_floats_mut(),
        }
    }
}

/// A backend whose tensors are memory of the CPU.
pub trait CpuBackend: FusedOps {
    /// The tensor as slices; `None` for f64, for negative strides and for buffers that are not aligned to their
    /// element.
    fn view(tensor: &FloatTensor<Self>) -> Option<View<'_>>;

    /// The elements of a tensor that is contiguous in row-major order, without what [`CpuBackend::view`] says besides.
    fn elements(tensor: &FloatTensor<Self>) -> Option<Floats<'_>> {
        Self::view(tensor)?.contiguous()
    }

    /// Number of elements.
    fn len(tensor: &FloatTensor<Self>) -> usize {
        tensor.shape().num_elements()
    }

    /// Whether two tensors have the same sizes.
    fn same_shape(left: &FloatTensor<Self>, right: &FloatTensor<Self>) -> bool {
        left.shape() == right.shape()
    }

    /// The tensor's own buffer, if nobody else holds it and it is contiguous from end to end.
    fn view_mut(tensor: &mut FloatTensor<Self>) -> Option<FloatsMut<'_>>;

    /// The memory of a tensor that nobody else holds, that is contiguous from end to end, and no mapped file; else the
    /// tensor.
    fn take_bytes(tensor: FloatTensor<Self>) -> Result<Bytes, FloatTensor<Self>> {
        Err(tensor)
    }

    /// Truth values as slices.
    fn view_bool(tensor: &BoolTensor<Self>) -> Option<BoolView<'_>>;

    /// Integers in row-major order; `None` for a type that kernels don't read.
    fn integers(tensor: &IntTensor<Self>) -> Option<Vec<i64>>;

    /// The same where none is negative.
    fn indices(tensor: &IntTensor<Self>) -> Option<Vec<usize>> {
        Self::integers(tensor)?.into_iter().map(|i| usize::try_from(i).ok()).collect()
    }

    /// A buffer for a result of `len` floats, every one of which its kernel writes: what is in it before has no
    /// meaning. `None` for more bytes than there are addresses.
    fn allocate(element: ElementType, len: usize) -> Option<OwnedFloats> {
        let bytes = len.checked_mul(element.size())?;
        isize::try_from(bytes).ok().map(|_| OwnedFloats::zeros(element, len))
    }

    /// A tensor that owns `floats`; `None` if the backend has no such dtype.
    fn from_floats(floats: OwnedFloats, shape: Shape) -> Option<FloatTensor<Self>>;
}

impl<'a> View<'a> {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// The elements as one slice, if they are contiguous in row-major order.
    pub fn contiguous(&self) -> Option<Floats<'a>> {
        let mut expected = 1;
        for (&size, &stride) in self.shape.iter().zip(&self.strides).rev() {
            if size != 1 && stride != expected {
                return if self.is_empty() { Some(self.data.slice(0, 0)) } else { None };
            }
            expected *= size;
        }
        Some(self.data.slice(self.offset, self.len()))
    }

    /// The buffer from `start` on; nothing where that is past its end.
    pub fn data_from(&self, start: usize) -> Floats<'a> {
        let start = start.min(self.data.len());
        self.data.slice(start, self.data.len() - start)
    }

    /// True for no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element type.
    pub fn dtype(&self) -> ElementType {
        self.data.dtype()
    }

    /// The last dimension, 1 for a scalar.
    pub fn last(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// `[rows, d]` with one stride between rows, where the leading dimensions allow it.
    pub fn as_rows(&self) -> Option<Rows> {
        let (&d, lead) = self.shape.split_last()?;
        let (&d_stride, lead_strides) = self.strides.split_last()?;
        let mut rows = 1;
        let mut stride = 0;
        for (&size, &step) in lead.iter().zip(lead_strides).rev() {
            if size == 1 {
                continue;
            }
            if rows == 1 {
                stride = step;
            } else if step != stride * rows {
                return None;
            }
            rows *= size;
        }
        Some(Rows { rows, d, row_stride: if rows == 1 { d * d_stride.max(1) } else { stride }, stride: d_stride })
    }
}

/// A tensor as rows of its last dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rows {
    /// Product of the leading dimensions.
    pub rows: usize,
    /// The last dimension.
    pub d: usize,
    /// Elements between rows.
    pub row_stride: usize,
    /// Elements between columns.
    pub stride: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(shape: &[usize], strides: &[usize]) -> View<'static> {
        View { data: Floats::F32(&[0.0; 64]), offset: 0, shape: shape.into(), strides: strides.into() }
    }

    #[test]
    fn contiguous_ignores_strides_of_single_elements() {
        assert_eq!(view(&[2, 1, 3], &[3, 99, 1]).contiguous().map(|x| x.len()), Some(6));
        assert!(view(&[2, 3], &[1, 2]).contiguous().is_none());
        assert_eq!(view(&[0, 3], &[7, 7]).contiguous().map(|x| x.len()), Some(0));
    }

    #[test]
    fn rows_merge_what_has_one_stride() {
        assert_eq!(view(&[2, 3, 4], &[24, 8, 1]).as_rows(), Some(Rows { rows: 6, d: 4, row_stride: 8, stride: 1 }));
        assert_eq!(view(&[2, 3, 4], &[30, 8, 1]).as_rows(), None);
        assert_eq!(view(&[1, 1, 4], &[9, 9, 1]).as_rows(), Some(Rows { rows: 1, d: 4, row_stride: 4, stride: 1 }));
    }
}
