//! AdamW.

use super::Array;
use crate::AdamWOptions;

/// A parameter with its moments.
#[derive(Debug, Clone)]
pub struct AdamWArrays {
    /// The parameter.
    pub parameter: Array,
    /// Its first moment.
    pub moment_1: Array,
    /// Its second moment.
    pub moment_2: Array,
}

/// One step in the order of PyTorch's documentation: decay, moments, bias corrections, update; of the scaled gradient.
pub fn step_adamw(state: &AdamWArrays, grad: &Array, options: AdamWOptions) -> AdamWArrays {
    let AdamWOptions { learning_rate, beta_1, beta_2, epsilon, weight_decay, step, grad_scale } = options;
    let grad = &grad.map(|g| grad_scale * g);
    let decayed = state.parameter.map(|p| p - learning_rate * weight_decay * p);
    let moment_1 = state.moment_1.zip(grad, |m, g| beta_1 * m + (1.0 - beta_1) * g);
    let moment_2 = state.moment_2.zip(grad, |v, g| beta_2 * v + (1.0 - beta_2) * g * g);
    let corrected_1 = moment_1.map(|m| m / (1.0 - beta_1.powf(step as f64)));
    let corrected_2 = moment_2.map(|v| v / (1.0 - beta_2.powf(step as f64)));
    let update = corrected_1.zip(&corrected_2, |m, v| learning_rate * m / (v.sqrt() + epsilon));
    AdamWArrays { parameter: decayed.zip(&update, |p, update| p - update), moment_1, moment_2 }
}
