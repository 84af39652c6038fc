//! Operands where the kernels can read them.

use super::{
    Call, Layout,
    tiled::{self, Operand},
};
use crate::cube::limits::Limits;
use burn_cubecl::{CubeRuntime, kernel::into_contiguous, tensor::CubeTensor};
use cubecl::ir::AddressType;

/// Operands where the kernels can read them, and the device.
pub(super) struct Ready<R: CubeRuntime> {
    pub x: Operand<R>,
    /// It lies as `x` does.
    pub addend: Option<CubeTensor<R>>,
    /// Of each layer, then up.
    pub weights: Vec<Operand<R>>,
    pub biases: Vec<Option<CubeTensor<R>>>,
    pub gamma: Option<CubeTensor<R>>,
    pub residual: Option<CubeTensor<R>>,
    /// Width of an index.
    pub address: AddressType,
    pub limits: Limits,
}

impl<R: CubeRuntime> Ready<R> {
    /// Views where the kernels can read them, copies elsewhere.
    pub(super) fn new(call: &Call<'_, R>, address: AddressType) -> Self {
        let layouts = [Some(call.x), call.addend].into_iter().flatten().map(find_rows).collect::<Vec<_>>();
        let (x, addend) = match layouts[0] {
            Some(layout) if layouts.iter().all(|other| *other == Some(layout)) => {
                ((call.x.clone(), layout), call.addend.cloned())
            }
            _ => (make_rows(call.x), call.addend.map(|addend| make_rows(addend).0)),
        };
        let weights = call.layers.iter().map(|layer| layer.weight).chain(call.up);
        let mut weights: Vec<_> = weights
            .map(|weight| Layout::of_rows(weight).map_or_else(|| make_rows(weight), |l| (weight.clone(), l)))
            .collect();
        if call.up.is_some() && weights[0].1 != weights[1].1 {
            weights = weights.iter().map(|(weight, _)| make_rows(weight)).collect();
        }
        let contiguous = |tensor: &CubeTensor<R>| into_contiguous(tensor.clone());
        Self {
            x,
            addend,
            weights,
            biases: call.layers.iter().map(|layer| layer.bias.map(contiguous)).collect(),
            gamma: call.norm.map(|norm| contiguous(norm.gamma)),
            residual: call.residual.map(contiguous),
            address,
            limits: Limits::read(&call.x.client),
        }
    }

    /// Layer `layer` by itself, for the tiled kernel.
    pub(super) fn select<'b>(&'b self, call: &Call<'_, R>, layer: usize) -> tiled::Operands<'b, R> {
        let weights = if call.up.is_some() { &self.weights[..] } else { &self.weights[layer..=layer] };
        tiled::Operands {
            x: &self.x,
            weights,
            norm: self.gamma.as_ref().zip(call.norm.map(|norm| norm.epsilon)),
            bias: self.biases[layer].as_ref(),
            residual: self.residual.as_ref(),
            batches: 1,
            address: self.address,
        }
    }
}

/// How the rows of `x` lie; `None` where they must be copied first.
fn find_rows<R: CubeRuntime>(tensor: &CubeTensor<R>) -> Option<Layout> {
    Layout::of_rows(tensor).filter(Layout::has_rows)
}

/// A contiguous copy.
fn make_rows<R: CubeRuntime>(tensor: &CubeTensor<R>) -> Operand<R> {
    let tensor = into_contiguous(tensor.clone());
    let shape = tensor.meta.shape().to_vec();
    let depth = shape.last().copied().unwrap_or(1);
    let side = shape.iter().rev().skip(1).product();
    (tensor, Layout { side, depth, side_stride: depth, depth_stride: 1, batch_stride: 0 })
}
