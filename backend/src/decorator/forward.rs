//! Forwarding of a method to the decorated backend, and of the types that name a backend.

use crate::{Engine, Kiln};
use burn_backend::TensorPrimitive;
use burn_backend::ops::{
    DeformConv2dBackward, MaxPool1dBackward, MaxPool1dWithIndices, MaxPool2dBackward, MaxPool2dWithIndices,
};

/// Defines each method as a call of the same method of `B`, in the trait named first. Results that name a backend are
/// marked `wrapped`.
macro_rules! forward {
    ($ops:ident: $(fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)?;)*) => {
        $(fn $name($($arg: $ty),*) $(-> $ret)? { <B as $ops<B>>::$name($($arg),*) })*
    };
    (wrapped $ops:ident: $(fn $name:ident($($arg:ident: $ty:ty),* $(,)?) -> $ret:ty;)*) => {
        $(fn $name($($arg: $ty),*) -> $ret {
            $crate::decorator::forward::Rewrap::rewrap(<B as $ops<B>>::$name($($arg),*))
        })*
    };
}
pub(super) use forward;

/// The same value under the decorator's name: primitives are shared, only the type that groups them names a backend.
pub(super) trait Rewrap<T> {
    /// Moves the primitives over.
    fn rewrap(self) -> T;
}

impl<B: Engine> Rewrap<TensorPrimitive<Kiln<B>>> for TensorPrimitive<B> {
    fn rewrap(self) -> TensorPrimitive<Kiln<B>> {
        match self {
            Self::Float(tensor) => TensorPrimitive::Float(tensor),
            Self::QFloat(tensor) => TensorPrimitive::QFloat(tensor),
        }
    }
}

/// The way back, for arguments.
pub(super) fn unwrap<B: Engine>(tensor: TensorPrimitive<Kiln<B>>) -> TensorPrimitive<B> {
    match tensor {
        TensorPrimitive::Float(tensor) => TensorPrimitive::Float(tensor),
        TensorPrimitive::QFloat(tensor) => TensorPrimitive::QFloat(tensor),
    }
}

impl<B: Engine> Rewrap<DeformConv2dBackward<Kiln<B>>> for DeformConv2dBackward<B> {
    fn rewrap(self) -> DeformConv2dBackward<Kiln<B>> {
        DeformConv2dBackward::new(self.x_grad, self.offset_grad, self.weight_grad, self.mask_grad, self.bias_grad)
    }
}

impl<B: Engine> Rewrap<MaxPool1dWithIndices<Kiln<B>>> for MaxPool1dWithIndices<B> {
    fn rewrap(self) -> MaxPool1dWithIndices<Kiln<B>> {
        MaxPool1dWithIndices::new(self.output, self.indices)
    }
}

impl<B: Engine> Rewrap<MaxPool1dBackward<Kiln<B>>> for MaxPool1dBackward<B> {
    fn rewrap(self) -> MaxPool1dBackward<Kiln<B>> {
        MaxPool1dBackward::new(self.x_grad)
    }
}

impl<B: Engine> Rewrap<MaxPool2dWithIndices<Kiln<B>>> for MaxPool2dWithIndices<B> {
    fn rewrap(self) -> MaxPool2dWithIndices<Kiln<B>> {
        MaxPool2dWithIndices::new(self.output, self.indices)
    }
}

impl<B: Engine> Rewrap<MaxPool2dBackward<Kiln<B>>> for MaxPool2dBackward<B> {
    fn rewrap(self) -> MaxPool2dBackward<Kiln<B>> {
        MaxPool2dBackward::new(self.x_grad)
    }
}
