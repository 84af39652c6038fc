//! From the tensors of `Kiln<B>` to the primitives of `B`, and back. Nothing is copied.

use crate::engine::{EngineWeight, Primitives};
use crate::{Engine, Kiln};
use burn_backend::tensor::{BoolTensor, FloatTensor};
use burn_kiln_fusion::{Conversion, Weight};
use burn_tensor::{Bool, Tensor, TensorPrimitive};
use core::marker::PhantomData;

/// The tensor's primitive.
pub(super) fn lower<B: Engine, const D: usize>(tensor: Tensor<Kiln<B>, D>) -> FloatTensor<B> {
    tensor.into_primitive().tensor()
}

/// The primitive as a tensor.
pub(super) fn lift<B: Engine, const D: usize>(primitive: FloatTensor<B>) -> Tensor<Kiln<B>, D> {
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}

/// To the primitives.
pub(super) struct Lower<B>(PhantomData<B>);

impl<B: Engine> Conversion for Lower<B> {
    type From = Kiln<B>;
    type To = Primitives<B>;

    fn convert_float<const D: usize>(tensor: Tensor<Kiln<B>, D>) -> FloatTensor<B> {
        lower(tensor)
    }

    fn convert_bool<const D: usize>(tensor: Tensor<Kiln<B>, D, Bool>) -> BoolTensor<B> {
        tensor.into_primitive()
    }

    fn convert_weight(weight: Weight<Kiln<B>>) -> EngineWeight<B> {
        match weight {
            Weight::Plain(tensor) => EngineWeight::Plain(lower(tensor)),
            Weight::Packed(packed) => packed,
        }
    }
}

/// To the tensors.
pub(super) struct Lift<B>(PhantomData<B>);

impl<B: Engine> Conversion for Lift<B> {
    type From = Primitives<B>;
    type To = Kiln<B>;

    fn convert_float<const D: usize>(primitive: FloatTensor<B>) -> Tensor<Kiln<B>, D> {
        lift(primitive)
    }

    fn convert_bool<const D: usize>(primitive: BoolTensor<B>) -> Tensor<Kiln<B>, D, Bool> {
        Tensor::from_primitive(primitive)
    }

    fn convert_weight(weight: EngineWeight<B>) -> Weight<Kiln<B>> {
        match weight {
            EngineWeight::Plain(tensor) => Weight::Plain(lift(tensor)),
            packed => Weight::Packed(packed),
        }
    }
}
