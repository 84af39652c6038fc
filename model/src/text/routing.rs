//! Which experts the tokens of a prompt go to: for checks that compare two runs, where rounding may send a token that
//! stands between two experts to the other one.

use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

/// What the router of one layer says of each token.
#[derive(Debug, Clone)]
pub struct RouterLogits<B: Backend> {
    /// The layer, from 0.
    pub layer: usize,
    /// Experts that each token goes to: those with the largest logits.
    pub top_k: usize,
    /// `[tokens, experts]`, before the softmax.
    pub logits: Tensor<B, 2>,
}
