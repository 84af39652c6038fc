//! Attention by its measured strategy.

use super::{
    Choice, Class,
    files::{choose, recall},
    is_on,
};
use burn_cubecl::CubeRuntime;
use burn_kiln_fusion::{
    KernelConfig,
    cube::{
        AttentionInputs, AttentionOutputs, AttentionRules, AttentionStrategy, CubeError,
        attention::{AttentionClass, list_rivals},
        launch_attention,
    },
};

/// [`launch_attention`] by the strategy that is the fastest, where the configuration asks for it. Measuring writes the
/// outputs again and again, with the same numbers but for the order of sums.
pub(in crate::gpu) fn tune_attention<R: CubeRuntime>(
    inputs: &AttentionInputs<'_, R>,
    rules: &AttentionRules<'_>,
    outputs: &AttentionOutputs<'_, R>,
    config: &KernelConfig,
) -> Result<(), CubeError> {
    let run = |strategy| launch_attention(inputs, rules, outputs, strategy);
    if !is_on(config) {
        return run(AttentionStrategy::Auto);
    }
    let rivals = || {
        let list = list_rivals(inputs, rules, outputs)?;
        Ok(list.into_iter().map(|strategy| (strategy, Choice::Attention(strategy))).collect())
    };
    let class = Class::Attention(AttentionClass::of(inputs, rules, outputs)?);
    match choose::<R, AttentionStrategy>(&inputs.q.device, class, config, rivals, &run)? {
        Choice::Attention(strategy) => run(strategy),
        Choice::Product(_) => run(AttentionStrategy::Auto),
    }
}

/// The strategy that [`tune_attention`] would take, if it is known.
pub(in crate::gpu) fn find_attention<R: CubeRuntime>(
    inputs: &AttentionInputs<'_, R>,
    rules: &AttentionRules<'_>,
    outputs: &AttentionOutputs<'_, R>,
    config: &KernelConfig,
) -> AttentionStrategy {
    let known = || {
        let class = AttentionClass::of(inputs, rules, outputs).ok()?;
        recall::<R>(&inputs.q.device, &Class::Attention(class))
    };
    match is_on(config).then(known).flatten() {
        Some(Choice::Attention(strategy)) => strategy,
        _ => AttentionStrategy::Auto,
    }
}
