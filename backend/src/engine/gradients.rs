//! Operands of the hooks of training that are bound by memory.

use super::{ANY_RANK, Engine, Primitives};
use burn_backend::Backend;
use burn_backend::tensor::{FloatTensor, IntTensor};
use burn_kiln_fusion::{AdamWOptions, AdamWState, NormGrads, RmsWeights, Rotary};

/// The gradient of a norm over the last dimension.
#[derive(Debug)]
pub struct NormBackwardOperands<B: Backend> {
    /// The norm's input, `[.., d]`.
    pub x: FloatTensor<B>,
    /// `[d]`.
    pub gamma: FloatTensor<B>,
    /// Of a layer norm: the mean of each row, `[.., 1]`. None is an RMS norm.
    pub mean: Option<FloatTensor<B>>,
    /// `[.., 1]`.
    pub rstd: FloatTensor<B>,
    /// Of the norm's output.
    pub grad: FloatTensor<B>,
    /// Added to the gradient of `x`; of an RMS norm alone.
    pub residual: Option<FloatTensor<B>>,
}

/// The gradient of rotary embedding, and of the RMS norm of each head before it where there is one.
#[derive(Debug)]
pub struct RopeBackwardOperands<'a, B: Engine> {
    /// The norm's input, `[batch, heads, length, head_dim]`, and its weight.
    pub norm: Option<(FloatTensor<B>, RmsWeights<Primitives<B>>)>,
    /// `[batch | 1, length, head_dim / 2]`.
    pub rotary: &'a Rotary<Primitives<B>>,
    /// Of the rotated heads.
    pub grad: FloatTensor<B>,
}

/// Gradients of rotary embedding.
#[derive(Debug)]
pub struct RopeGrads<B: Backend> {
    /// Of the heads before norm and rotation.
    pub x: FloatTensor<B>,
    /// `[head_dim]`; of a norm.
    pub gamma: Option<FloatTensor<B>>,
}

/// Gradients of rows of a table.
#[derive(Debug)]
pub struct EmbeddingBackwardOperands<B: Backend> {
    /// Of any shape.
    pub ids: IntTensor<B>,
    /// `[.., hidden]`.
    pub grad: FloatTensor<B>,
}

/// Rows that are added to a table.
#[derive(Debug)]
pub struct AddRowsOperands<B: Backend> {
    /// `[rows, hidden]`, f32.
    pub table: FloatTensor<B>,
    /// What is added.
    pub rows: EmbeddingBackwardOperands<B>,
}

/// A gradient that an optimiser takes.
#[derive(Debug)]
pub enum ParameterGrad<B: Backend> {
    /// Of every element.
    Dense(FloatTensor<B>),
    /// Of some rows of a matrix; those of others are 0.
    Rows {
        /// Numbers of the rows, each once, in rising order.
        ids: IntTensor<B>,
        /// `[ids, width]`.
        rows: FloatTensor<B>,
    },
}

/// One step of AdamW.
#[derive(Debug)]
pub struct AdamWOperands<B: Engine> {
    /// Of any shape.
    pub parameter: FloatTensor<B>,
    /// Its gradient.
    pub grad: ParameterGrad<B>,
    /// What is kept of it.
    pub state: AdamWState<Primitives<B>, ANY_RANK>,
    /// The numbers of the step.
    pub options: AdamWOptions,
}

/// Gradients of a norm, or its operands.
pub type NormBackwardResult<B> = Result<NormGrads<Primitives<B>, ANY_RANK>, NormBackwardOperands<B>>;

/// A parameter and its state after a step, or the operands.
pub type AdamWResult<B> = Result<(FloatTensor<B>, AdamWState<Primitives<B>, ANY_RANK>), AdamWOperands<B>>;
