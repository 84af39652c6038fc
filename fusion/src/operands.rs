//! Operands and results of the ops of inference: those that belong together, named.

use crate::{FusedOps, Weight};
use burn_backend::Backend;
use burn_tensor::{Bool, DType, Tensor};
pub use kiln_kernels::Activation;
use std::sync::Arc;

/// What a linear layer does to its product before storing it: `activation(x·Wᵀ + bias) + residual`.
#[derive(Debug)]
pub struct Epilogue<B: Backend, const D: usize> {
    /// `[out]`.
    pub bias: Option<Tensor<B, 1>>,
    /// Applied after the bias.
    pub activation: Option<Activation>,
    /// `[.., out]`, added last.
    pub residual: Option<Tensor<B, D>>,
}

impl<B: Backend, const D: usize> Default for Epilogue<B, D> {
    fn default() -> Self {
        Self { bias: None, activation: None, residual: None }
    }
}

impl<B: Backend, const D: usize> Clone for Epilogue<B, D> {
    fn clone(&self) -> Self {
        Self { bias: self.bias.clone(), activation: self.activation, residual: self.residual.clone() }
    }
}

impl<B: Backend, const D: usize> Epilogue<B, D> {
    /// Only a bias, where there is one.
    pub fn bias(bias: Option<Tensor<B, 1>>) -> Self {
        Self { bias, ..Self::default() }
    }

    /// Only a residual.
    pub fn residual(residual: Tensor<B, D>) -> Self {
        Self { residual: Some(residual), ..Self::default() }
    }
}

/// Which norm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NormKind {
    /// `x / √(mean(x²) + eps) · gamma`.
    Rms,
    /// `(x - mean(x)) / √(var(x) + eps) · gamma + beta`.
    Layer,
}

/// A norm over the last dimension with its weights.
#[derive(Debug, Clone)]
pub struct Norm<B: Backend> {
    /// Which norm.
    pub kind: NormKind,
    /// `[d]`.
    pub gamma: Tensor<B, 1>,
    /// `[d]`; only layer norm has one.
    pub beta: Option<Tensor<B, 1>>,
    /// Added to the variance or the mean square.
    pub epsilon: f64,
}

/// One of several linear layers that read the same rows: `x·Wᵀ + bias`.
#[derive(Debug, Clone)]
pub struct LinearWeights<B: FusedOps> {
    /// `[out, in]`.
    pub weight: Weight<B>,
    /// `[out]`.
    pub bias: Option<Tensor<B, 1>>,
}

/// Rotary angles, one row a position: `cos` and `sin`, each `[batch, length, head_dim / 2]`, f32.
///
/// The rotation pairs element `i` with `i + head_dim / 2` ("rotate half").
#[derive(Debug, Clone)]
pub struct Rotary<B: Backend> {
    /// Cosines.
    pub cos: Tensor<B, 3>,
    /// Sines.
    pub sin: Tensor<B, 3>,
}

/// Operands of attention. Any strides; `heads` is a multiple of `kv_heads` (grouped-query attention: query head `h` reads
/// key head `h / (heads / kv_heads)`).
#[derive(Debug, Clone)]
pub struct AttentionInputs<B: Backend> {
    /// `[batch, heads, queries, head_dim]`.
    pub q: Tensor<B, 4>,
    /// `[batch, kv_heads, keys, head_dim]`.
    pub k: Tensor<B, 4>,
    /// `[batch, kv_heads, keys, head_dim]`.
    pub v: Tensor<B, 4>,
}

/// RMS norms of the heads of queries and keys.
#[derive(Debug, Clone)]
pub struct HeadNorms<B: Backend> {
    /// `[head_dim]`.
    pub q_gamma: Tensor<B, 1>,
    /// `[head_dim]`.
    pub k_gamma: Tensor<B, 1>,
    /// Added to the mean square.
    pub epsilon: f64,
}

/// Operands of attention as projections give them, and what is done to queries and keys before their product.
///
/// Several sequences may lie behind each other along `length`; `batch` is 1 then.
#[derive(Debug, Clone)]
pub struct RotaryInputs<'a, B: Backend> {
    /// `[batch, length, heads · head_dim]`.
    pub q: Tensor<B, 3>,
    /// `[batch, length, kv_heads · head_dim]`.
    pub k: Tensor<B, 3>,
    /// `[batch, length, kv_heads · head_dim]`.
    pub v: Tensor<B, 3>,
    /// Elements of a head, an even number.
    pub head_dim: usize,
    /// Before the rotation, where there are any.
    pub norms: Option<HeadNorms<B>>,
    /// Angles of the `length` positions.
    pub rotary: &'a Rotary<B>,
    /// Positions of each sequence; their sum is `length`.
    pub lengths: &'a [usize],
}

/// How attention scores are made and which are hidden:
/// `softmax(softcap · tanh(scale · q·kᵀ / softcap) + bias, hidden = -∞)`.
#[derive(Debug, Clone)]
pub struct AttentionOptions<B: Backend> {
    /// `None` is `1/√head_dim`.
    pub scale: Option<f64>,
    /// Query `i` of `n`, against `m` keys, sees keys `0 ..= i + m - n`.
    pub causal: bool,
    /// Soft limit of the scaled scores.
    pub softcap: Option<f64>,
    /// `[batch | 1, heads | 1, queries, keys]`, true where a key is hidden.
    pub mask: Option<Tensor<B, 4, Bool>>,
    /// `[batch | 1, heads | 1, queries, keys]`, added to the scores.
    pub bias: Option<Tensor<B, 4>>,
    /// Ends of the segments of a packed sequence (the frames of a picture batch), ascending, the last one its length; a query
    /// sees its own segment only. Queries and keys are the same sequence then.
    pub segments: Option<Arc<[usize]>>,
    /// A type that keys and values may be rounded to where no cache rounds them; a backend does it where that is faster.
    pub kv_dtype: Option<DType>,
}

impl<B: Backend> Default for AttentionOptions<B> {
    fn default() -> Self {
        Self { scale: None, causal: false, softcap: None, mask: None, bias: None, segments: None, kv_dtype: None }
    }
}

/// Weights of `down( silu(x·gateᵀ) ⊙ (x·upᵀ) )`.
#[derive(Debug, Clone)]
pub struct GatedMlpWeights<B: FusedOps> {
    /// `[intermediate, hidden]`.
    pub gate: Weight<B>,
    /// `[intermediate, hidden]`.
    pub up: Weight<B>,
    /// `[hidden, intermediate]`.
    pub down: Weight<B>,
}

/// Weights of `activation(x·fc1ᵀ + fc1_bias)·fc2ᵀ + fc2_bias`.
#[derive(Debug, Clone)]
pub struct PlainMlpWeights<B: FusedOps> {
    /// `[intermediate, hidden]`.
    pub fc1: Weight<B>,
    /// `[intermediate]`.
    pub fc1_bias: Option<Tensor<B, 1>>,
    /// `[hidden, intermediate]`.
    pub fc2: Weight<B>,
    /// `[hidden]`.
    pub fc2_bias: Option<Tensor<B, 1>>,
    /// Between the two layers.
    pub activation: Activation,
}

/// Weights of a mixture of gated MLPs, in the released orientation.
#[derive(Debug, Clone)]
pub struct MoeWeights<B: FusedOps> {
    /// `[experts, hidden]`.
    pub router: Weight<B>,
    /// `[experts, hidden, 2 · intermediate]`: gate in the first half of the last dimension, up in the second.
    pub gate_up: Tensor<B, 3>,
    /// `[experts, intermediate, hidden]`.
    pub down: Tensor<B, 3>,
}

/// How experts are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MoeOptions {
    /// Experts a token goes to.
    pub top_k: usize,
    /// Whether the chosen probabilities are divided by their sum.
    pub norm_topk_prob: bool,
}

/// A residual addition and the RMS norm of its sum.
#[derive(Debug, Clone)]
pub struct AddNorm<B: Backend, const D: usize> {
    /// `x + residual`.
    pub sum: Tensor<B, D>,
    /// The RMS norm of `sum`.
    pub normed: Tensor<B, D>,
}
