//! A constant weight matrix as a model holds it: the checkpoint's rows, or what the backend packed from them.

use crate::{FusedOps, KernelConfig};
use burn_tensor::Tensor;

/// A weight matrix `W` of shape `[out, in]`, the layout of the checkpoint: `y = x · Wᵀ`.
///
/// Cloning is cheap: both forms are reference counted.
#[derive(Debug)]
pub enum Weight<B: FusedOps> {
    /// The checkpoint's rows: f32, bf16 or f16. The only form that trains.
    Plain(Tensor<B, 2>),
    /// What [`FusedOps::pack`] made of it. For inference only.
    Packed(B::Packed),
}

impl<B: FusedOps> Clone for Weight<B> {
    fn clone(&self) -> Self {
        match self {
            Self::Plain(tensor) => Self::Plain(tensor.clone()),
            Self::Packed(packed) => Self::Packed(packed.clone()),
        }
    }
}

impl<B: FusedOps> Weight<B> {
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

impl<B: FusedOps> From<Tensor<B, 2>> for Weight<B> {
    fn from(tensor: Tensor<B, 2>) -> Self {
        Self::Plain(tensor)
    }
}
