//! What goes from the tower to the decoder, and back.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// What the decoder gets from the tower: a row for each visual row of the batch.
pub(super) struct Features<B: Backend> {
    pub features: Tensor<B, 2>,
    pub deepstack: Vec<Tensor<B, 2>>,
}

/// Gradients of the features that the tower gave, where they are wanted.
pub(super) struct FeatureGrads<B: Backend> {
    pub features: Option<Tensor<B, 2>>,
    pub deepstack: Vec<Option<Tensor<B, 2>>>,
}
