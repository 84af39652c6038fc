//! Operands of the hooks that are not those of one fused op: plain Burn ops, and fused ones with what comes along.

use super::{ANY_RANK, BinaryOp, Engine, EngineWeight, Primitives, SoftmaxKind, UnaryOp};
use burn_backend::tensor::{FloatTensor, IntTensor};
use burn_backend::{Backend, Scalar};
use burn_kiln_fusion::{
    AttentionForward, AttentionInputs, AttentionOptions, Epilogue, GatedMlpWeights, HeadNorms, LinearWeights,
    MoeOptions, MoeWeights, Norm, QueryKey, RmsWeights, Rotary, RotaryInputs,
};

/// `lhs · rhs`, batched and broadcast as Burn's matmul.
#[derive(Debug)]
pub struct MatmulOperands<B: Backend> {
    /// `[.., m, k]`.
    pub lhs: FloatTensor<B>,
    /// `[.., k, n]`.
    pub rhs: FloatTensor<B>,
}

/// Burn's linear: `x · weight + bias`.
#[derive(Debug)]
pub struct ModuleLinearOperands<B: Backend> {
    /// `[.., in]`.
    pub x: FloatTensor<B>,
    /// `[in, out]`.
    pub weight: FloatTensor<B>,
    /// `[out]`.
    pub bias: Option<FloatTensor<B>>,
}

/// `activation(x·Wᵀ + bias) + residual`.
#[derive(Debug)]
pub struct LinearOperands<B: Engine> {
    /// `[.., in]`.
    pub x: FloatTensor<B>,
    /// `[out, in]`.
    pub weight: EngineWeight<B>,
    /// Before the store.
    pub epilogue: Epilogue<Primitives<B>, ANY_RANK>,
}

/// `norm(x)·Wᵀ + bias` for each layer.
#[derive(Debug)]
pub struct NormLinearsOperands<'a, B: Engine> {
    /// `[.., in]`.
    pub x: FloatTensor<B>,
    /// Of its rows.
    pub norm: Norm<Primitives<B>>,
    /// What reads them.
    pub layers: &'a [LinearWeights<Primitives<B>>],
}

/// `down( silu(x·gateᵀ) ⊙ (x·upᵀ) ) + residual`.
#[derive(Debug)]
pub struct GatedMlpOperands<B: Engine> {
    /// `[.., hidden]`.
    pub x: FloatTensor<B>,
    /// All three.
    pub weights: GatedMlpWeights<Primitives<B>>,
    /// `[.., hidden]`.
    pub residual: Option<FloatTensor<B>>,
}

/// `mlp_gated(rms_norm(sum)) + sum` for `sum = x + residual`.
#[derive(Debug)]
pub struct AddNormGatedMlpOperands<B: Engine> {
    /// `[.., hidden]`.
    pub x: FloatTensor<B>,
    /// `[.., hidden]`.
    pub residual: FloatTensor<B>,
    /// Of the sum.
    pub norm: RmsWeights<Primitives<B>>,
    /// All three.
    pub weights: GatedMlpWeights<Primitives<B>>,
}

/// A function of each element.
#[derive(Debug)]
pub struct UnaryOperands<B: Backend> {
    /// Which.
    pub op: UnaryOp,
    /// Of any shape.
    pub x: FloatTensor<B>,
}

/// Arithmetic, broadcast as Burn's.
#[derive(Debug)]
pub struct BinaryOperands<B: Backend> {
    /// Which.
    pub op: BinaryOp,
    /// The left one.
    pub lhs: FloatTensor<B>,
    /// The right one.
    pub rhs: FloatTensor<B>,
}

/// Arithmetic with a number.
#[derive(Debug)]
pub struct ScalarOperands<B: Backend> {
    /// Which.
    pub op: BinaryOp,
    /// The left one.
    pub lhs: FloatTensor<B>,
    /// The right one.
    pub rhs: Scalar,
}

/// `silu(gate) ⊙ up`.
#[derive(Debug)]
pub struct SiluMulOperands<B: Backend> {
    /// Of any shape.
    pub gate: FloatTensor<B>,
    /// Shaped like it.
    pub up: FloatTensor<B>,
}

/// Softmax over one dimension.
#[derive(Debug)]
pub struct SoftmaxOperands<B: Backend> {
    /// Itself or its logarithm.
    pub kind: SoftmaxKind,
    /// Of any shape.
    pub x: FloatTensor<B>,
    /// The dimension.
    pub dim: usize,
}

/// Layer norm over the last dimension.
#[derive(Debug)]
pub struct LayerNormOperands<B: Backend> {
    /// `[.., d]`.
    pub x: FloatTensor<B>,
    /// `[d]`.
    pub gamma: FloatTensor<B>,
    /// `[d]`.
    pub beta: Option<FloatTensor<B>>,
    /// Added to the variance.
    pub epsilon: f64,
}

/// RMS norm over the last dimension.
#[derive(Debug)]
pub struct RmsNormOperands<B: Engine> {
    /// `[.., d]`.
    pub x: FloatTensor<B>,
    /// Its weight.
    pub norm: RmsWeights<Primitives<B>>,
}

/// A residual addition and the RMS norm of its sum.
#[derive(Debug)]
pub struct AddNormOperands<B: Engine> {
    /// `[.., d]`.
    pub x: FloatTensor<B>,
    /// `[.., d]`.
    pub residual: FloatTensor<B>,
    /// Of the sum.
    pub norm: RmsWeights<Primitives<B>>,
}

/// Rotary embedding of heads, after the RMS norm of each where there is one.
#[derive(Debug)]
pub struct RopeOperands<'a, B: Engine> {
    /// `[batch, heads, length, head_dim]`.
    pub x: FloatTensor<B>,
    /// Of each head.
    pub norm: Option<RmsWeights<Primitives<B>>>,
    /// `[batch | 1, length, head_dim / 2]`.
    pub rotary: &'a Rotary<Primitives<B>>,
}

/// Rotary embedding of queries and keys after the RMS norm of each head.
#[derive(Debug)]
pub struct QkNormRopeOperands<'a, B: Engine> {
    /// Both.
    pub heads: QueryKey<Primitives<B>>,
    /// Of both.
    pub norms: HeadNorms<Primitives<B>>,
    /// `[batch | 1, length, head_dim / 2]`.
    pub rotary: &'a Rotary<Primitives<B>>,
}

/// Scaled dot-product attention.
#[derive(Debug)]
pub struct AttentionOperands<B: Engine> {
    /// Queries, keys and values.
    pub inputs: AttentionInputs<Primitives<B>>,
    /// What is done to scores.
    pub options: AttentionOptions<Primitives<B>>,
}

/// Gradients of attention without a cache.
#[derive(Debug)]
pub struct AttentionBackwardOperands<B: Engine> {
    /// Those of the forward.
    pub attention: AttentionOperands<B>,
    /// What it gave.
    pub forward: AttentionForward<Primitives<B>>,
    /// Gradient of its output, `[batch, heads, queries, head_dim]`.
    pub grad: FloatTensor<B>,
}

/// Attention from projections.
#[derive(Debug)]
pub struct RotaryOperands<'a, B: Engine> {
    /// Projections, head norms and angles.
    pub inputs: RotaryInputs<'a, Primitives<B>>,
    /// What is done to scores, for each sequence.
    pub options: AttentionOptions<Primitives<B>>,
}

/// A mixture of experts behind its router.
#[derive(Debug)]
pub struct MoeOperands<B: Engine> {
    /// `[tokens, hidden]`.
    pub x: FloatTensor<B>,
    /// The router's, `[tokens, experts]`.
    pub logits: FloatTensor<B>,
    /// Those of the experts are read.
    pub weights: MoeWeights<Primitives<B>>,
    /// How experts are chosen.
    pub options: MoeOptions,
}

/// Rows of a weight by id.
#[derive(Debug)]
pub struct EmbeddingOperands<B: Engine> {
    /// `[vocab, hidden]`.
    pub weight: EngineWeight<B>,
    /// Of any shape.
    pub ids: IntTensor<B>,
}
