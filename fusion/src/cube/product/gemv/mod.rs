//! Products of up to [`MAX_ROWS`] rows: each weight is read once, and that is what the time goes to.
//!
//! ```text
//! a cube, for its outputs of one layer (for each 2,048 elements of k, or fewer of several rows):
//!   all units:    x · gamma into shared memory as f32; each unit adds up the squares of what it brings          barrier
//!   each group:   a plane (warp) for 1 to 4 outputs: lanes load vectors of the weight's rows, next to each
//!                 other, and add their products with every row of x                                             barrier
//! the lanes of each group add up, by plane operations or through shared memory                                  barrier
//! a unit an output: (sum · rstd + bias), activation, residual, store
//! ```
//!
//! RMS norm costs no pass of its own: `norm(x)·Wᵀ = rstd · ((x ⊙ gamma)·Wᵀ)`, and the squares that `rstd` needs are
//! summed while `x` is staged. An addend costs none either: each cube adds it as it stages `x`, and one of them writes
//! the sum. Layers that read the same rows (queries, keys and values) share one launch, one behind the other in the
//! grid.
//!
//! Bytes: the weights once; `x` once a cube, from the second on from the L2 cache. FLOP: `2 · rows · k · n`.

mod blueprint;
mod kernel;

pub(in crate::cube) use blueprint::Wish;
pub use blueprint::{Blueprint, MAX_ROWS, MAX_ROWS_TOGETHER};

use super::{Call, Problem, operand::choose_vector, ready::Ready};
use crate::cube::Unavailable;
use burn_cubecl::{CubeRuntime, tensor::CubeTensor};
use cubecl::{CubeDim, prelude::SequenceArg};

/// Whether the kernel takes these operands: few rows, and weights whose rows lie alike.
pub(super) fn takes<R: CubeRuntime>(problem: &Problem, ready: &Ready<R>) -> bool {
    let stride = ready.weights[0].1.side_stride;
    let crowded = ready.addend.is_some() || problem.n.len() > 1;
    let most = if crowded { MAX_ROWS_TOGETHER } else { MAX_ROWS };
    problem.rows <= most && ready.weights.iter().all(|(_, layout)| layout.has_rows() && layout.side_stride == stride)
}

/// The kernel for them.
pub(super) fn plan<R: CubeRuntime>(problem: &Problem, ready: &Ready<R>, wish: Wish) -> Result<Blueprint, Unavailable> {
    let gamma = ready.gamma.iter().map(|gamma| (gamma, ready.x.1.as_one_row()));
    let addend = ready.addend.iter().map(|addend| (addend, ready.x.1));
    let operands = ready.weights.iter().chain([&ready.x]).map(|(tensor, layout)| (tensor, *layout));
    let operands = operands.chain(addend).chain(gamma);
    let bytes = problem.x.size().max(problem.weight.size());
    let vector = choose_vector(operands, ready.x.0.client.io_optimized_vector_sizes(bytes));
    Blueprint::new(problem, wish, vector, &ready.limits)
}

/// Launches it into `outputs`.
pub(super) fn launch<R: CubeRuntime>(
    call: &Call<'_, R>,
    problem: &Problem,
    ready: &Ready<R>,
    blueprint: Blueprint,
    outputs: &[CubeTensor<R>],
) -> Result<(), Unavailable> {
    let cubes = ready.limits.spread(blueprint.cubes(&problem.n))?;
    let (x, x_layout) = &ready.x;
    kernel::multiply_few_rows::launch::<R>(
        &x.client,
        cubes,
        CubeDim::new_1d(blueprint.units),
        ready.address,
        blueprint.vector,
        x.clone().into_tensor_arg(),
        ready.addend.clone().map(|addend| addend.into_tensor_arg()).into(),
        outputs.get(problem.n.len()).map(|sum| sum.clone().into_array_arg()).into(),
        ready.gamma.clone().map(|gamma| gamma.into_array_arg()).into(),
        ready.weights.iter().map(|(weight, _)| weight.clone().into_tensor_arg()).collect::<SequenceArg<R, _>>(),
        ready.biases.iter().map(|bias| bias.clone().map(|bias| bias.into_array_arg()).into()).collect(),
        ready.residual.clone().map(|residual| residual.into_array_arg()).into(),
        outputs[..problem.n.len()].iter().map(|output| output.clone().into_array_arg()).collect(),
        problem.n.iter().copied().collect(),
        problem.rows,
        problem.k / blueprint.vector,
        x_layout.side_stride / blueprint.vector,
        ready.weights[0].1.side_stride / blueprint.vector,
        (1.0 / problem.k as f64) as f32,
        call.norm.map_or(0.0, |norm| norm.epsilon) as f32,
        blueprint,
        problem.x.into(),
        problem.weight.into(),
        problem.bias.into(),
        problem.gamma.into(),
    );
    Ok(())
}
