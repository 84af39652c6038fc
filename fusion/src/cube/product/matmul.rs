//! Plain batched products.

use super::{
    Layout, NAME, Strategy,
    operand::collapse,
    tiled::{self, Operands},
};
use crate::cube::{CubeError, Unavailable, allocate_like, limits::Limits, operands::Operands as Inputs};
use burn_backend::TensorMetadata;
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use burn_std::Shape;

/// `lhs · rhs` over the last two dimensions, the others broadcast, in f32 whatever the storage, by the tiled kernel.
/// Operands are read however they lie, transposed ones too. The result is enqueued, not awaited.
///
/// # Shapes
/// `lhs` `[.., m, k]`, `rhs` `[.., k, n]` of one dtype and as many dimensions; output `[.., m, n]`.
///
/// # Errors
/// As [`super::multiply`], and [`Unavailable::Operands`] for batches whose matrices have no common distance and for
/// [`Strategy::Gemv`].
pub fn matmul<R: CubeRuntime>(
    lhs: &CubeTensor<R>,
    rhs: &CubeTensor<R>,
    strategy: Strategy,
) -> Result<CubeTensor<R>, CubeError> {
    let inputs = Inputs::new(NAME, [Some(lhs), Some(rhs)]);
    let dims = find_output_dims(&lhs.shape(), &rhs.shape()).map_err(|expected| inputs.invalid(expected))?;
    inputs.check_floats()?;
    if lhs.dtype != rhs.dtype {
        let shapes = vec![lhs.shape().to_vec(), rhs.shape().to_vec()];
        return Err(CubeError::InvalidDtype { kernel: NAME, found: rhs.dtype, shapes });
    }
    let output = allocate_like(lhs, Shape::from(dims.clone()), lhs.dtype);
    if dims.contains(&0) {
        return Ok(output);
    }
    let address = inputs.check_device(&[Some(&output)])?;
    let batch = &dims[..dims.len() - 2];
    let run = || -> Result<(), Unavailable> {
        let uneven = Unavailable::Operands("batches whose matrices have one distance");
        let tile = match strategy {
            Strategy::Auto => None,
            Strategy::Tiled(tile) => Some(tile),
            Strategy::Gemv(_) | Strategy::GemvOutputs(_) => {
                return Err(Unavailable::Operands("weights [out, in], not plain products"));
            }
        };
        let x = (lhs.clone(), find_layout(lhs, batch, 0).ok_or(uneven)?);
        let weights = [(rhs.clone(), find_layout(rhs, batch, 1).ok_or(uneven)?)];
        let operands = Operands {
            x: &x,
            weights: &weights,
            norm: None,
            bias: None,
            residual: None,
            batches: batch.iter().product(),
            address,
        };
        let limits = Limits::read(&lhs.client);
        let blueprint = tiled::plan(&operands, tile, None, &limits)?;
        tiled::launch(&operands, blueprint, &limits, &output)
    };
    run().map_err(|reason| inputs.unavailable(reason))?;
    Ok(output)
}

/// The shape of the product, or what does not fit.
fn find_output_dims(lhs: &Shape, rhs: &Shape) -> Result<Vec<usize>, &'static str> {
    let (lhs, rhs) = (lhs.to_vec(), rhs.to_vec());
    let rank = lhs.len();
    if rank < 2 || rhs.len() != rank {
        return Err("operands must have as many dimensions, two or more");
    }
    if lhs[rank - 1] != rhs[rank - 2] || lhs[rank - 1] == 0 {
        return Err("the last dimension of lhs must be the last but one of rhs, 1 or more");
    }
    let mut dims = Vec::with_capacity(rank);
    for (&l, &r) in lhs.iter().zip(&rhs).take(rank - 2) {
        match (l, r) {
            (l, r) if l == r => dims.push(l),
            (1, other) | (other, 1) => dims.push(other),
            _ => return Err("the other dimensions must be equal or 1"),
        }
    }
    dims.extend([lhs[rank - 2], rhs[rank - 1]]);
    Ok(dims)
}

/// How an operand lies whose side is the last but one dimension (`side` 0) or the last one (1), in a product over the
/// dimensions `batch`; `None` when its matrices have no common distance.
fn find_layout<R: CubeRuntime>(tensor: &CubeTensor<R>, batch: &[usize], side: usize) -> Option<Layout> {
    let (shape, strides) = (tensor.meta.shape().to_vec(), tensor.meta.strides());
    let repeated = |i: usize| if shape[i] == 1 { 0 } else { strides[i] };
    let batch_strides: Vec<_> = (0..batch.len()).map(repeated).collect();
    let (_, batch_stride) = collapse(batch, &batch_strides)?;
    let (side, depth) = (batch.len() + side, batch.len() + 1 - side);
    Some(Layout {
        side: shape[side],
        depth: shape[depth],
        side_stride: strides[side],
        depth_stride: strides[depth],
        batch_stride,
    })
}
