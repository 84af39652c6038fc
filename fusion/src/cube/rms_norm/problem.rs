//! What is asked of the kernel.

use super::{NAME, RmsNormOutput};
use crate::cube::CubeError;
use burn_backend::TensorMetadata;
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use burn_std::{DType, Shape};

/// An RMS norm of `rows` rows of `d` elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Rows: the product of all dimensions but the last.
    pub rows: usize,
    /// Elements in a row, at least 1.
    pub d: usize,
    /// Elements from the start of a row of `x` to that of the next, at least `d`: CUDA tensors may have padded rows.
    pub row_stride: usize,
    /// How `x` and `y` are stored.
    pub x: DType,
    /// How `gamma` is stored.
    pub gamma: DType,
    shape: Shape,
}

impl Problem {
    /// Reads it off the operands.
    ///
    /// # Shapes
    /// `x` `[.., d]`, `gamma` `[d]`.
    ///
    /// Rows without a common stride count as contiguous: [`super::launch`] copies such an `x` first.
    ///
    /// # Errors
    /// [`CubeError::InvalidShapes`] when they are not so, or `d` is 0: the mean of nothing has no value.
    /// [`CubeError::InvalidDtype`] when one of them does not hold f32, f16 or bf16.
    pub fn new<R: CubeRuntime>(x: &CubeTensor<R>, gamma: &CubeTensor<R>) -> Result<Self, CubeError> {
        let problem = Self::from_shapes((x.shape(), x.dtype), (gamma.shape(), gamma.dtype))?;
        Ok(Self { row_stride: find_row_stride(x).unwrap_or(problem.d), ..problem })
    }

    /// [`Problem::new`] from shapes and storage types alone, for a contiguous `x`.
    ///
    /// # Errors
    /// As [`Problem::new`].
    pub fn from_shapes(x: (Shape, DType), gamma: (Shape, DType)) -> Result<Self, CubeError> {
        let invalid = |expected| CubeError::InvalidShapes {
            kernel: NAME,
            expected,
            shapes: vec![x.0.to_vec(), gamma.0.to_vec()],
        };
        for dtype in [x.1, gamma.1] {
            if !matches!(dtype, DType::F32 | DType::F16 | DType::BF16) {
                let shapes = vec![x.0.to_vec(), gamma.0.to_vec()];
                return Err(CubeError::InvalidDtype { kernel: NAME, found: dtype, shapes });
            }
        }
        let d = match x.0.last() {
            Some(0) | None => return Err(invalid("x must have a last dimension of 1 or more")),
            Some(&d) => d,
        };
        if gamma.0.to_vec() != [d] {
            return Err(invalid("gamma must have one dimension, the last one of x"));
        }
        Ok(Self { rows: x.0.num_elements() / d, d, row_stride: d, x: x.1, gamma: gamma.1, shape: x.0 })
    }

    /// The shape of the reciprocal deviations, `[.., 1]`.
    pub fn rstd_shape(&self) -> Shape {
        let mut dims = self.shape.to_vec();
        if let Some(last) = dims.last_mut() {
            *last = 1;
        }
        Shape::from(dims)
    }

    /// The shapes of `x` and `gamma`, for errors.
    pub(super) fn shapes(&self) -> Vec<Vec<usize>> {
        vec![self.shape.to_vec(), vec![self.d]]
    }

    /// Checks tensors that are to be written.
    pub(super) fn check_output<R: CubeRuntime>(&self, output: &RmsNormOutput<R>) -> Result<(), CubeError> {
        let fits = |tensor: &CubeTensor<R>, shape: &Shape, dtype| {
            tensor.shape() == *shape && tensor.dtype == dtype && tensor.is_contiguous()
        };
        let rstd = output.rstd.as_ref();
        if fits(&output.y, &self.shape, self.x) && rstd.is_none_or(|r| fits(r, &self.rstd_shape(), DType::F32)) {
            return Ok(());
        }
        let mut shapes = self.shapes();
        shapes.extend([Some(&output.y), rstd].into_iter().flatten().map(|tensor| tensor.shape().to_vec()));
        let expected = "y must be contiguous with the shape and dtype of x, rstd contiguous f32 [.., 1]";
        Err(CubeError::InvalidShapes { kernel: NAME, expected, shapes })
    }
}

/// The distance between neighbouring rows when it is the same for all of them and the elements of a row are neighbours.
pub(super) fn find_row_stride<R: CubeRuntime>(x: &CubeTensor<R>) -> Option<usize> {
    let shape = x.meta.shape().to_vec();
    let (&d, leading) = shape.split_last()?;
    let strides = x.meta.strides();
    if d > 1 && strides[leading.len()] != 1 {
        return None;
    }
    // From the right, each dimension longer than 1 must start where the ones after it end.
    let mut found = None;
    let mut expected = 0;
    for (&length, &stride) in leading.iter().zip(strides.iter()).rev().filter(|(length, _)| **length != 1) {
        match found {
            None => found = Some(stride),
            Some(_) if stride != expected => return None,
            Some(_) => {}
        }
        expected = stride * length;
    }
    found.or(Some(d)).filter(|&stride| stride >= d)
}
