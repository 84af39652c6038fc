//! Tensors of `Flex`: reference-counted bytes with a layout.

use super::storage::{BoolView, CpuBackend, OwnedFloats, Sizes, View, dtype};
use crate::memory::TensorMemory;
use burn_backend::{BoolStore, DType};
use burn_flex::{Flex, FlexTensor, Layout};
use burn_std::{AllocationProperty, Bytes, Shape};
use kiln_kernels::memory::PooledFloats;
use kiln_kernels::{ElementType, Floats, FloatsMut};
use std::sync::Arc;

/// Sizes, strides and offset, `None` where a stride is negative.
fn layout(tensor: &FlexTensor) -> Option<(Sizes, Sizes, usize)> {
    let layout = tensor.layout();
    let strides = layout.strides();
    if strides.iter().any(|&stride| stride < 0) {
        return None;
    }
    Some((Sizes::from_slice(layout.shape()), Sizes::from_slice(bytemuck::cast_slice(strides)), layout.start_offset()))
}

/// The whole buffer. Bytes of a mapped file need not be aligned to their element.
fn buffer(tensor: &FlexTensor) -> Option<Floats<'_>> {
    match tensor.dtype() {
        DType::F32 => bytemuck::try_cast_slice(tensor.bytes()).ok().map(Floats::F32),
        DType::BF16 => bytemuck::try_cast_slice(tensor.bytes()).ok().map(Floats::Bf16),
        DType::F16 => bytemuck::try_cast_slice(tensor.bytes()).ok().map(Floats::F16),
        _ => None,
    }
}

/// Whether the tensor is its buffer from end to end.
fn is_whole(tensor: &FlexTensor) -> bool {
    let layout = tensor.layout();
    let from_start = layout.is_contiguous() && layout.start_offset() == 0;
    from_start && tensor.bytes().len() == layout.num_elements() * tensor.dtype().size()
}

impl CpuBackend for Flex {
    fn view(tensor: &FlexTensor) -> Option<View<'_>> {
        let (shape, strides, offset) = layout(tensor)?;
        Some(View { data: buffer(tensor)?, offset, shape, strides })
    }

    fn elements(tensor: &FlexTensor) -> Option<Floats<'_>> {
        let layout = tensor.layout();
        let (start, len) = (layout.start_offset(), layout.num_elements());
        let data = buffer(tensor).filter(|_| layout.is_contiguous())?;
        Some(data.slice(start, len))
    }

    fn len(tensor: &FlexTensor) -> usize {
        tensor.layout().num_elements()
    }

    fn same_shape(left: &FlexTensor, right: &FlexTensor) -> bool {
        left.layout().shape() == right.layout().shape()
    }

    fn view_mut(tensor: &mut FlexTensor) -> Option<FloatsMut<'_>> {
        if !is_whole(tensor) {
            return None;
        }
        match tensor.dtype() {
            DType::F32 => tensor.try_storage_mut().map(FloatsMut::F32),
            DType::BF16 => tensor.try_storage_mut().map(FloatsMut::Bf16),
            DType::F16 => tensor.try_storage_mut().map(FloatsMut::F16),
            _ => None,
        }
    }

    fn take_bytes(tensor: FlexTensor) -> Result<Bytes, FlexTensor> {
        let (layout, dtype, bytes) = (tensor.layout().clone(), tensor.dtype(), tensor.data_arc());
        if !is_whole(&tensor) || bytes.property() == AllocationProperty::File {
            return Err(tensor);
        }
        drop(tensor);
        Arc::try_unwrap(bytes).map_err(|shared| FlexTensor::from_arc(shared, layout, dtype))
    }

    fn view_bool(tensor: &FlexTensor) -> Option<BoolView<'_>> {
        let (shape, strides, offset) = layout(tensor)?;
        match tensor.dtype() {
            DType::Bool(BoolStore::Native | BoolStore::U8) => {
                Some(BoolView { data: tensor.bytes(), offset, shape, strides })
            }
            _ => None,
        }
    }

    fn integers(tensor: &FlexTensor) -> Option<Vec<i64>> {
        Some(tensor.clone().into_data().iter::<i64>().collect())
    }

    fn allocate(element: ElementType, len: usize) -> Option<OwnedFloats> {
        PooledFloats::take(element, len).map(OwnedFloats::Pooled)
    }

    fn from_floats(floats: OwnedFloats, shape: Shape) -> Option<FlexTensor> {
        let (bytes, dtype) = match floats {
            OwnedFloats::F32(x) => (Bytes::from_elems(x), DType::F32),
            OwnedFloats::Bf16(x) => (Bytes::from_elems(x), DType::BF16),
            OwnedFloats::F16(x) => (Bytes::from_elems(x), DType::F16),
            OwnedFloats::Pooled(x) => {
                let dtype = dtype(x.dtype());
                (x.into_bytes().into_bytes(), dtype)
            }
        };
        Some(FlexTensor::new(bytes, Layout::contiguous(shape), dtype))
    }
}
