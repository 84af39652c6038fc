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

impl Layout {
    /// That of a view.
    fn of(b: &Matrix<'_>) -> Self {
        match b.strides() {
            [1, _] => Self::Columns,
            [_, 1] => Self::Rows,
            _ => Self::Strided,
        }
    }
}

impl ProductShape {
    /// Of two matrices.
    pub fn of(a: &Matrix<'_>, b: &Matrix<'_>) -> Self {
        Self::of_grouped(a, [(RightMatrix::View(*b), b.cols())])
    }

    /// Of a matrix and a packed weight.
    pub fn of_packed(a: &Matrix<'_>, b: &PackedMatrix) -> Self {
        Self::of_grouped(a, [(RightMatrix::Packed(b), b.n())])
    }

    /// Of a matrix and grouped right operands, each with its columns, which are multiplied as one.
    pub fn of_grouped<'a>(a: &Matrix<'_>, rights: impl IntoIterator<Item = (RightMatrix<'a>, usize)>) -> Self {
        Self::of_rows([a.rows(), a.cols()], a.data().dtype(), rights)
    }

    /// The same of a left operand `[m, k]` of type `a`.
    pub fn of_rows<'a>(
        [m, k]: [usize; 2],
        a: ElementType,
        rights: impl IntoIterator<Item = (RightMatrix<'a>, usize)>,
    ) -> Self {
        let mut shape = Self { m, n: 0, k, a, b: ElementType::F32, layout: Layout::Packed };
        for (right, columns) in rights {
            shape.n += columns;
            match right {
                RightMatrix::Packed(panels) | RightMatrix::Gated([panels, _]) => shape.b = panels.dtype(),
                RightMatrix::View(view) => (shape.b, shape.layout) = (view.data().dtype(), Layout::of(&view)),
            }
        }
        shape
    }

    /// Multiply-adds.
    pub fn work(&self) -> usize {
        self.m.saturating_mul(self.n).saturating_mul(self.k)
    }
}
