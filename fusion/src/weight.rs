//! A constant weight matrix as a model holds it: the checkpoint's rows, or what the backend packed from them.

use crate::KernelConfig;
use burn_backend::Backend;
use burn_tensor::Tensor;

/// How a backend wants a constant weight.
pub trait Packing: Backend {
    /// Register-tile panels, quantised blocks, a device layout, or just the tensor.
    type Packed: Clone + core::fmt::Debug + Send + Sync + 'static;

    /// Packs `weight`, `[out, in]`. Never fails: what has no packed form is kept as it is.
    fn pack(weight: Tensor<Self, 2>, config: &KernelConfig) -> Self::Packed;

    /// The rows that were packed, `[out, in]`, bit for bit and in their dtype.
    fn unpack(packed: &Self::Packed) -> Tensor<Self, 2>;
}

/// A weight matrix `W` of shape `[out, in]`, the layout of the checkpoint: `y = x · Wᵀ`.
///
/// Cloning is cheap: both forms are reference counted.
#[derive(Debug)]
pub enum Weight<B: Packing> {
    /// The checkpoint's rows: f32, bf16 or f16. The only form that trains.
    Plain(Tensor<B, 2>),
    /// What [`Packing::pack`] made of it. For inference only.
    Packed(B::Packed),
}

impl<B: Packing> Clone for Weight<B> {
    fn clone(&self) -> Self {
        match self {
            Self::Plain(tensor) => Self::Plain(tensor.clone()),
            Self::Packed(packed) => Self::Packed(packed.clone()),
        }
    }
}

impl<B: Packing> Weight<B> {
    /// Packs a plain weight; a packed one is returned as it is.
    pub fn pack(self, config: &KernelConfig) -> Self {
        match self {
            Self::Plain(tensor) => Self::Packed(B::pack(tensor, config)),
            packed => packed,
        }
    }

    /// The checkpoint's rows, shape `[out, in]`, in the stored dtype.
    pub fn unpack(&self) -> Tensor<B, 2> {
        match self {
            Self::Plain(tensor) => tensor.clone(),
            Self::Packed(packed) => B::unpack(packed),
        }
    }
}

impl<B: Packing> From<Tensor<B, 2>> for Weight<B> {
    fn from(tensor: Tensor<B, 2>) -> Self {
        Self::Plain(tensor)
    }
}
