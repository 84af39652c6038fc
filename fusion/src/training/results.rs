//! Options and results of the ops of training: what a forward keeps for its backward, and gradients.

use crate::family::{Float, TensorFamily};
use crate::{Packing, Weight};
use burn_backend::{Backend, DType};
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

/// AdamW (Loshchilov and Hutter 2019, algorithm 2), as PyTorch computes it:
///
/// ```text
/// g ← g · grad_scale
/// m ← β₁·m + (1 - β₁)·g
/// v ← β₂·v + (1 - β₂)·g²
/// p ← p·(1 - lr·decay) - lr/(1 - β₁ᵗ) · m / (√v/√(1 - β₂ᵗ) + ε)
/// ```
/// The default is PyTorch's, at the first step.
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
    /// What the gradient is multiplied by first: with a limit on the norm of all gradients `min(1, limit / norm)`, so
    /// that clipping takes no pass of its own.
    pub grad_scale: f64,
}

impl Default for AdamWOptions {
    fn default() -> Self {
        Self {
            learning_rate: 1e-3,
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.01,
            step: 1,
            grad_scale: 1.0,
        }
    }
}

/// What AdamW keeps of one parameter, shaped like it, in f32.
#[derive(Debug, Clone)]
pub struct AdamWState<F: TensorFamily, const D: usize> {
    /// First moment.
    pub moment_1: Float<F, D>,
    /// Second moment.
    pub moment_2: Float<F, D>,
    /// A copy of a parameter of 16 bits: a step changes the copy, and the parameter becomes what that rounds to.
    /// Without one, steps of less than half a unit in the parameter's last place are lost.
    pub master: Option<Float<F, D>>,
}

impl<B: Packing, const D: usize> AdamWState<B, D> {
    /// The state before the first step: moments of 0, and a master copy of a parameter of 16 bits.
    pub fn new(parameter: &Tensor<B, D>) -> Self {
        let zeros = || Tensor::zeros(parameter.dims(), (&parameter.device(), DType::F32));
        let master = (parameter.dtype() != DType::F32).then(|| parameter.clone().cast(DType::F32));
        Self { moment_1: zeros(), moment_2: zeros(), master }
    }
}

/// The gradient of a matrix as the rows that are not 0.
#[derive(Debug, Clone)]
pub struct RowGrads<B: Backend> {
    /// Numbers of the rows, each once, in rising order, `[n]`.
    pub ids: Tensor<B, 1, Int>,
    /// `[n, width]`.
    pub rows: Tensor<B, 2>,
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
pub struct LayerNormForward<F: TensorFamily, const D: usize> {
    /// Shaped like the input.
    pub output: Float<F, D>,
    /// `mean(x)`, `[.., 1]`.
    pub mean: Float<F, D>,
    /// `1/√(var(x) + eps)`, `[.., 1]`.
    pub rstd: Float<F, D>,
}

/// Gradients of a norm.
#[derive(Debug, Clone)]
pub struct NormGrads<F: TensorFamily, const D: usize> {
    /// Shaped like the input.
    pub x: Float<F, D>,
    /// `[d]`.
    pub gamma: Float<F, 1>,
    /// `[d]`; only layer norm has one.
    pub beta: Option<Float<F, 1>>,
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
pub struct NormLinearGrads<B: Packing, const D: usize> {
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
pub struct AttentionGrads<F: TensorFamily> {
    /// `[batch, heads, queries, head_dim]`.
    pub q: Float<F, 4>,
    /// `[batch, kv_heads, keys, head_dim]`.
    pub k: Float<F, 4>,
    /// `[batch, kv_heads, keys, head_dim]`.
    pub v: Float<F, 4>,
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
