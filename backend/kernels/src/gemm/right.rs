//! The right operand of a product.

use crate::gemm::raw::{RawFloats, RawMatrix};
/// The right operand.
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
