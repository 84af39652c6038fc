//! Options and results of the ops of training: what a forward keeps for its backward, and gradients.

use crate::family::{Float, TensorFamily};
use crate::{Packing, Weight};
use burn_backend::Backend;
use burn_tensor::{Int, Tensor};

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

/// Gradients of an activation's argument and of the bias in it.
#[derive(Debug, Clone)]
pub struct ActivationGrads<B: Backend, const D: usize> {
    /// Shaped like the argument.
    pub x: Tensor<B, D>,
    /// `Σ x` over the rows, `[d]`.
    pub bias: Tensor<B, 1>,
}

/// An RMS norm's output and what its backward needs.
#[derive(Debug, Clone)]
pub struct RmsNormForward<F: TensorFamily, const D: usize> {
    /// Shaped like the input.
    pub output: Float<F, D>,
    /// `1/√(mean(x²) + eps)`, `[.., 1]`.
    pub rstd: Float<F, D>,
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

/// A residual addition, the RMS norm of its sum, and what their backward needs.
#[derive(Debug, Clone)]
pub struct AddNormForward<F: TensorFamily, const D: usize> {
    /// `x + residual`.
    pub sum: Float<F, D>,
    /// The RMS norm of `sum`.
    pub normed: Float<F, D>,
    /// `1/√(mean(sum²) + eps)`, `[.., 1]`.
    pub rstd: Float<F, D>,
}

/// Gradients of a residual addition and the RMS norm of its sum. `x` and `residual` have the same one.
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

/// Gradients of the factors of `silu(gate) ⊙ up`, and the product again, which the next weight's gradient needs.
#[derive(Debug, Clone)]
pub struct SiluMulGrads<B: Backend, const D: usize> {
    /// Of the gate.
    pub gate: Tensor<B, D>,
    /// Of what it opens.
    pub up: Tensor<B, D>,
    /// `silu(gate) ⊙ up`.
    pub product: Tensor<B, D>,
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

/// Gradients of a mixture whose experts are frozen. The choice of experts is constant.
#[derive(Debug, Clone)]
pub struct MoeInputGrads<B: Backend> {
    /// `[tokens, hidden]`.
    pub x: Tensor<B, 2>,
    /// `[experts, hidden]`.
    pub router: Tensor<B, 2>,
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
pub struct AttentionForward<F: TensorFamily> {
    /// `[batch, heads, queries, head_dim]`.
    pub output: Float<F, 4>,
    /// `log Σ exp(score)`, `[batch, heads, queries, 1]`; `-∞` where a query sees no key (its output is 0).
    pub lse: Float<F, 4>,
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
    /// `log Σ exp(logit)` of each position that counts, 0 for the others, `[tokens, 1]`.
    pub lse: Tensor<B, 2>,
}

/// Gradients of the loss.
#[derive(Debug, Clone)]
pub struct LossGrads<B: Backend> {
    /// `[tokens, hidden]`.
    pub hidden: Tensor<B, 2>,
    /// `[vocab, hidden]`.
    pub weight: Tensor<B, 2>,
}

/// The loss with its own gradients: those of 1 in place of the gradient that comes later.
#[derive(Debug, Clone)]
pub struct DifferentiatedLoss<B: Backend> {
    /// The loss.
    pub forward: LossForward<B>,
    /// `[tokens, hidden]`.
    pub hidden: Tensor<B, 2>,
    /// `[vocab, hidden]`, where the weight trains.
    pub weight: Option<Tensor<B, 2>>,
}

/// Operands of the loss.
#[derive(Debug, Clone)]
pub struct LossInputs<'a, B: Packing> {
    /// `[tokens, hidden]`.
    pub hidden: Tensor<B, 2>,
    /// `[vocab, hidden]`.
    pub weight: &'a Weight<B>,
    /// Token ids, `[tokens]`.
    pub targets: Tensor<B, 1, Int>,
}
