//! Splits of the keys that are good enough to be measured against each other.

use super::launch::{explain_attention, find_problem};
use super::{AttentionInputs, AttentionOutputs, AttentionRules, AttentionStrategy, Problem};
use crate::cube::CubeError;
use burn_cubecl::CubeRuntime;
use burn_std::DType;
use serde::{Deserialize, Serialize};

/// Up to so many rows (queries of all heads of a group) keys may be split: more rows fill a device, and each part
/// writes an output of them all.
const MAX_SPLIT_ROWS: usize = 64;

/// Attentions that should be carried out alike on one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AttentionClass {
    /// Sizes, keys rounded up to a power of two: a cache grows with each token.
    pub problem: Problem,
    /// How queries are stored.
    pub q: DType,
    /// How keys and values are stored.
    pub k: DType,
    /// Whether attention is causal.
    pub causal: bool,
    /// Whether there is a mask.
    pub masked: bool,
    /// Whether there is a bias.
    pub biased: bool,
}

impl AttentionClass {
    /// The class of a call.
    ///
    /// # Errors
    /// As [`launch_attention`](super::launch_attention).
    pub fn of<R: CubeRuntime>(
        inputs: &AttentionInputs<'_, R>,
        rules: &AttentionRules<'_>,
        outputs: &AttentionOutputs<'_, R>,
    ) -> Result<Self, CubeError> {
        let problem = find_problem(inputs, rules, outputs)?;
        let keys = problem.keys.checked_next_power_of_two().unwrap_or(problem.keys);
        Ok(Self {
            problem: Problem { keys, ..problem },
            q: inputs.q.dtype,
            k: inputs.k.dtype,
            causal: rules.causal,
            masked: inputs.mask.is_some(),
            biased: inputs.bias.is_some(),
        })
    }
}

/// [`AttentionStrategy::Auto`] first, then half, twice and four times its parts, and one. Only `Auto` for more rows
/// than keys are split for.
///
/// # Errors
/// As [`launch_attention`](super::launch_attention).
pub fn list_rivals<R: CubeRuntime>(
    inputs: &AttentionInputs<'_, R>,
    rules: &AttentionRules<'_>,
    outputs: &AttentionOutputs<'_, R>,
) -> Result<Vec<AttentionStrategy>, CubeError> {
    let mut rivals = vec![AttentionStrategy::Auto];
    if find_problem(inputs, rules, outputs)?.rows() > MAX_SPLIT_ROWS {
        return Ok(rivals);
    }
    let mut plans = vec![explain_attention(inputs, rules, outputs, AttentionStrategy::Auto)?];
    let usual = plans[0].splits;
    for splits in [1, usual / 2, 2 * usual, 4 * usual] {
        let strategy = AttentionStrategy::Splits(splits.max(1));
        match explain_attention(inputs, rules, outputs, strategy) {
            Ok(plan) if !plans.contains(&plan) => {
                plans.push(plan);
                rivals.push(strategy);
            }
            Ok(_) | Err(_) => {}
        }
    }
    Ok(rivals)
}
