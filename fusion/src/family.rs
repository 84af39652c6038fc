//! Which types stand for tensors: what lets the same operands serve the caller of an op and the kernel behind it.
//!
//! A model holds tensors that know their backend and rank (`Tensor<B, 3>`); an engine below a decorator works on the
//! primitives behind them, which know neither. [`Norm`](crate::Norm) and the other operands are generic over that
//! choice: `Norm<B>` is the model's, and `Norm<F>` with a family `F` of an engine's own is the kernel's. A
//! [`Conversion`] leads from the one to the other; nothing is copied on the way.

use crate::{Packing, Weight};
use burn_tensor::{Bool, Tensor};
use core::fmt::Debug;

/// Types that stand for tensors. Every backend that packs weights is one: `Tensor<B, D>` and [`Weight<B>`].
pub trait TensorFamily: Clone + Debug {
    /// Floats of `D` dimensions.
    type Float<const D: usize>: Clone + Debug;
    /// Truth values in `D` dimensions.
    type Bool<const D: usize>: Clone + Debug;
    /// A constant matrix `[out, in]`.
    type Weight: Clone + Debug;
}

impl<B: Packing> TensorFamily for B {
    type Float<const D: usize> = Tensor<B, D>;
    type Bool<const D: usize> = Tensor<B, D, Bool>;
    type Weight = Weight<B>;
}

/// Floats of `D` dimensions in the family `F`.
pub type Float<F, const D: usize> = <F as TensorFamily>::Float<D>;

/// A way from the tensors of one family to the same tensors in another. Operands have a method `convert` that takes it.
pub trait Conversion {
    /// What is converted.
    type From: TensorFamily;
    /// What it becomes.
    type To: TensorFamily;

    /// A tensor of floats.
    fn convert_float<const D: usize>(tensor: Float<Self::From, D>) -> Float<Self::To, D>;

    /// A tensor of truth values.
    fn convert_bool<const D: usize>(
        tensor: <Self::From as TensorFamily>::Bool<D>,
    ) -> <Self::To as TensorFamily>::Bool<D>;

    /// A constant matrix.
    fn convert_weight(weight: <Self::From as TensorFamily>::Weight) -> <Self::To as TensorFamily>::Weight;
}
