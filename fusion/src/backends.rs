//! Burn's own backends: the default compositions, on plain tensors.

use crate::{FusedOps, KernelConfig, Packing, TrainingOps};
#[cfg(feature = "fusion")]
use burn_backend::Backend;
use burn_flex::Flex;
#[cfg(feature = "fusion")]
use burn_fusion::{Fusion, FusionBackend};
#[cfg(feature = "ndarray")]
use burn_ndarray::{FloatNdArrayElement, IntNdArrayElement, NdArray, NdArrayTensor, QuantElement, SharedArray};
use burn_tensor::Tensor;

impl Packing for Flex {
    type Packed = Tensor<Self, 2>;

    fn pack(weight: Tensor<Self, 2>, _config: &KernelConfig) -> Self::Packed {
        weight
    }

    fn unpack(packed: &Self::Packed) -> Tensor<Self, 2> {
        packed.clone()
    }
}

impl FusedOps for Flex {}

impl TrainingOps for Flex {}

#[cfg(feature = "ndarray")]
impl<E, I, Q> Packing for NdArray<E, I, Q>
where
    E: FloatNdArrayElement,
    I: IntNdArrayElement,
    Q: QuantElement,
    NdArrayTensor: From<SharedArray<E>> + From<SharedArray<I>>,
{
    type Packed = Tensor<Self, 2>;

    fn pack(weight: Tensor<Self, 2>, _config: &KernelConfig) -> Self::Packed {
        weight
    }

    fn unpack(packed: &Self::Packed) -> Tensor<Self, 2> {
        packed.clone()
    }
}

#[cfg(feature = "ndarray")]
impl<E, I, Q> FusedOps for NdArray<E, I, Q>
where
    E: FloatNdArrayElement,
    I: IntNdArrayElement,
    Q: QuantElement,
    NdArrayTensor: From<SharedArray<E>> + From<SharedArray<I>>,
{
}

#[cfg(feature = "ndarray")]
impl<E, I, Q> TrainingOps for NdArray<E, I, Q>
where
    E: FloatNdArrayElement,
    I: IntNdArrayElement,
    Q: QuantElement,
    NdArrayTensor: From<SharedArray<E>> + From<SharedArray<I>>,
{
}

#[cfg(feature = "fusion")]
impl<B: FusionBackend> Packing for Fusion<B>
where
    Self: burn_backend::Backend,
{
    type Packed = Tensor<Self, 2>;

    fn pack(weight: Tensor<Self, 2>, _config: &KernelConfig) -> Self::Packed {
        weight
    }

    fn unpack(packed: &Self::Packed) -> Tensor<Self, 2> {
        packed.clone()
    }
}

#[cfg(feature = "fusion")]
impl<B: FusionBackend> FusedOps for Fusion<B> where Self: Backend {}

#[cfg(feature = "fusion")]
impl<B: FusionBackend> TrainingOps for Fusion<B> where Self: Backend {}
