//! Products of many rows: tiles in shared memory, smaller ones in registers.
//!
//! ```text
//! a cube, for its tile of the output; for each step of 8 or 16 of the depth, one barrier a step:
//!   each unit:  its part of the step's two sides from global memory into registers, as f32
//!               the products of the step before, from one half of shared memory, into 4 x 4 or 8 x 8 sums
//!               what it holds into the other half
//! each unit: (sum · rstd + bias), activation, residual, store
//! ```
//!
//! Shared memory holds vectors of four along the depth, for that is how rows of `x` and of a weight lie: no
//! transposition on the way in, and one load for four products with each of the other side's rows. Loads of global
//! memory that lie otherwise, or end within four, are single elements. What is outside of a matrix is 0 and is not
//! read.
//!
//! Gate and up are one product: half of a tile's columns are rows of the gate's weight, half are the same rows of up's.
//! A unit has both sums of an output. RMS norm costs no pass of its own: `norm(x)·Wᵀ = rstd · ((x ⊙ gamma)·Wᵀ)`, and a
//! cube sees all elements of its rows, so the squares are summed as they come by.
//!
//! Bytes: each side once for every tile of the other, mostly from the L2 cache. FLOP: `2 · rows · k · n`.

mod blueprint;
mod kernel;
mod load;

pub use blueprint::{Blueprint, Gather, Tile};

use super::{Layout, MULTIPROCESSORS, operand::choose_vector};
use crate::cube::{Unavailable, limits::Limits};
use blueprint::WIDTH;
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use burn_std::DType;
use cubecl::{CubeDim, ir::AddressType, prelude::SequenceArg};
use load::SideLaunch;

/// A tensor and how it is read.
pub(super) type Operand<R> = (CubeTensor<R>, Layout);

/// Operands of one launch, checked and where the kernel can read them.
pub(super) struct Operands<'a, R: CubeRuntime> {
    /// Left side.
    pub x: &'a Operand<R>,
    /// Right side, or gate and up.
    pub weights: &'a [Operand<R>],
    /// The norm's weight and epsilon.
    pub norm: Option<(&'a CubeTensor<R>, f64)>,
    /// A number a column.
    pub bias: Option<&'a CubeTensor<R>>,
    /// Like the output.
    pub residual: Option<&'a CubeTensor<R>>,
    /// Matrices in the batch.
    pub batches: usize,
    /// Width of an index.
    pub address: AddressType,
}

impl<R: CubeRuntime> Operands<'_, R> {
    /// The loads of `x`, and of gamma with it.
    fn gather_x(&self) -> Gather {
        let (x, layout) = self.x;
        let gamma = self.norm.map(|(gamma, _)| (gamma, layout.as_one_row()));
        Gather::new(layout, choose_vector([(x, *layout)].into_iter().chain(gamma), [WIDTH].into_iter()) == WIDTH)
    }

    /// The loads of the weights.
    fn gather_weights(&self) -> Gather {
        let weights = self.weights.iter().map(|(tensor, layout)| (tensor, *layout));
        Gather::new(&self.weights[0].1, choose_vector(weights, [WIDTH].into_iter()) == WIDTH)
    }
}

/// The kernel for them: `tile`, or the one that the device's size suggests.
pub(super) fn plan<R: CubeRuntime>(
    operands: &Operands<'_, R>,
    tile: Option<Tile>,
    activation: Option<crate::Activation>,
    limits: &Limits,
) -> Result<Blueprint, Unavailable> {
    let (rows, columns) = (operands.x.1.side, operands.weights[0].1.side);
    let gated = operands.weights.len() == 2;
    let multiprocessors = limits.multiprocessors.unwrap_or(MULTIPROCESSORS);
    let blueprint = Blueprint {
        tile: tile.unwrap_or_else(|| Tile::choose(rows, columns, gated, operands.batches, multiprocessors)),
        x: operands.gather_x(),
        weight: operands.gather_weights(),
        gated,
        norm: operands.norm.is_some(),
        activation,
    };
    blueprint.check(limits)
}

/// Launches it into `output`, contiguous.
pub(super) fn launch<R: CubeRuntime>(
    operands: &Operands<'_, R>,
    blueprint: Blueprint,
    limits: &Limits,
    output: &CubeTensor<R>,
) -> Result<(), Unavailable> {
    let (x, x_layout) = operands.x;
    let (weight, weight_layout) = &operands.weights[0];
    let cubes = blueprint.tile.cubes(x_layout.side, weight_layout.side, blueprint.gated) * operands.batches;
    let cubes = limits.spread(cubes)?;
    let dtype = |tensor: Option<&CubeTensor<R>>| tensor.map_or(DType::F32, |tensor| tensor.dtype);
    let (gamma, epsilon) = operands.norm.unzip();
    kernel::multiply_tiles::launch::<R>(
        &x.client,
        cubes,
        CubeDim::new_1d(blueprint.tile.units() as u32),
        operands.address,
        blueprint.x.width(),
        blueprint.weight.width(),
        x.clone().into_tensor_arg(),
        gamma.map(|gamma| gamma.clone().into_array_arg()).into(),
        operands.weights.iter().map(|(weight, _)| weight.clone().into_tensor_arg()).collect::<SequenceArg<R, _>>(),
        operands.bias.map(|bias| bias.clone().into_array_arg()).into(),
        operands.residual.map(|residual| residual.clone().into_array_arg()).into(),
        output.clone().into_array_arg(),
        describe(x_layout, blueprint.x),
        describe(weight_layout, blueprint.weight),
        x_layout.depth,
        operands.batches,
        (1.0 / x_layout.depth as f64) as f32,
        epsilon.unwrap_or(0.0) as f32,
        blueprint,
        x.dtype.into(),
        weight.dtype.into(),
        dtype(operands.bias).into(),
        dtype(gamma).into(),
    );
    Ok(())
}

/// Distances in loads.
fn describe<R: CubeRuntime>(layout: &Layout, gather: Gather) -> SideLaunch<R> {
    let width = gather.width();
    SideLaunch::new(layout.side, layout.side_stride / width, layout.depth_stride, layout.batch_stride / width)
}
