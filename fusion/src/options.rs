//! Arguments and results of the fused ops: operands that belong together, named.

use crate::{FusedOps, Weight};
use burn_backend::Backend;
use burn_tensor::{Bool, DType, Int, Tensor};
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

/// Next-token cross entropy without whole logits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LossOptions {
    /// Targets of this value count nothing; HF uses -100.
    pub ignore_index: i64,
    /// Positions whose logits exist at one time.
    pub chunk: usize,
}

impl Default for LossOptions {
    fn default() -> Self {
        Self { ignore_index: -100, chunk: 256 }
    }
}

/// AdamW (Loshchilov and Hutter 2019, algorithm 2), as PyTorch computes it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamWOptions {
    /// Step size of this step.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta_1: f64,
    /// Decay of the second moment.
    pub beta_2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Number of this step, from 1.
    pub step: u64,
}

/// Moments of one parameter, shaped like it.
#[derive(Debug, Clone)]
pub struct AdamWState<B: Backend, const D: usize> {
    /// First moment.
    pub moment_1: Tensor<B, D>,
    /// Second moment.
    pub moment_2: Tensor<B, D>,
}

/// A linear layer's output and what its backward needs.
#[derive(Debug, Clone)]
pub struct LinearForward<B: Backend, const D: usize> {
    /// `[.., out]`.
    pub output: Tensor<B, D>,
    /// `x·Wᵀ + bias`, kept only when there is an activation.
    pub pre_activation: Option<Tensor<B, D>>,
}

/// Gradients of a linear layer. The residual's gradient is the output's.
#[derive(Debug, Clone)]
pub struct LinearGrads<B: Backend, const D: usize> {
    /// `[.., in]`.
    pub x: Tensor<B, D>,
    /// `[out, in]`.
    pub weight: Tensor<B, 2>,
    /// `[out]`.
    pub bias: Tensor<B, 1>,
}

/// An RMS norm's output and what its backward needs.
#[derive(Debug, Clone)]
pub struct RmsNormForward<B: Backend, const D: usize> {
    /// Shaped like the input.
    pub output: Tensor<B, D>,
    /// `1/√(mean(x²) + eps)`, `[.., 1]`.
    pub rstd: Tensor<B, D>,
}

/// A layer norm's output and what its backward needs.
#[derive(Debug, Clone)]
pub struct LayerNormForward<B: Backend, const D: usize> {
    /// Shaped like the input.
    pub output: Tensor<B, D>,
    /// `mean(x)`, `[.., 1]`.
    pub mean: Tensor<B, D>,
    /// `1/√(var(x) + eps)`, `[.., 1]`.
    pub rstd: Tensor<B, D>,
}

/// Gradients of a norm.
#[derive(Debug, Clone)]
pub struct NormGrads<B: Backend, const D: usize> {
    /// Shaped like the input.
    pub x: Tensor<B, D>,
    /// `[d]`.
    pub gamma: Tensor<B, 1>,
    /// `[d]`; only layer norm has one.
    pub beta: Option<Tensor<B, 1>>,
}

/// A residual addition and the RMS norm of its sum.
#[derive(Debug, Clone)]
pub struct AddNorm<B: Backend, const D: usize> {
    /// `x + residual`.
    pub sum: Tensor<B, D>,
    /// The RMS norm of `sum`.
    pub normed: Tensor<B, D>,
    /// `1/√(mean(sum²) + eps)`, `[.., 1]`.
    pub rstd: Tensor<B, D>,
}

/// Gradients of [`AddNorm`]. `x` and `residual` have the same one.
#[derive(Debug, Clone)]
pub struct AddNormGrads<B: Backend, const D: usize> {
    /// Of `x` and of `residual`.
    pub x: Tensor<B, D>,
    /// `[d]`.
    pub gamma: Tensor<B, 1>,
}

/// Gradients of a norm and the linear layer after it.
#[derive(Debug, Clone)]
pub struct NormLinearGrads<B: Backend, const D: usize> {
    /// Of the norm.
    pub norm: NormGrads<B, D>,
    /// `[out, in]`.
    pub weight: Tensor<B, 2>,
    /// `[out]`.
    pub bias: Tensor<B, 1>,
}

/// A gated MLP's output and what its backward needs.
#[derive(Debug, Clone)]
pub struct GatedMlpForward<B: Backend, const D: usize> {
    /// `[.., hidden]`.
    pub output: Tensor<B, D>,
    /// `x·gateᵀ`, `[.., intermediate]`.
    pub gate: Tensor<B, D>,
    /// `x·upᵀ`, `[.., intermediate]`.
    pub up: Tensor<B, D>,
}

/// Gradients of a gated MLP. The residual's gradient is the output's.
#[derive(Debug, Clone)]
pub struct GatedMlpGrads<B: Backend, const D: usize> {
    /// `[.., hidden]`.
    pub x: Tensor<B, D>,
    /// `[intermediate, hidden]`.
    pub gate: Tensor<B, 2>,
    /// `[intermediate, hidden]`.
    pub up: Tensor<B, 2>,
    /// `[hidden, intermediate]`.
    pub down: Tensor<B, 2>,
}

/// A plain MLP's output and what its backward needs.
#[derive(Debug, Clone)]
pub struct PlainMlpForward<B: Backend, const D: usize> {
    /// `[.., hidden]`.
    pub output: Tensor<B, D>,
    /// `x·fc1ᵀ + fc1_bias`, `[.., intermediate]`.
    pub pre_activation: Tensor<B, D>,
}

/// Gradients of a plain MLP. The residual's gradient is the output's.
#[derive(Debug, Clone)]
pub struct PlainMlpGrads<B: Backend, const D: usize> {
    /// `[.., hidden]`.
    pub x: Tensor<B, D>,
    /// `[intermediate, hidden]`.
    pub fc1: Tensor<B, 2>,
    /// `[intermediate]`.
    pub fc1_bias: Tensor<B, 1>,
    /// `[hidden, intermediate]`.
    pub fc2: Tensor<B, 2>,
    /// `[hidden]`.
    pub fc2_bias: Tensor<B, 1>,
}

/// Gradients of a mixture of experts. The choice of experts is constant.
#[derive(Debug, Clone)]
pub struct MoeGrads<B: Backend> {
    /// `[tokens, hidden]`.
    pub x: Tensor<B, 2>,
    /// `[experts, hidden]`.
    pub router: Tensor<B, 2>,
    /// `[experts, hidden, 2 · intermediate]`.
    pub gate_up: Tensor<B, 3>,
    /// `[experts, intermediate, hidden]`.
    pub down: Tensor<B, 3>,
}

/// Gradients of QK-norm and rotary embedding.
#[derive(Debug, Clone)]
pub struct QkGrads<B: Backend> {
    /// `[batch, heads, length, head_dim]`.
    pub q: Tensor<B, 4>,
    /// `[batch, kv_heads, length, head_dim]`.
    pub k: Tensor<B, 4>,
    /// `[head_dim]`.
    pub q_gamma: Tensor<B, 1>,
    /// `[head_dim]`.
    pub k_gamma: Tensor<B, 1>,
}

/// Attention's output and what its backward needs.
#[derive(Debug, Clone)]
pub struct AttentionForward<B: Backend> {
    /// `[batch, heads, queries, head_dim]`.
    pub output: Tensor<B, 4>,
    /// `log Σ exp(score)`, `[batch, heads, queries, 1]`; `-∞` where a query sees no key (its output is 0).
    pub lse: Tensor<B, 4>,
}

/// Gradients of attention.
#[derive(Debug, Clone)]
pub struct AttentionGrads<B: Backend> {
    /// `[batch, heads, queries, head_dim]`.
    pub q: Tensor<B, 4>,
    /// `[batch, kv_heads, keys, head_dim]`.
    pub k: Tensor<B, 4>,
    /// `[batch, kv_heads, keys, head_dim]`.
    pub v: Tensor<B, 4>,
}

/// Mean cross entropy and what its backward needs.
#[derive(Debug, Clone)]
pub struct LossForward<B: Backend> {
    /// Mean over the targets that count, `[1]`; NaN when none does, as in PyTorch.
    pub loss: Tensor<B, 1>,
    /// `log Σ exp(logit)` of each position, `[tokens, 1]`.
    pub lse: Tensor<B, 2>,
}

/// Operands of the loss's backward, and its gradients.
#[derive(Debug, Clone)]
pub struct LossGrads<B: Backend> {
    /// `[tokens, hidden]`.
    pub hidden: Tensor<B, 2>,
    /// `[vocab, hidden]`.
    pub weight: Tensor<B, 2>,
}

/// Targets of the loss: token ids, `[tokens]`.
pub type Targets<B> = Tensor<B, 1, Int>;
