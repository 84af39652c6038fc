//! A tensor seen as rows of its last dimension.

use burn_backend::Backend;
use burn_tensor::Tensor;

/// `[.., d]` as `[rows, d]`.
pub(super) fn flatten<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, 2> {
    let dims = x.dims();
    let rows = dims[..D - 1].iter().product::<usize>();
    x.reshape([rows, dims[D - 1]])
}

/// `x·matrix` for `x` `[.., in]` and `matrix` `[in, out]`, as one product of all rows.
///
/// `matrix` is converted to the dtype of `x`: backends take no operands of mixed dtypes.
pub(super) fn multiply<B: Backend, const D: usize>(x: Tensor<B, D>, matrix: Tensor<B, 2>) -> Tensor<B, D> {
    let mut dims = x.dims();
    let matrix = matrix.cast(x.dtype());
    dims[D - 1] = matrix.dims()[1];
    flatten(x).matmul(matrix).reshape(dims)
}

/// `[d]` as `[1, .., 1, d]` in the dtype of `like`, to be broadcast over its rows.
pub(super) fn broadcast<B: Backend, const D: usize>(row: Tensor<B, 1>, like: &Tensor<B, D>) -> Tensor<B, D> {
    row.cast(like.dtype()).unsqueeze::<D>()
}

/// The sum of all rows, `[d]`.
pub(super) fn sum<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, 1> {
    let width = x.dims()[D - 1];
    flatten(x).sum_dim(0).reshape([width])
}
