//! A mixture of experts as one call of the engine.

use super::{lift, lower};
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
    if !config.fusion.moe || x.dims()[0] == 0 {
        return compose::moe::moe(x, weights, options, config);
    }
    let logits = <Kiln<B> as FusedOps>::linear(x.clone(), &weights.router, Epilogue::default(), config);
    let (rows, logits) = (lower(x.clone()), lower(logits));
    let experts = [weights.gate_up.clone(), weights.down.clone()].map(lower);
    match B::try_moe([&rows, &logits], experts.each_ref(), options, config) {
        Some(output) => lift(output),
        None => compose::moe::moe(x, weights, options, config),
    }
}
