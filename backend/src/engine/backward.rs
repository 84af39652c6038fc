//! Operands and results of the hooks of backward passes: linear layers and what is made of them.

use super::{Engine, EngineWeight, Primitives};
use burn_backend::Backend;
use burn_backend::tensor::{FloatTensor, IntTensor};
use burn_kiln_fusion::{Activation, LossOptions, MoeOptions, MoeWeights};

/// `gradᵀ·x + sum`.
#[derive(Debug)]
pub struct WeightGradientOperands<B: Backend> {
    /// `[.., in]`.
    pub x: FloatTensor<B>,
    /// `[.., out]`.
    pub grad: FloatTensor<B>,
    /// `[out, in]`.
    pub sum: Option<FloatTensor<B>>,
}

/// `grad · activation'(x)`.
#[derive(Debug)]
pub struct ActivationBackwardOperands<B: Backend> {
    /// Which.
    pub activation: Activation,
    /// Its argument, of any shape.
    pub x: FloatTensor<B>,
    /// Shaped like it.
    pub grad: FloatTensor<B>,
    /// Whether the result is summed over the rows too.
    pub sums: bool,
}

/// The gradient of an activation's argument.
#[derive(Debug)]
pub struct ActivationBackward<B: Backend> {
    /// Shaped like the argument.
    pub x: FloatTensor<B>,
    /// `[d]`, where it was asked for.
    pub bias: Option<FloatTensor<B>>,
}

/// The factors of `silu(gate) ⊙ up` and the gradient of the product.
#[derive(Debug)]
pub struct SiluMulBackwardOperands<B: Backend> {
    /// Of any shape.
    pub gate: FloatTensor<B>,
    /// Shaped like it.
    pub up: FloatTensor<B>,
    /// Shaped like it.
    pub grad: FloatTensor<B>,
}

/// Gradients of the factors of `silu(gate) ⊙ up`, and the product again.
#[derive(Debug)]
pub struct SiluMulBackward<B: Backend> {
    /// Of the gate.
    pub gate: FloatTensor<B>,
    /// Of what it opens.
    pub up: FloatTensor<B>,
    /// `silu(gate) ⊙ up`.
    pub product: FloatTensor<B>,
}

/// The loss of a head, and which of its gradients are wanted.
#[derive(Debug)]
pub struct HeadLossOperands<B: Engine> {
    /// `[tokens, hidden]`.
    pub hidden: FloatTensor<B>,
    /// `[vocab, hidden]`.
    pub weight: EngineWeight<B>,
    /// `[tokens]`.
    pub targets: IntTensor<B>,
    /// Which targets count, and how many positions have logits at one time.
    pub options: LossOptions,
    /// What is computed besides the loss.
    pub gradients: HeadGradients,
}

/// Which gradients of a head's loss are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadGradients {
    /// None.
    None,
    /// That of the hidden states.
    Hidden,
    /// That of the weight too.
    All,
}

/// The loss of a head with the gradients that were wanted, those of a loss whose own gradient is 1.
#[derive(Debug)]
pub struct HeadLoss<B: Backend> {
    /// Mean over the positions that count, `[1]`.
    pub loss: FloatTensor<B>,
    /// `log Σ exp(logit)` of each position that counts, 0 for the others, `[tokens, 1]`.
    pub lse: FloatTensor<B>,
    /// `[tokens, hidden]`.
    pub hidden: Option<FloatTensor<B>>,
    /// `[vocab, hidden]`.
    pub weight: Option<FloatTensor<B>>,
}

/// A mixture of experts behind its router, and the gradient of its output.
#[derive(Debug)]
pub struct MoeBackwardOperands<B: Engine> {
    /// `[tokens, hidden]`.
    pub x: FloatTensor<B>,
    /// The router's, `[tokens, experts]`.
    pub logits: FloatTensor<B>,
    /// Those of the experts are read.
    pub weights: MoeWeights<Primitives<B>>,
    /// How experts are chosen.
    pub options: MoeOptions,
    /// `[tokens, hidden]`.
    pub grad: FloatTensor<B>,
    /// Whether the gradients of the experts are wanted.
    pub experts_train: bool,
}

/// Gradients of a mixture of experts.
#[derive(Debug)]
pub struct MoeBackward<B: Backend> {
    /// Of the tokens through the experts, `[tokens, hidden]`.
    pub x: FloatTensor<B>,
    /// Of the router's logits, `[tokens, experts]`.
    pub logits: FloatTensor<B>,
    /// `[experts, hidden, 2 · intermediate]` and `[experts, intermediate, hidden]`, where they are wanted.
    pub experts: Option<[FloatTensor<B>; 2]>,
}
