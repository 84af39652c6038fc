//! Tensors of `NdArray`: shared `ndarray` arrays. It has no bf16 or f16.

use super::storage::{BoolView, CpuBackend, OwnedFloats, Sizes, View};
use burn_ndarray::{FloatNdArrayElement, IntNdArrayElement, NdArray, NdArrayTensor, QuantElement, SharedArray};
use burn_std::Shape;
use kiln_kernels::{Floats, FloatsMut};
use ndarray::{ArcArray, ArrayView, IxDyn};

/// An array as a slice in memory order with sizes, strides and the offset of the first element. `None` for arrays with
/// gaps (slices of larger ones), repeated elements (broadcast ones) or negative strides.
#[allow(clippy::type_complexity)]
fn parts<'a, E>(array: &ArrayView<'a, E, IxDyn>) -> Option<(&'a [E], Sizes, Sizes)> {
    let data = array.to_slice_memory_order()?;
    let strides = array.strides().iter().map(|&s| usize::try_from(s).ok()).collect::<Option<_>>()?;
    Some((data, Sizes::from_slice(array.shape()), strides))
}

impl<E, I, Q> CpuBackend for NdArray<E, I, Q>
where
    E: FloatNdArrayElement,
    I: IntNdArrayElement,
    Q: QuantElement,
    NdArrayTensor: From<SharedArray<E>> + From<SharedArray<I>>,
{
    fn view(tensor: &NdArrayTensor) -> Option<View<'_>> {
        let NdArrayTensor::F32(storage) = tensor else { return None };
        let (data, shape, strides) = parts(&storage.view())?;
        Some(View { data: Floats::F32(data), offset: 0, shape, strides })
    }

    fn view_mut(tensor: &mut NdArrayTensor) -> Option<FloatsMut<'_>> {
        let NdArrayTensor::F32(storage) = tensor else { return None };
        if !storage.is_unique() {
            return None;
        }
        storage.ensure_owned().as_slice_mut().map(FloatsMut::F32)
    }

    fn view_bool(tensor: &NdArrayTensor) -> Option<BoolView<'_>> {
        let NdArrayTensor::Bool(storage) = tensor else { return None };
        let (data, shape, strides) = parts(&storage.view())?;
        Some(BoolView { data: bytemuck::cast_slice(data), offset: 0, shape, strides })
    }

    fn integers(tensor: &NdArrayTensor) -> Option<Vec<i64>> {
        fn collect<T: Copy + Into<i64>>(array: ArrayView<'_, T, IxDyn>) -> Vec<i64> {
            array.iter().map(|&i| i.into()).collect()
        }
        match tensor {
            NdArrayTensor::I64(storage) => Some(collect(storage.view())),
            NdArrayTensor::I32(storage) => Some(collect(storage.view())),
            NdArrayTensor::U32(storage) => Some(collect(storage.view())),
            _ => None,
        }
    }

    fn from_floats(floats: OwnedFloats, shape: Shape) -> Option<NdArrayTensor> {
        let x = match floats {
            OwnedFloats::F32(x) => x,
            other => match other.as_floats() {
                Floats::F32(x) => x.to_vec(),
                Floats::Bf16(_) | Floats::F16(_) => return None,
            },
        };
        let array = ArcArray::from_shape_vec(IxDyn(&shape.to_vec()), x).ok()?;
        Some(NdArrayTensor::from(array))
    }
}
