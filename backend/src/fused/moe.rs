//! A mixture of experts as one call of the engine.

use super::conversion::{Lower, lift, lower};
use crate::engine::MoeOperands;
use crate::fused_group::FusedGroup;
use crate::{Engine, Kiln};
use burn_kiln_fusion::{Epilogue, FusedOps, KernelConfig, MoeOptions, MoeWeights, compose};
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
