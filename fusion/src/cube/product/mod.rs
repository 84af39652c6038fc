//! Matrix products: linear layers with what comes before and after them, and plain products.
//!
//! Two kernels share the work. Up to [`gemv::MAX_ROWS`] rows are limited by the bytes of the weight, which [`gemv`]
//! reads once; more rows are limited by arithmetic, and [`tiled`] keeps tiles of both sides on the chip. Weights lie as
//! in a checkpoint, `[out, in]`, in f32, f16 or bf16; sums are f32.
//!
//! Error: a sum of `k` products in f32, in chains of at most `k / 32` (gemv) or `k` (tiled) additions. Chains of random
//! roundings err by about `√length · 2⁻²⁴` of the largest partial sum: 5e-6 for k = 6,144.

mod call;
mod epilogue;
pub mod gemv;
mod matmul;
mod operand;
mod problem;
mod ready;
mod rivals;
pub mod tiled;

pub use call::{Call, Layer, RowNorm, Strategy};
pub use matmul::matmul;
pub use operand::Layout;
pub(super) use operand::choose_vector;
pub use problem::Problem;
pub use rivals::{ProductClass, list_rivals};

use super::{CubeError, Unavailable, allocate_like};
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use core::fmt;
use gemv::Wish;
use ready::Ready;
use serde::{Deserialize, Serialize};

/// The kernels' name in errors.
const NAME: &str = "product";

/// Multiprocessors of a device that does not say: few, so that small products are spread.
const MULTIPROCESSORS: u32 = 8;

/// How one call is carried out.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
/// Padded rows are read where they are, as are weights however they lie; an `x` whose rows have no common distance is
/// made contiguous first, at the price of a copy. The results are enqueued, not awaited.
///
/// # Shapes
/// `x` and addend `[.., in]`, weights `[out, in]` of one dtype, biases `[out]`, `gamma` `[in]`, `residual` like the
/// output. Outputs `[.., out]` in the dtype of `x`.
///
/// # Errors
/// [`CubeError::InvalidShapes`] or [`CubeError::InvalidDtype`] when the operands don't fit, [`CubeError::MixedDevices`]
/// when they live on different devices, [`CubeError::Unavailable`] when this device lacks what the kernel needs.
/// Nothing has been launched then.
pub fn multiply<R: CubeRuntime>(call: &Call<'_, R>) -> Result<Vec<CubeTensor<R>>, CubeError> {
    let problem = Problem::new(call)?;
    let outputs: Vec<_> =
        problem.output_shapes(call).into_iter().map(|shape| allocate_like(call.x, shape, problem.x)).collect();
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
    if is_crowded(call, &problem) {
        let alone = |(layer, output)| launch(&Call { layers: vec![layer], ..*call }, core::slice::from_ref(output));
        return call.layers.iter().copied().zip(outputs).try_for_each(alone);
    }
    let address = call.operands().check_device(&outputs.iter().map(Some).collect::<Vec<_>>())?;
    let run = || -> Result<(), Unavailable> {
        let ready = Ready::new(call, address);
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
    run().map_err(|reason| call.operands().unavailable(reason))
}

/// How [`multiply`] would carry out the call. Operands that it would copy are copied.
///
/// # Errors
/// As [`multiply`].
pub fn explain<R: CubeRuntime>(call: &Call<'_, R>) -> Result<Plan, CubeError> {
    let problem = Problem::new(call)?;
    if is_crowded(call, &problem) {
        return explain(&Call { layers: vec![call.layers[0]], ..*call });
    }
    let address = call.operands().check_device(&[])?;
    plan(call, &problem, &Ready::new(call, address)).map_err(|reason| call.operands().unavailable(reason))
}

/// More rows than layers can share a launch for, but few: layers then run one after the other, each by the kernel for
/// few rows.
fn is_crowded<R: CubeRuntime>(call: &Call<'_, R>, problem: &Problem) -> bool {
    call.layers.len() > 1 && (gemv::MAX_ROWS_TOGETHER + 1..=gemv::MAX_ROWS).contains(&problem.rows)
}

/// The kernel for the call.
fn plan<R: CubeRuntime>(call: &Call<'_, R>, problem: &Problem, ready: &Ready<R>) -> Result<Plan, Unavailable> {
    let tiled = |tile| {
        let plan = |layer| tiled::plan(&ready.select(call, layer), tile, problem.activation, &ready.limits);
        (0..problem.n.len()).map(plan).collect::<Result<_, _>>().map(Plan::Tiled)
    };
    let gemv = |wish| gemv::plan(problem, ready, wish).map(Plan::Gemv);
    match call.strategy {
        Strategy::Auto if gemv::takes(problem, ready) => gemv(Wish::default()),
        Strategy::Gemv(reduction) if gemv::takes(problem, ready) => {
            gemv(Wish { reduction: Some(reduction), ..Wish::default() })
        }
        Strategy::GemvOutputs(outputs) if gemv::takes(problem, ready) => {
            gemv(Wish { outputs: Some(outputs), ..Wish::default() })
        }
        _ if call.addend.is_some() => Err(Unavailable::Operands("an addend with few rows only")),
        Strategy::Auto => tiled(None),
        Strategy::Gemv(_) | Strategy::GemvOutputs(_) => {
            Err(Unavailable::Operands("at most 8 rows, 4 with an addend, and weights whose rows lie alike"))
        }
        Strategy::Tiled(tile) => tiled(Some(tile)),
    }
}
