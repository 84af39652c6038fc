//! Matrix products: linear layers with what comes before and after them, and plain products.
//!
//! Two kernels share the work. Up to [`gemv::MAX_ROWS`] rows are limited by the bytes of the weight, which [`gemv`] reads once;
//! more rows are limited by arithmetic, and [`tiled`] keeps tiles of both sides on the chip. Weights lie as in a checkpoint,
//! `[out, in]`, in f32, f16 or bf16; sums are f32.
//!
//! Error: a sum of `k` products in f32, in chains of at most `k / 32` (gemv) or `k` (tiled) additions. Chains of random roundings err by
//! about `√length · 2⁻²⁴` of the largest partial sum: 5e-6 for k = 6,144.

pub(super) mod epilogue;
pub mod gemv;
mod matmul;
mod operand;
mod problem;
pub mod tiled;

pub use matmul::matmul;
pub use operand::Layout;
pub(super) use operand::choose_vector;
pub use problem::Problem;

use super::{
    CubeError, Reduction, Unavailable,
    limits::{Limits, check_address, check_storage},
};
use crate::Activation;
use burn_cubecl::{CubeRuntime, kernel::into_contiguous, tensor::CubeTensor};
use burn_std::Shape;
use core::fmt;
use cubecl::{client::ComputeClient, ir::AddressType};
use problem::find_rows;
use tiled::Operand;

/// The kernels' name in errors.
const NAME: &str = "product";

/// Multiprocessors of a device that does not say: few, so that small products are spread.
const UNKNOWN_MULTIPROCESSORS: u32 = 8;

/// How the caller wants a product done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Strategy {
    /// By the number of rows and the device's properties.
    #[default]
    Auto,
    /// By [`gemv`], with this reduction; [`Unavailable::Operands`] for more rows than it takes.
    Gemv(Reduction),
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
    /// Like `x`, added to it before the norm. The sum is one more output. For up to [`gemv::MAX_ROWS_TOGETHER`] rows only.
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
    fn operands(&self) -> impl Iterator<Item = &'a CubeTensor<R>> {
        let layers = self.layers.iter().flat_map(|layer| [Some(layer.weight), layer.bias]);
        let rest = [self.up, self.norm.map(|norm| norm.gamma), self.residual];
        [Some(self.x), self.addend].into_iter().chain(layers).chain(rest).flatten()
    }
}

/// Operands where the kernels can read them, and the device.
struct Ready<R: CubeRuntime> {
    x: Operand<R>,
    /// It lies as `x` does.
    addend: Option<CubeTensor<R>>,
    /// Of each layer, then up.
    weights: Vec<Operand<R>>,
    biases: Vec<Option<CubeTensor<R>>>,
    gamma: Option<CubeTensor<R>>,
    residual: Option<CubeTensor<R>>,
    address: AddressType,
    limits: Limits,
    multiprocessors: u32,
}

impl<R: CubeRuntime> Ready<R> {
    fn new(call: &Call<'_, R>, problem: &Problem) -> Result<Self, Unavailable> {
        let client = &call.x.client;
        for dtype in [problem.x, problem.weight, problem.bias, problem.gamma] {
            check_storage(client, dtype)?;
        }
        let address = check_address(client, &call.operands().collect::<Vec<_>>())?;
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
        Ok(Self {
            x,
            addend,
            weights,
            biases: call.layers.iter().map(|layer| layer.bias.map(contiguous)).collect(),
            gamma: call.norm.map(|norm| contiguous(norm.gamma)),
            residual: call.residual.map(contiguous),
            address,
            limits: Limits::read(client),
            multiprocessors: count_multiprocessors(client),
        })
    }

    /// Layer `layer` by itself, for the tiled kernel.
    fn select<'b>(&'b self, call: &Call<'_, R>, layer: usize) -> tiled::Operands<'b, R> {
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

/// How one call is carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// All layers in one launch.
    Gemv(gemv::Blueprint),
    /// A launch for each layer.
    Tiled(Vec<tiled::Blueprint>),
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gemv(blueprint) => blueprint.fmt(f),
            Self::Tiled(blueprints) => blueprints[0].fmt(f),
        }
    }
}

/// Runs the call: one output a layer, then the sum where there is an addend.
///
/// Padded rows are read where they are, as are weights however they lie; an `x` whose rows have no common distance is made contiguous
/// first, at the price of a copy. The results are enqueued, not awaited.
///
/// # Shapes
/// `x` and addend `[.., in]`, weights `[out, in]` of one dtype, biases `[out]`, `gamma` `[in]`, `residual` like the output. Outputs `[.., out]` in the
/// dtype of `x`.
///
/// # Errors
/// [`CubeError::InvalidShapes`] or [`CubeError::InvalidDtype`] when the operands don't fit, [`CubeError::MixedDevices`] when they live on
/// different devices, [`CubeError::Unavailable`] when this device lacks what the kernel needs. Nothing has been launched then.
pub fn multiply<R: CubeRuntime>(call: &Call<'_, R>) -> Result<Vec<CubeTensor<R>>, CubeError> {
    let problem = Problem::new(call)?;
    let outputs: Vec<_> = problem.output_shapes(call).into_iter().map(|shape| allocate(call.x, shape)).collect();
    launch(call, &outputs)?;
    Ok(outputs)
}

/// [`multiply`] into tensors that exist.
///
/// # Errors
/// As [`multiply`]; [`CubeError::InvalidShapes`] also for outputs that don't fit.
pub fn launch<R: CubeRuntime>(call: &Call<'_, R>, outputs: &[CubeTensor<R>]) -> Result<(), CubeError> {
    let problem = Problem::new(call)?;
    problem.check_outputs(call, outputs)?;
    if problem.rows == 0 || problem.n.iter().all(|&n| n == 0) && call.addend.is_none() {
        return Ok(());
    }
    // More rows than layers can share a launch for: one after the other, each by the kernel for few rows.
    if call.layers.len() > 1 && (gemv::MAX_ROWS_TOGETHER + 1..=gemv::MAX_ROWS).contains(&problem.rows) {
        let alone = |(layer, output)| launch(&Call { layers: vec![layer], ..*call }, core::slice::from_ref(output));
        return call.layers.iter().copied().zip(outputs).try_for_each(alone);
    }
    let run = || -> Result<(), Unavailable> {
        let ready = Ready::new(call, &problem)?;
        match plan(call, &problem, &ready)? {
            Plan::Gemv(blueprint) => gemv::launch(call, &problem, &ready, blueprint, outputs),
            Plan::Tiled(blueprints) => {
                for (layer, blueprint) in blueprints.into_iter().enumerate().filter(|&(layer, _)| problem.n[layer] > 0)
                {
                    tiled::launch(&ready.select(call, layer), blueprint, &ready.limits, &outputs[layer])?;
                }
                Ok(())
            }
        }
    };
    run().map_err(|reason| problem.explain_unavailable(call, reason))
}

/// How [`multiply`] would carry out the call. Operands that it would copy are copied.
///
/// # Errors
/// As [`multiply`].
pub fn explain<R: CubeRuntime>(call: &Call<'_, R>) -> Result<Plan, CubeError> {
    let problem = Problem::new(call)?;
    Ready::new(call, &problem)
        .and_then(|ready| plan(call, &problem, &ready))
        .map_err(|reason| problem.explain_unavailable(call, reason))
}

/// The kernel for the call.
fn plan<R: CubeRuntime>(call: &Call<'_, R>, problem: &Problem, ready: &Ready<R>) -> Result<Plan, Unavailable> {
    let tiled = |tile| {
        let plan = |layer| {
            tiled::plan(&ready.select(call, layer), tile, problem.activation, &ready.limits, ready.multiprocessors)
        };
        (0..problem.n.len()).map(plan).collect::<Result<_, _>>().map(Plan::Tiled)
    };
    match call.strategy {
        Strategy::Auto if gemv::takes(problem, ready) => gemv::plan(problem, ready, None).map(Plan::Gemv),
        Strategy::Gemv(reduction) if gemv::takes(problem, ready) => {
            gemv::plan(problem, ready, Some(reduction)).map(Plan::Gemv)
        }
        _ if call.addend.is_some() => Err(Unavailable::Operands("an addend with few rows only")),
        Strategy::Auto => tiled(None),
        Strategy::Gemv(_) => {
            Err(Unavailable::Operands("at most 8 rows, 4 with an addend, and weights whose rows lie alike"))
        }
        Strategy::Tiled(tile) => tiled(Some(tile)),
    }
}

/// A contiguous copy.
fn make_rows<R: CubeRuntime>(tensor: &CubeTensor<R>) -> Operand<R> {
    let tensor = into_contiguous(tensor.clone());
    let shape = tensor.meta.shape().to_vec();
    let depth = shape.last().copied().unwrap_or(1);
    let side = shape.iter().rev().skip(1).product();
    (tensor, Layout { side, depth, side_stride: depth, depth_stride: 1, batch_stride: 0 })
}

/// Multiprocessors of the device.
fn count_multiprocessors<R: CubeRuntime>(client: &ComputeClient<R>) -> u32 {
    client.properties().hardware.num_streaming_multiprocessors.unwrap_or(UNKNOWN_MULTIPROCESSORS)
}

/// An uninitialised contiguous tensor on the device of `like`, in its dtype.
fn allocate<R: CubeRuntime>(like: &CubeTensor<R>, shape: Shape) -> CubeTensor<R> {
    let handle = like.client.empty(shape.num_elements() * like.dtype.size());
    CubeTensor::new_contiguous(like.client.clone(), like.device.clone(), shape, handle, like.dtype)
}
