//! Strided views of matrices, checked once where they are made.

use crate::ElementType;
use crate::gemm::raw::{RawFloats, RawFloatsMut, RawMatrix};
use crate::{Floats, FloatsMut};

/// Why a matrix product was declined. Nothing has been written then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GemmError {
    /// A view reaches outside its slice.
    #[error(
        "{what} of {rows} x {cols} with strides {strides:?} from element {offset} does not fit into {len} elements"
    )]
    OutOfBounds {
        /// Which view.
        what: &'static str,
        /// Its rows.
        rows: usize,
        /// Its columns.
        cols: usize,
        /// Its row and column strides, elements.
        strides: [isize; 2],
        /// Its first element.
        offset: usize,
        /// Elements of the slice.
        len: usize,
    },
    /// A size that two operands share differs.
    #[error("{what}: expected {expected}, found {found}")]
    Shape {
        /// Which size.
        what: &'static str,
        /// What the other operands need.
        expected: usize,
        /// What it is.
        found: usize,
    },
    /// Element types that have to be others.
    #[error("{what}: expected {expected:?}, found {found:?}")]
    Type {
        /// Which operand.
        what: &'static str,
        /// What the kernel takes.
        expected: ElementType,
        /// What it is.
        found: ElementType,
    },
    /// Rows or products of the output share elements.
    #[error("{what}: {distance} elements apart where at least {needed} are needed")]
    Overlap {
        /// What overlaps.
        what: &'static str,
        /// How far apart they begin, elements.
        distance: usize,
        /// How far they would have to be, elements.
        needed: usize,
    },
}

/// Fails unless `found` is `expected`.
pub(in crate::gemm) fn check(what: &'static str, expected: usize, found: usize) -> Result<(), GemmError> {
    if expected == found { Ok(()) } else { Err(GemmError::Shape { what, expected, found }) }
}

/// A matrix in a slice, with any strides: element `(i, j)` is `data[offset + i · row_stride + j · col_stride]`.
///
/// Transposing is swapping the strides; a stride of 0 broadcasts; strides may be negative.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    data: Floats<'a>,
    offset: usize,
    rows: usize,
    cols: usize,
    row_stride: isize,
    col_stride: isize,
}

impl<'a> Matrix<'a> {
    /// A view of `shape` (rows, columns) from element `offset`, with `strides` (row, column) in elements.
    ///
    /// # Errors
    /// [`GemmError::OutOfBounds`] where an element would lie outside of `data`.
    pub fn new(data: Floats<'a>, offset: usize, shape: [usize; 2], strides: [isize; 2]) -> Result<Self, GemmError> {
        let view =
            Self { data, offset, rows: shape[0], cols: shape[1], row_stride: strides[0], col_stride: strides[1] };
        view.check_offset(offset).map(|()| view)
    }

    /// All of `data` as `rows` x `cols`, row after row.
    ///
    /// # Errors
    /// [`GemmError::OutOfBounds`] where `data` is shorter.
    pub fn row_major(data: Floats<'a>, rows: usize, cols: usize) -> Result<Self, GemmError> {
        Self::new(data, 0, [rows, cols], [cols as isize, 1])
    }

    /// The transpose, without a copy.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self { rows: self.cols, cols: self.rows, row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Distance between rows and between columns, elements.
    pub fn strides(&self) -> [isize; 2] {
        [self.row_stride, self.col_stride]
    }

    /// The slice that it is a view of.
    pub fn data(&self) -> Floats<'a> {
        self.data
    }

    /// First element.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Whether the same view from element `offset` fits.
    pub(in crate::gemm) fn check_offset(&self, offset: usize) -> Result<(), GemmError> {
        let fits = || {
            if self.rows == 0 || self.cols == 0 {
                return Some(true);
            }
            let reach = |n: usize, stride: isize| isize::try_from(n - 1).ok()?.checked_mul(stride);
            let (down, right) = (reach(self.rows, self.row_stride)?, reach(self.cols, self.col_stride)?);
            let offset = isize::try_from(offset).ok()?;
            let first = offset.checked_add(down.min(0))?.checked_add(right.min(0))?;
            let last = offset.checked_add(down.max(0))?.checked_add(right.max(0))?;
            Some(first >= 0 && usize::try_from(last).ok()? < self.data.len())
        };
        if fits() == Some(true) {
            return Ok(());
        }
        Err(GemmError::OutOfBounds {
            what: "a matrix",
            rows: self.rows,
            cols: self.cols,
            strides: self.strides(),
            offset,
            len: self.data.len(),
        })
    }

    /// The pointers of the view from its own offset.
    pub(in crate::gemm) fn raw(&self) -> RawMatrix {
        RawMatrix {
            data: RawFloats::new(self.data).offset(self.offset as isize),
            row_stride: self.row_stride,
            col_stride: self.col_stride,
        }
    }
}

/// A row-major matrix that a product writes: element `(i, j)` is `data[offset + i · row_stride + j]`.
#[derive(Debug)]
pub struct OutMatrix<'a> {
    data: FloatsMut<'a>,
    offset: usize,
    rows: usize,
    cols: usize,
    row_stride: usize,
}

impl<'a> OutMatrix<'a> {
    /// A view of `shape` (rows, columns) from element `offset`, with rows `row_stride` elements apart.
    ///
    /// # Errors
    /// [`GemmError::OutOfBounds`] where an element would lie outside of `data`; [`GemmError::Overlap`] where rows share
    /// elements.
    pub fn new(data: FloatsMut<'a>, offset: usize, shape: [usize; 2], row_stride: usize) -> Result<Self, GemmError> {
        let view = Self { data, offset, rows: shape[0], cols: shape[1], row_stride };
        if view.rows > 1 && row_stride < view.cols {
            return Err(GemmError::Overlap { what: "rows of the output", distance: row_stride, needed: view.cols });
        }
        view.check_offset(offset).map(|()| view)
    }

    /// All of `data` as `rows` x `cols`, row after row.
    ///
    /// # Errors
    /// [`GemmError::OutOfBounds`] where `data` is shorter.
    pub fn row_major(data: FloatsMut<'a>, rows: usize, cols: usize) -> Result<Self, GemmError> {
        Self::new(data, 0, [rows, cols], cols)
    }

    /// The same view, borrowed for less long.
    pub fn reborrow(&mut self) -> OutMatrix<'_> {
        let data = match &mut self.data {
            FloatsMut::F32(x) => FloatsMut::F32(x),
            FloatsMut::Bf16(x) => FloatsMut::Bf16(x),
            FloatsMut::F16(x) => FloatsMut::F16(x),
        };
        OutMatrix { data, ..*self }
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Distance between rows, elements.
    pub fn row_stride(&self) -> usize {
        self.row_stride
    }

    /// First element.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// True for f32.
    pub fn is_f32(&self) -> bool {
        matches!(self.data, FloatsMut::F32(_))
    }

    /// Whether the same view from element `offset` fits.
    pub(in crate::gemm) fn check_offset(&self, offset: usize) -> Result<(), GemmError> {
        let len = match &self.data {
            FloatsMut::F32(x) => x.len(),
            FloatsMut::Bf16(x) => x.len(),
            FloatsMut::F16(x) => x.len(),
        };
        let end = || (self.rows - 1).checked_mul(self.row_stride)?.checked_add(self.cols)?.checked_add(offset);
        if self.rows == 0 || self.cols == 0 || end().is_some_and(|end| end <= len) {
            return Ok(());
        }
        Err(GemmError::OutOfBounds {
            what: "the output",
            rows: self.rows,
            cols: self.cols,
            strides: [self.row_stride as isize, 1],
            offset,
            len,
        })
    }

    /// The pointer of element (0, 0).
    pub(in crate::gemm) fn raw(&mut self) -> RawFloatsMut {
        let offset = self.offset;
        match &mut self.data {
            FloatsMut::F32(x) => RawFloatsMut::F32(x.as_mut_ptr().wrapping_add(offset)),
            FloatsMut::Bf16(x) => RawFloatsMut::Bf16(x.as_mut_ptr().wrapping_add(offset)),
            FloatsMut::F16(x) => RawFloatsMut::F16(x.as_mut_ptr().wrapping_add(offset)),
        }
    }
}
