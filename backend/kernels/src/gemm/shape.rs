//! What the choice of an algorithm depends on.

use crate::ElementType;
use crate::gemm::matrix::Matrix;
use crate::gemm::packed_matrix::PackedMatrix;
use crate::gemm::right::RightMatrix;
use serde::{Deserialize, Serialize};

/// A product `[m, k] · [k, n]` as whoever chooses its algorithm sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProductShape {
    /// Rows of A.
    pub m: usize,
    /// Columns of B.
    pub n: usize,
    /// Depth.
    pub k: usize,
    /// Element type of A.
    pub a: ElementType,
    /// Element type of B.
    pub b: ElementType,
    /// The layout of B.
    pub layout: Layout,
}

/// How the elements of a right operand follow each other in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Layout {
    /// Packed panels.
    Packed,
    /// Columns are contiguous: a weight `[n, k]`.
    Columns,
    /// Rows are contiguous.
    Rows,
    /// Neither.
    Strided,
}

impl ProductShape {
    /// Of two matrices.
    pub fn of(a: &Matrix<'_>, b: &Matrix<'_>) -> Self {
        let layout = match b.strides() {
            [1, _] => Layout::Columns,
            [_, 1] => Layout::Rows,
            _ => Layout::Strided,
        };
        Self { m: a.rows(), n: b.cols(), k: a.cols(), a: a.data().dtype(), b: b.data().dtype(), layout }
    }

    /// Of a matrix and a packed weight.
    pub fn of_packed(a: &Matrix<'_>, b: &PackedMatrix) -> Self {
        Self { m: a.rows(), n: b.n(), k: a.cols(), a: a.data().dtype(), b: b.dtype(), layout: Layout::Packed }
    }

    /// Of a matrix and grouped right operands, each with its columns, which are multiplied as one.
    pub fn of_grouped<'a>(a: &Matrix<'_>, rights: impl IntoIterator<Item = (RightMatrix<'a>, usize)>) -> Self {
        let mut shape =
            Self { m: a.rows(), n: 0, k: a.cols(), a: a.data().dtype(), b: ElementType::F32, layout: Layout::Packed };
        for (right, columns) in rights {
            shape.n += columns;
            match right {
                RightMatrix::Packed(panels) | RightMatrix::Gated([panels, _]) => shape.b = panels.dtype(),
                RightMatrix::View(view) => (shape.b, shape.layout) = (view.data().dtype(), Layout::Columns),
            }
        }
        shape
    }

    /// Multiply-adds.
    pub fn work(&self) -> usize {
        self.m.saturating_mul(self.n).saturating_mul(self.k)
    }
}
