//! Mixtures of experts.

use super::panels::CpuEngine;
use super::storage::OwnedFloats;
use crate::engine::{MoeBackward, MoeBackwardOperands, MoeOperands, Primitives};
use crate::routes::{Route, note};
use burn_backend::TensorMetadata;
use burn_backend::tensor::FloatTensor;
use burn_kiln_fusion::{KernelConfig, MoeOptions, MoeWeights};
use kiln_kernels::gemm::Plan;
use kiln_kernels::memory::PooledFloats;
use kiln_kernels::moe::{ExpertGradients, Experts, Gates, MoeGradients, moe, moe_backward};
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

/// A mixture's operands as slices.
struct Mixture<'a> {
    x: &'a [f32],
    /// `softmax` of the router's logits, `[tokens, experts]`.
    probabilities: PooledFloats,
    experts: Experts<'a>,
}

impl<'a> Mixture<'a> {
    /// None where the operands are for others.
    fn read<B: CpuEngine>(
        x: &'a FloatTensor<B>,
        logits: &FloatTensor<B>,
        weights: &'a MoeWeights<Primitives<B>>,
        options: MoeOptions,
        config: &KernelConfig,
    ) -> Option<Self> {
        let MoeWeights { gate_up, down, .. } = weights;
        let ([tokens, hidden], [rows, count]) = (x.shape().dims(), logits.shape().dims());
        let ([experts, width, products], [of_down, intermediate, out_width]) =
            (gate_up.shape().dims(), down.shape().dims());
        let fits = rows == tokens && [experts, of_down] == [count; 2] && [width, out_width] == [hidden; 2];
        let sizes = MoeSizes { tokens, hidden, intermediate, experts, top_k: options.top_k };
        if !fits || products != 2 * intermediate || !takes(sizes, config) {
            return None;
        }
        let (Floats::F32(x), Floats::F32(logits)) = (B::elements(x)?, B::elements(logits)?) else { return None };
        let experts = Experts { gate_up: B::elements(gate_up)?, down: B::elements(down)?, count, hidden, intermediate };
        let mut probabilities = PooledFloats::take(ElementType::F32, logits.len())?;
        let axis = Axis { outer: tokens, n: count, inner: 1 };
        softmax(Launch::from(config), SoftmaxKind::Plain, axis, Floats::F32(logits), probabilities.as_floats_mut());
        Some(Self { x, probabilities, experts })
    }

    /// Which experts are chosen.
    fn gates(&self, options: MoeOptions) -> Option<Gates<'_>> {
        let Floats::F32(probabilities) = self.probabilities.as_floats() else { return None };
        Some(Gates { probabilities, top_k: options.top_k, normalize: options.norm_topk_prob })
    }
}

/// The mixture of `x` by its router's logits, or none where the operands are for others.
pub(super) fn mix<B: CpuEngine>(
    MoeOperands { x, logits, weights, options }: &MoeOperands<B>,
    config: &KernelConfig,
) -> Option<FloatTensor<B>> {
    let mixture = Mixture::read(x, logits, weights, *options, config)?;
    let mut out = B::allocate(ElementType::F32, mixture.x.len())?;
    let FloatsMut::F32(rows) = out.as_floats_mut() else { return None };
    moe(&Plan::from(config), mixture.x, mixture.gates(*options)?, &mixture.experts, rows);
    note(Route::Moe);
    B::from_floats(out, x.shape())
}

/// The gradients of [`mix`], or none where the operands are for others.
pub(super) fn differentiate<B: CpuEngine>(
    operands: &MoeBackwardOperands<B>,
    config: &KernelConfig,
) -> Option<MoeBackward<B>> {
    let MoeBackwardOperands { x, logits, weights, options, grad, experts_train } = operands;
    let mixture = Mixture::read(x, logits, weights, *options, config)?;
    let Floats::F32(grad) = B::elements(grad).filter(|_| B::same_shape(x, grad))? else { return None };
    let allocate = |len: usize| B::allocate(ElementType::F32, len);
    let (mut dx, mut of_logits) = (allocate(mixture.x.len())?, allocate(B::len(logits))?);
    let mut stacks = match experts_train {
        true => Some([allocate(B::len(&weights.gate_up))?, allocate(B::len(&weights.down))?]),
        false => None,
    };
    {
        let (FloatsMut::F32(x), FloatsMut::F32(logits)) = (dx.as_floats_mut(), of_logits.as_floats_mut()) else {
            return None;
        };
        let experts = match stacks.as_mut().map(|stacks| stacks.each_mut().map(OwnedFloats::as_floats_mut)) {
            Some([FloatsMut::F32(gate_up), FloatsMut::F32(down)]) => Some(ExpertGradients { gate_up, down }),
            _ => None,
        };
        let to = MoeGradients { x, logits, experts };
        moe_backward(config, mixture.x, mixture.gates(*options)?, &mixture.experts, grad, to);
    }
    note(Route::MoeGradient);
    let experts = match stacks {
        Some([gate_up, down]) => {
            Some([B::from_floats(gate_up, weights.gate_up.shape())?, B::from_floats(down, weights.down.shape())?])
        }
        None => None,
    };
    Some(MoeBackward { x: B::from_floats(dx, x.shape())?, logits: B::from_floats(of_logits, logits.shape())?, experts })
}
