//! Rotary embedding, alone and after the head norms.

use super::conversion::{Lift, Lower, lift, lower};
use crate::engine::{QkNormRopeOperands, RopeOperands};
use crate::fused_group::FusedGroup;
use crate::{Engine, Kiln};
use burn_backend::tensor::FloatTensor;
use burn_kiln_fusion::{FusedOps, HeadNorms, KernelConfig, QueryKey, RmsWeights, Rotary, compose};
use burn_tensor::Tensor;

/// The engine's kernel where it takes the operands, else the composition.
pub(super) fn rope<B: Engine>(
    x: Tensor<Kiln<B>, 4>,
    rotary: &Rotary<Kiln<B>>,
    config: &KernelConfig,
) -> Tensor<Kiln<B>, 4> {
    let angles = rotary.clone().convert::<Lower<B>>();
    let operands = RopeOperands { x: lower(x), norm: None, rotary: &angles };
    match B::try_rope(&operands, config) {
        Some(output) => lift(output),
        None => Kiln::<B>::scope(config, || compose::rope::rope(lift(operands.x), rotary, config)),
    }
}

/// Both as one op of the engine; else each as one, with its norm; else the composition.
pub(super) fn qk_norm_rope<B: Engine>(
    heads: QueryKey<Kiln<B>>,
    norms: HeadNorms<Kiln<B>>,
    rotary: &Rotary<Kiln<B>>,
    config: &KernelConfig,
) -> QueryKey<Kiln<B>> {
    if !FusedGroup::Heads.is_on(&config.fusion) {
        return Kiln::<B>::scope(config, || compose::rope::qk_norm_rope(heads, norms, rotary, config));
    }
    let angles = rotary.clone().convert::<Lower<B>>();
    let (heads, norms) = (heads.convert::<Lower<B>>(), norms.convert::<Lower<B>>());
    let operands = QkNormRopeOperands { heads, norms, rotary: &angles };
    if let Some(heads) = B::try_qk_norm_rope(&operands, config) {
        return heads.convert::<Lift<B>>();
    }
    let QkNormRopeOperands { heads, norms, .. } = operands;
    let HeadNorms { q_gamma, k_gamma, epsilon } = norms;
    let one = |x: FloatTensor<B>, gamma: FloatTensor<B>| {
        let norm = RmsWeights { gamma: gamma.clone(), epsilon };
        let operands = RopeOperands { x, norm: Some(norm), rotary: &angles };
        match B::try_rope(&operands, config) {
            Some(output) => lift(output),
            None => {
                let normed = Kiln::<B>::rms_norm(lift(operands.x), lift(gamma), epsilon, config);
                Kiln::<B>::rope(normed, rotary, config)
            }
        }
    };
    QueryKey { q: one(heads.q, q_gamma), k: one(heads.k, k_gamma) }
}
