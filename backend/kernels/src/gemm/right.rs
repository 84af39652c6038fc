//! The right operand of a product.

use crate::gemm::matrix::Matrix;
use crate::gemm::packed_matrix::PackedMatrix;
use crate::gemm::raw::{RawFloats, RawMatrix};

/// A right operand.
#[derive(Debug, Clone, Copy)]
pub enum RightMatrix<'a> {
    /// `[k, n]`, any strides: the product is `A·B`.
    View(Matrix<'a>),
    /// A weight `[n, k]`: the product is `A·Wᵀ`.
    Packed(&'a PackedMatrix),
    /// A gate and what it opens, `[n, k]` both and of one element type: the product is `silu(A·gateᵀ) ⊙ (A·upᵀ)`
    /// (SwiGLU, Shazeer 2020). A tile sums the same columns of both and stores one number for two sums, which are never
    /// in memory but between the blocks of a deep product.
    Gated([&'a PackedMatrix; 2]),
}

/// The right operand of checked products.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) enum RightOperand {
    /// A strided matrix `[k, n]`.
    View(RawMatrix),
    /// Panels of a [`super::PackedMatrix`]: `[n / 16][k][16]`, of bf16 `[n / 16][k / 2][16][2]`.
    Panels(RawFloats),
    /// Panels of a gate and of what it opens, of one element type and shape: the product is `silu(A·gate) ⊙ (A·up)`,
    /// and the store gated.
    Gated([RawFloats; 2]),
}

impl RightOperand {
    /// Elements of A·B that an element of the output is made of.
    pub(in crate::gemm) fn factors(&self) -> usize {
        if let Self::Gated(_) = self { 2 } else { 1 }
    }
}
