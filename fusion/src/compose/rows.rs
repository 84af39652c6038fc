//! A tensor seen as rows of its last dimension.

use burn_backend::{Backend, Shape};
use burn_tensor::{Tensor, TensorPrimitive};

/// `x` in the shape `dims`, sizes of 0 included: [`Tensor::reshape`] takes a 0 for "as it was".
pub(crate) fn reshape<B: Backend, const D: usize, const E: usize>(x: Tensor<B, D>, dims: [usize; E]) -> Tensor<B, E> {
    let reshaped = B::float_reshape(x.into_primitive().tensor(), Shape::from(dims));
    Tensor::from_primitive(TensorPrimitive::Float(reshaped))
}

/// `[.., d]` as `[rows, d]`.
pub(super) fn flatten<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, 2> {
    let dims = x.dims();
    let rows = dims[..D - 1].iter().product::<usize>();
    reshape(x, [rows, dims[D - 1]])
}

/// `x·matrix` for `x` `[.., in]` and `matrix` `[in, out]`, as one product of all rows.
///
/// `matrix` is converted to the dtype of `x`: backends take no operands of mixed dtypes.
pub(super) fn multiply<B: Backend, const D: usize>(x: Tensor<B, D>, matrix: Tensor<B, 2>) -> Tensor<B, D> {
    let mut dims = x.dims();
    dims[D - 1] = matrix.dims()[1];
    if dims.contains(&0) {
        // Not every backend multiplies empty matrices.
        return Tensor::zeros(dims, (&x.device(), x.dtype()));
    }
    let matrix = matrix.cast(x.dtype());
    reshape(flatten(x).matmul(matrix), dims)
}

/// `aᵀ·b`, summed over the rows: `a` `[.., m]` and `b` `[.., n]` give `[m, n]`.
pub(super) fn multiply_columns<B: Backend, const D: usize>(a: Tensor<B, D>, b: Tensor<B, D>) -> Tensor<B, 2> {
    let (a, b) = (flatten(a), flatten(b));
    if a.dims()[0] == 0 {
        return Tensor::zeros([a.dims()[1], b.dims()[1]], (&a.device(), a.dtype()));
    }
    a.transpose().matmul(b)
}

/// `[d]` as `[1, .., 1, d]` in the dtype of `like`, to be broadcast over its rows.
pub(super) fn broadcast<B: Backend, const D: usize>(row: Tensor<B, 1>, like: &Tensor<B, D>) -> Tensor<B, D> {
    row.cast(like.dtype()).unsqueeze::<D>()
}

/// The sum of all rows, `[d]`.
pub(super) fn sum<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, 1> {
    let width = x.dims()[D - 1];
    reshape(flatten(x).sum_dim(0), [width])
}
