//! What happens to a product on its way to memory, as a caller says it (store.rs does it).

use crate::Floats;
use crate::gemm::matrix::{GemmError, Matrix, check};
use crate::math::Activation;

/// What a product does before its one store: `C = activation(P + bias) + residual`, where `P` is `A·B`, or
/// `silu(A·gate) ⊙ (A·up)`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Epilogue<'a> {
    /// One number a column, `[n]`.
    pub bias: Option<Floats<'a>>,
    /// Applied after the bias.
    pub activation: Option<Activation>,
    /// Added last.
    pub residual: Residual<'a>,
}

/// The last term of a product.
#[derive(Debug, Clone, Copy, Default)]
pub enum Residual<'a> {
    /// Nothing.
    #[default]
    None,
    /// A matrix shaped like the output, with contiguous rows. Products of one batch all add the same.
    Add(Matrix<'a>),
    /// What the output holds.
    Output,
}

impl<'a> Epilogue<'a> {
    /// Only a bias, where there is one.
    pub fn bias(bias: Option<Floats<'a>>) -> Self {
        Self { bias, ..Self::default() }
    }

    /// Only a residual.
    pub fn residual(residual: Residual<'a>) -> Self {
        Self { residual, ..Self::default() }
    }

    /// True if the product is stored as it is.
    pub fn is_none(&self) -> bool {
        self.bias.is_none() && self.activation.is_none() && matches!(self.residual, Residual::None)
    }

    /// Fails where a part does not fit an output of `rows` x `cols`.
    pub(in crate::gemm) fn check(&self, rows: usize, cols: usize) -> Result<(), GemmError> {
        if let Some(bias) = self.bias {
            check("elements of the bias", cols, bias.len())?;
        }
        if let Residual::Add(residual) = self.residual {
            check("rows of the residual", rows, residual.rows())?;
            check("columns of the residual", cols, residual.cols())?;
            if cols > 1 {
                check("column stride of the residual", 1, residual.strides()[1].unsigned_abs())?;
            }
        }
        Ok(())
    }
}
