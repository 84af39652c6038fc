//! The loss of a language model's head, with its gradients or without.

use super::conversion::{Lower, lift, lower};
use crate::engine::{HeadGradients, HeadLoss, HeadLossOperands};
use crate::{Engine, Kiln};
use burn_kiln_fusion::{
    Conversion, DifferentiatedLoss, FusedOps, KernelConfig, LossForward, LossGrads, LossInputs, LossOptions, compose,
};
use burn_tensor::Tensor;

/// The engine's loss with the gradients that are wanted; none where it declines.
fn measure<B: Engine>(
    LossInputs { hidden, weight, targets }: LossInputs<'_, Kiln<B>>,
    gradients: HeadGradients,
    options: LossOptions,
    config: &KernelConfig,
) -> Option<HeadLoss<B>> {
    let operands = HeadLossOperands {
        hidden: lower(hidden),
        weight: Lower::convert_weight(weight.clone()),
        targets: targets.into_primitive(),
        options,
        gradients,
    };
    B::try_head_loss(&operands, config)
}

/// The loss alone.
pub(super) fn lm_head_cross_entropy<B: Engine>(
    inputs: LossInputs<'_, Kiln<B>>,
    options: LossOptions,
    config: &KernelConfig,
) -> LossForward<Kiln<B>> {
    match measure(inputs.clone(), HeadGradients::None, options, config) {
        Some(HeadLoss { loss, lse, .. }) => LossForward { loss: lift(loss), lse: lift(lse) },
        None => Kiln::<B>::scope(config, || compose::loss::lm_head_cross_entropy(inputs, options, config)),
    }
}

/// Gradients of the loss whose own gradient is `grad`.
pub(super) fn lm_head_cross_entropy_backward<B: Engine>(
    inputs: LossInputs<'_, Kiln<B>>,
    lse: Tensor<Kiln<B>, 2>,
    grad: Tensor<Kiln<B>, 1>,
    options: LossOptions,
    config: &KernelConfig,
) -> LossGrads<Kiln<B>> {
    match measure(inputs.clone(), HeadGradients::All, options, config) {
        Some(HeadLoss { hidden: Some(hidden), weight: Some(weight), .. }) => Kiln::<B>::scope(config, || {
            let grad = grad.unsqueeze::<2>();
            LossGrads { hidden: lift::<B, 2>(hidden) * grad.clone(), weight: lift::<B, 2>(weight) * grad }
        }),
        _ => Kiln::<B>::scope(config, || {
            compose::loss::lm_head_cross_entropy_backward(inputs, lse, grad, options, config)
        }),
    }
}

/// The loss with its gradients.
pub(super) fn lm_head_cross_entropy_differentiated<B: Engine>(
    inputs: LossInputs<'_, Kiln<B>>,
    weight_trains: bool,
    options: LossOptions,
    config: &KernelConfig,
) -> DifferentiatedLoss<Kiln<B>> {
    let gradients = if weight_trains { HeadGradients::All } else { HeadGradients::Hidden };
    match measure(inputs.clone(), gradients, options, config) {
        Some(HeadLoss { loss, lse, hidden: Some(hidden), weight }) => DifferentiatedLoss {
            forward: LossForward { loss: lift(loss), lse: lift(lse) },
            hidden: lift(hidden),
            weight: weight.map(lift),
        },
        _ => Kiln::<B>::scope(config, || {
            compose::loss::lm_head_cross_entropy_differentiated(inputs, weight_trains, options, config)
        }),
    }
}
