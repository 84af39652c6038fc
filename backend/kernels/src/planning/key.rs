//! What a plan is for.

use crate::ElementType;
use crate::Launch;
use crate::gemm::{Matrix, PackedMatrix, ProductOperands, RightMatrix};
use crate::simd::Tier;
use serde::{Deserialize, Serialize};

/// A product `[m, k] · [k, n]` as planning sees it.
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
    /// Where B's elements lie.
    pub layout: Layout,
}

/// How the right operand lies in memory.
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

    /// What its algorithm is chosen by.
    pub fn operands(&self) -> ProductOperands {
        let &Self { m, n, k, a, b, layout } = self;
        let b_strides = match layout {
            Layout::Packed => None,
            Layout::Columns => Some([1, k as isize]),
            Layout::Rows => Some([n as isize, 1]),
            // Anything but 1.
            Layout::Strided => Some([2 * n as isize, 2]),
        };
        ProductOperands { shape: [m, n, k], a, b, b_strides }
    }

    /// Multiply-adds.
    pub fn work(&self) -> usize {
        self.m.saturating_mul(self.n).saturating_mul(self.k)
    }
}

/// A shape class, where and how it runs. Rows up to 16 are their own class each; beyond, all that round up to the same
/// power of two are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PlanKey {
    /// The product, `m` rounded up to its class.
    pub shape: ProductShape,
    /// Instruction set.
    pub tier: Tier,
    /// Threads that may share it.
    pub threads: usize,
}

/// Up to this many rows each count is a class of its own: kernels for few rows have a path for each.
const EXACT_ROWS: usize = 16;

impl PlanKey {
    /// The class of `shape`.
    pub fn new(shape: ProductShape, launch: Launch) -> Self {
        let m = if shape.m <= EXACT_ROWS { shape.m } else { shape.m.checked_next_power_of_two().unwrap_or(shape.m) };
        Self { shape: ProductShape { m, ..shape }, tier: launch.tier, threads: launch.threads }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_fall_into_classes() {
        let shape = |m| ProductShape { m, n: 8, k: 8, a: ElementType::F32, b: ElementType::F32, layout: Layout::Rows };
        let class = |m| PlanKey::new(shape(m), Launch::single(Tier::Portable)).shape.m;
        assert_eq!([0, 1, 7, 16, 17, 32, 33, 1000].map(class), [0, 1, 7, 16, 32, 32, 64, 1024]);
        assert_eq!(class(usize::MAX), usize::MAX);
    }
}
