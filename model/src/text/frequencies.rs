//! Rotary frequencies, and how they are changed for contexts longer than those of the training.
//!
//! ```text
//! b_i      = θ^(2i / d),  i < d / 2                           d = head_dim
//! default    f_i = 1 / b_i
//! linear     f_i = 1 / (factor · b_i)
//! dynamic    θ is θ · (factor · n / m - (factor - 1))^(d / (d - 2)) for a sequence of n > m positions,
//!            m = max_position_embeddings
//! yarn       f_i = r_i / (factor · b_i) + (1 - r_i) / b_i
//!            r_i = clamp((i - low) / (high - low), 0, 1)
//!            low, high = where a frequency turns beta_fast and beta_slow times in the original context:
//!            c(β) = d · ln(original / (2π β)) / (2 ln θ), low rounded down and high up (`truncate`),
//!            then cut to 0..d-1
//! ```
//!
//! As `modeling_rope_utils.py` of HF 5.23 has them, in f32 where it uses f32. One thing differs: HF's `dynamic` keeps
//! the base of the longest sequence so far until a short one comes, so that an answer depends on what ran before; here
//! each pass has the base of its own sequence, which is HF's for a model that ran nothing before. Keys that are in the
//! cache keep the base of the pass that made them, as in HF.
//!
//! Sources: "YaRN" (Peng and others 2023, arXiv 2309.00071), "NTK-aware scaled RoPE" (bloc97, 2023).

use crate::config::{RopeScaling, TextConfig, YarnConfig};
use std::f64::consts::PI;

/// What is added where `low` and `high` are the same, so that nothing is divided by 0.
const LEAST_RAMP: f64 = 1e-3;

/// The frequencies of `config` for a sequence whose positions are below `positions`.
pub(super) fn list_frequencies(config: &TextConfig, positions: usize) -> Vec<f32> {
    let (dim, theta) = (config.rotary_dim(), config.rope_theta as f32);
    let powers = |theta: f32| (0..dim / 2).map(move |i| theta.powf((2 * i) as f32 / dim as f32));
    match &config.rope_scaling {
        RopeScaling::Unscaled => powers(theta).map(|power| 1.0 / power).collect(),
        RopeScaling::Linear { factor } => powers(theta).map(|power| 1.0 / power / *factor as f32).collect(),
        RopeScaling::Dynamic { factor } => {
            let trained = config.max_position_embeddings;
            if positions <= trained {
                return powers(theta).map(|power| 1.0 / power).collect();
            }
            let growth = *factor as f32 * positions as f32 / trained as f32 - (factor - 1.0) as f32;
            let theta = theta * growth.powf((dim as f64 / (dim as f64 - 2.0)) as f32);
            powers(theta).map(|power| 1.0 / power).collect()
        }
        RopeScaling::Yarn(yarn) => {
            let (low, high) = find_ramp(yarn, dim, config.rope_theta);
            let ramp = |i: usize| ((i as f32 - low as f32) / (high - low) as f32).clamp(0.0, 1.0);
            let factor = yarn.factor as f32;
            let mix = |(i, power): (usize, f32)| {
                let kept = 1.0 - ramp(i);
                1.0 / (factor * power) * (1.0 - kept) + 1.0 / power * kept
            };
            powers(theta).enumerate().map(mix).collect()
        }
    }
}

/// What cosines and sines are multiplied with.
pub(super) fn attention_scale(config: &TextConfig) -> f64 {
    match &config.rope_scaling {
        RopeScaling::Yarn(yarn) => yarn.attention_scale(),
        RopeScaling::Unscaled | RopeScaling::Linear { .. } | RopeScaling::Dynamic { .. } => 1.0,
    }
}

/// The first mixed frequency and the one behind the last.
fn find_ramp(yarn: &YarnConfig, dim: usize, theta: f64) -> (f64, f64) {
    let original = yarn.original_max_position_embeddings as f64;
    let place = |turns: f64| dim as f64 * (original / (turns * 2.0 * PI)).ln() / (2.0 * theta.ln());
    let (mut low, mut high) = (place(yarn.beta_fast), place(yarn.beta_slow));
    if yarn.truncate {
        (low, high) = (low.floor(), high.ceil());
    }
    (low, high) = (low.max(0.0), high.min(dim as f64 - 1.0));
    if low == high {
        high += LEAST_RAMP;
    }
    (low, high)
}
