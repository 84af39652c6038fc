//! How a product is asked for.

use super::{NAME, tiled};
use crate::{
    Activation,
    cube::{Reduction, operands::Operands},
};
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use serde::{Deserialize, Serialize};

/// How the caller wants a product done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Strategy {
    /// By the number of rows and the device's properties.
    #[default]
    Auto,
    /// By [`gemv`](super::gemv), with this reduction; [`Unavailable::Operands`] for more rows than it takes.
    ///
    /// [`Unavailable::Operands`]: crate::cube::Unavailable::Operands
    Gemv(Reduction),
    /// By [`gemv`](super::gemv), with so many outputs a group of lanes; [`Unavailable::Operands`] for more than
    /// registers allow.
    ///
    /// [`Unavailable::Operands`]: crate::cube::Unavailable::Operands
    GemvOutputs(usize),
    /// By [`tiled`], with this tile.
    Tiled(tiled::Tile),
}

/// An RMS norm of the rows before the product.
#[derive(Debug)]
pub struct RowNorm<'a, R: CubeRuntime> {
    /// `[in]`.
    pub gamma: &'a CubeTensor<R>,
    /// Added to the mean square.
    pub epsilon: f64,
}

impl<R: CubeRuntime> Clone for RowNorm<'_, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R: CubeRuntime> Copy for RowNorm<'_, R> {}

impl<R: CubeRuntime> Clone for Layer<'_, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R: CubeRuntime> Copy for Layer<'_, R> {}

/// A weight and its bias.
#[derive(Debug)]
pub struct Layer<'a, R: CubeRuntime> {
    /// `[out, in]`.
    pub weight: &'a CubeTensor<R>,
    /// `[out]`.
    pub bias: Option<&'a CubeTensor<R>>,
}

/// A product of the rows of `x` with weights.
///
/// ```text
/// x = x + addend                                                   with an addend
/// y = activation( norm(x) · weightᵀ + bias ) + residual          for each layer
/// y = silu( norm(x) · weightᵀ ) ⊙ ( norm(x) · upᵀ ) + residual     with a second weight `up`
/// ```
#[derive(Debug)]
pub struct Call<'a, R: CubeRuntime> {
    /// `[.., in]`.
    pub x: &'a CubeTensor<R>,
    /// Like `x`, added to it before the norm. The sum is one more output. For up to
    /// [`MAX_ROWS_TOGETHER`](super::gemv::MAX_ROWS_TOGETHER) rows only.
    pub addend: Option<&'a CubeTensor<R>>,
    /// Before the product.
    pub norm: Option<RowNorm<'a, R>>,
    /// The layers, 1 or more; exactly 1 with `up` or a residual.
    pub layers: Vec<Layer<'a, R>>,
    /// The weight that the first one gates, `[out, in]` as well.
    pub up: Option<&'a CubeTensor<R>>,
    /// After the bias; none with `up`, which has its own.
    pub activation: Option<Activation>,
    /// Like the output, added last.
    pub residual: Option<&'a CubeTensor<R>>,
    /// How the kernel is chosen.
    pub strategy: Strategy,
}

impl<'a, R: CubeRuntime> Call<'a, R> {
    /// `x · weightᵀ`; what is around it is set field by field.
    pub fn new(x: &'a CubeTensor<R>, weight: &'a CubeTensor<R>) -> Self {
        let layers = vec![Layer { weight, bias: None }];
        Self {
            x,
            addend: None,
            norm: None,
            layers,
            up: None,
            activation: None,
            residual: None,
            strategy: Strategy::Auto,
        }
    }

    /// All tensors, in the order in which errors name their shapes.
    pub(super) fn operands(&self) -> Operands<'a, R> {
        let layers = self.layers.iter().flat_map(|layer| [Some(layer.weight), layer.bias]);
        let rest = [self.up, self.norm.map(|norm| norm.gamma), self.residual];
        Operands::new(NAME, [Some(self.x), self.addend].into_iter().chain(layers).chain(rest))
    }
}
