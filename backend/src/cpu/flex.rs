//! Tensors of `Flex`: reference-counted bytes with a layout.

use super::storage::{BoolView, CpuBackend, OwnedFloats, PooledFloats, Sizes, View};
use crate::kernels::{Floats, FloatsMut};
use burn_backend::{BoolStore, DType};
use burn_flex::{Flex, FlexTensor, Layout};
use burn_std::{Bytes, Shape};

/// Sizes, strides and offset, `None` where a stride is negative.
fn layout(tensor: &FlexTensor) -> Option<(Sizes, Sizes, usize)> {
    let layout = tensor.layout();
    let strides = layout.strides().iter().map(|&s| usize::try_from(s).ok()).collect::<Option<_>>()?;
    Some((Sizes::from_slice(layout.shape()), strides, layout.start_offset()))
}

impl CpuBackend for Flex {
    fn view(tensor: &FlexTensor) -> Option<View<'_>> {
        let (shape, strides, offset) = layout(tensor)?;
        // Bytes of a mapped file need not be aligned to their element.
        let data = match tensor.dtype() {
            DType::F32 => Floats::F32(bytemuck::try_cast_slice(tensor.bytes()).ok()?),
            DType::BF16 => Floats::Bf16(bytemuck::try_cast_slice(tensor.bytes()).ok()?),
            DType::F16 => Floats::F16(bytemuck::try_cast_slice(tensor.bytes()).ok()?),
            _ => return None,
        };
        Some(View { data, offset, shape, strides })
    }

    fn view_mut(tensor: &mut FlexTensor) -> Option<FloatsMut<'_>> {
        let layout = tensor.layout();
        let whole = layout.is_contiguous() && layout.start_offset() == 0;
        if !whole || tensor.bytes().len() != layout.num_elements() * tensor.dtype().size() {
            return None;
        }
        match tensor.dtype() {
            DType::F32 => tensor.try_storage_mut().map(FloatsMut::F32),
            DType::BF16 => tensor.try_storage_mut().map(FloatsMut::Bf16),
            DType::F16 => tensor.try_storage_mut().map(FloatsMut::F16),
            _ => None,
        }
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

    fn indices(tensor: &FlexTensor) -> Option<Vec<usize>> {
        let data = tensor.clone().into_data();
        data.iter::<i64>().map(|i| usize::try_from(i).ok()).collect()
    }

    fn allocate(dtype: DType, len: usize) -> Option<OwnedFloats> {
        PooledFloats::take(dtype, len).map(OwnedFloats::Pooled)
    }

    fn from_floats(floats: OwnedFloats, shape: Shape) -> Option<FlexTensor> {
        let (bytes, dtype) = match floats {
            OwnedFloats::F32(x) => (Bytes::from_elems(x), DType::F32),
            OwnedFloats::Bf16(x) => (Bytes::from_elems(x), DType::BF16),
            OwnedFloats::F16(x) => (Bytes::from_elems(x), DType::F16),
            OwnedFloats::Pooled(x) => {
                let dtype = x.dtype();
                (x.into_bytes().into_bytes(), dtype)
            }
        };
        Some(FlexTensor::new(bytes, Layout::contiguous(shape), dtype))
    }
}
