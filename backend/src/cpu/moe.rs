//! Mixtures of experts.

use super::panels::CpuEngine;
use crate::engine::MoeOperands;
use crate::routes::{Route, note};
use burn_backend::TensorMetadata;
use burn_backend::tensor::FloatTensor;
use burn_kiln_fusion::{KernelConfig, MoeWeights};
use kiln_kernels::gemm::Plan;
use kiln_kernels::memory::PooledFloats;
use kiln_kernels::moe::{Experts, Gates, moe};
use kiln_kernels::softmax::{Axis, SoftmaxKind, softmax};
use kiln_kernels::{ElementType, Floats, FloatsMut, Launch};

/// Sizes of a mixture.
#[derive(Debug, Clone, Copy)]
pub(super) struct MoeSizes {
    /// Rows.
    pub tokens: usize,
    /// Length of a row.
    pub hidden: usize,
    /// Length of an expert's hidden row.
    pub intermediate: usize,
    /// How many experts there are.
    pub experts: usize,
    /// Experts of a token.
    pub top_k: usize,
}

/// Whether a mixture of these sizes is one op.
pub(super) fn takes(sizes: MoeSizes, config: &KernelConfig) -> bool {
    let MoeSizes { tokens, hidden, intermediate, experts, top_k } = sizes;
    let enabled = config.tiling.enabled && config.simd.enabled && config.blocking.enabled;
    enabled && ![tokens, hidden, intermediate].contains(&0) && (1..=experts).contains(&top_k)
}

/// The mixture of `x` by its router's logits, or none where the operands are for others.
pub(super) fn mix<B: CpuEngine>(
    MoeOperands { x, logits, weights, options }: &MoeOperands<B>,
    config: &KernelConfig,
) -> Option<FloatTensor<B>> {
    let MoeWeights { gate_up, down, .. } = weights;
    let ([tokens, hidden], [rows, count]) = (x.shape().dims(), logits.shape().dims());
    let ([experts, width, products], [of_down, intermediate, out_width]) =
        (gate_up.shape().dims(), down.shape().dims());
    let fits = rows == tokens && [experts, of_down] == [count; 2] && [width, out_width] == [hidden; 2];
    let sizes = MoeSizes { tokens, hidden, intermediate, experts, top_k: options.top_k };
    if !fits || products != 2 * intermediate || !takes(sizes, config) {
        return None;
    }
    let (Floats::F32(x_rows), Floats::F32(logits)) = (B::elements(x)?, B::elements(logits)?) else { return None };
    let experts = Experts { gate_up: B::elements(gate_up)?, down: B::elements(down)?, count, hidden, intermediate };
    let plan = Plan::from(config);
    let mut probabilities = PooledFloats::take(ElementType::F32, logits.len())?;
    let axis = Axis { outer: tokens, n: count, inner: 1 };
    softmax(Launch::from(config), SoftmaxKind::Plain, axis, Floats::F32(logits), probabilities.as_floats_mut());
    let Floats::F32(probabilities) = probabilities.as_floats() else { return None };
    let gates = Gates { probabilities, top_k: options.top_k, normalize: options.norm_topk_prob };
    let mut out = B::allocate(ElementType::F32, x_rows.len())?;
    let FloatsMut::F32(rows) = out.as_floats_mut() else { return None };
    moe(&plan, x_rows, gates, &experts, rows);
    note(Route::Moe);
    B::from_floats(out, x.shape())
}
