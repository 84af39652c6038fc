//! A mixture of experts as one call of the engine, and its gradients as another.

use super::conversion::{Lower, lift, lower};
use crate::engine::{MoeBackward, MoeBackwardOperands, MoeOperands};
use crate::fused_group::FusedGroup;
use crate::{Engine, Kiln};
use burn_backend::tensor::FloatTensor;
use burn_kiln_fusion::{
    Epilogue, FusedOps, KernelConfig, MoeGrads, MoeInputGrads, MoeOptions, MoeWeights, TrainingOps, compose,
};
use burn_tensor::Tensor;

/// The engine's kernel where it takes the operands, else the composition.
pub(super) fn moe<B: Engine>(
    x: Tensor<Kiln<B>, 2>,
    weights: &MoeWeights<Kiln<B>>,
    options: MoeOptions,
    config: &KernelConfig,
) -> Tensor<Kiln<B>, 2> {
    let fall_back = |x| Kiln::<B>::scope(config, || compose::moe::moe(x, weights, options, config));
    if !FusedGroup::Moe.is_on(&config.fusion) || x.dims()[0] == 0 {
        return fall_back(x);
    }
    let logits = <Kiln<B> as FusedOps>::linear(x.clone(), &weights.router, Epilogue::default(), config);
    let weights = weights.clone().convert::<Lower<B>>();
    let operands = MoeOperands { x: lower(x), logits: lower(logits), weights, options };
    match B::try_moe(&operands, config) {
        Some(output) => lift(output),
        None => fall_back(lift(operands.x)),
    }
}

/// The gradients of a mixture whose experts train.
pub(super) fn moe_backward<B: Engine>(
    x: Tensor<Kiln<B>, 2>,
    weights: &MoeWeights<Kiln<B>>,
    options: MoeOptions,
    grad: Tensor<Kiln<B>, 2>,
    config: &KernelConfig,
) -> MoeGrads<Kiln<B>> {
    match differentiate(&x, weights, options, &grad, true, config) {
        Some((MoeInputGrads { x, router }, Some([gate_up, down]))) => {
            MoeGrads { x, router, gate_up: lift(gate_up), down: lift(down) }
        }
        _ => Kiln::<B>::scope(config, || compose::moe::moe_backward(x, weights, options, grad, config)),
    }
}

/// The same with frozen experts.
pub(super) fn moe_input_backward<B: Engine>(
    x: Tensor<Kiln<B>, 2>,
    weights: &MoeWeights<Kiln<B>>,
    options: MoeOptions,
    grad: Tensor<Kiln<B>, 2>,
    config: &KernelConfig,
) -> MoeInputGrads<Kiln<B>> {
    match differentiate(&x, weights, options, &grad, false, config) {
        Some((grads, _)) => grads,
        None => Kiln::<B>::scope(config, || compose::moe::moe_input_backward(x, weights, options, grad, config)),
    }
}

/// Gradients of the tokens and of the router, and those of the experts.
type Differentiated<B> = (MoeInputGrads<Kiln<B>>, Option<[FloatTensor<B>; 2]>);

/// The gradients of the tokens and of the router, and those of the experts where they train; none where the engine
/// declines. The router is a linear layer of its own.
fn differentiate<B: Engine>(
    x: &Tensor<Kiln<B>, 2>,
    weights: &MoeWeights<Kiln<B>>,
    options: MoeOptions,
    grad: &Tensor<Kiln<B>, 2>,
    experts_train: bool,
    config: &KernelConfig,
) -> Option<Differentiated<B>> {
    if !FusedGroup::Moe.is_on(&config.fusion) || x.dims()[0] == 0 {
        return None;
    }
    let logits = <Kiln<B> as FusedOps>::linear(x.clone(), &weights.router, Epilogue::default(), config);
    let operands = MoeBackwardOperands {
        x: lower(x.clone()),
        logits: lower(logits),
        weights: weights.clone().convert::<Lower<B>>(),
        options,
        grad: lower(grad.clone()),
        experts_train,
    };
    let MoeBackward { x: sum, logits, experts } = B::try_moe_backward(&operands, config)?;
    let logits = lift::<B, 2>(logits);
    let router = Kiln::<B>::linear_weight_gradient(x.clone(), logits.clone(), None, config);
    let x = Kiln::<B>::linear_input_gradient(&weights.router, logits, Some(lift(sum)), config);
    Some((MoeInputGrads { x, router }, experts))
}
