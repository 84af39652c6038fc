//! Mixture of experts, token by token.

use super::{Array, activate, multiply_transposed};
use crate::{Activation, MoeOptions};

/// Weights of a mixture.
#[derive(Debug, Clone, Copy)]
pub struct MoeArrays<'a> {
    /// `[experts, hidden]`.
    pub router: &'a Array,
    /// `[experts, hidden, 2 · intermediate]`, gate then up.
    pub gate_up: &'a Array,
    /// `[experts, intermediate, hidden]`.
    pub down: &'a Array,
}

/// `Σ p_e · mlp_e(x)` over the `top_k` likeliest experts of each token, `p = softmax(x·routerᵀ)`; of equal ones the
/// first.
pub fn run_moe(x: &Array, weights: MoeArrays<'_>, options: MoeOptions) -> Array {
    let logits = multiply_transposed(x, weights.router);
    let mut y = Array::zeros(&x.shape);
    for token in 0..x.rows() {
        let probabilities = soften(logits.row(token));
        let mut order: Vec<usize> = (0..probabilities.len()).collect();
        order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
        let chosen = &order[..options.top_k];
        let total: f64 = chosen.iter().map(|&expert| probabilities[expert]).sum();
        for &expert in chosen {
            let share = probabilities[expert] / if options.norm_topk_prob { total } else { 1.0 };
            let output = run_expert(x.row(token), weights, expert);
            y.row_mut(token).iter_mut().zip(output).for_each(|(y, output)| *y += share * output);
        }
    }
    y
}

/// One expert for one token.
fn run_expert(x: &[f64], weights: MoeArrays<'_>, expert: usize) -> Vec<f64> {
    let [_, hidden, products] = weights.gate_up.shape[..] else {
        panic!("gate_up has the shape {:?}, not [experts, hidden, 2 · intermediate]", weights.gate_up.shape);
    };
    let intermediate = products / 2;
    let column = |column: usize| (0..hidden).map(|i| x[i] * weights.gate_up.row(expert * hidden + i)[column]).sum();
    let gate = Array::new(&[intermediate], (0..intermediate).map(column).collect());
    let up: Vec<f64> = (intermediate..products).map(column).collect();
    let gate = activate(Activation::Silu, &gate);
    let mut output = vec![0.0; hidden];
    for (index, (gate, up)) in gate.data.iter().zip(&up).enumerate() {
        let row = weights.down.row(expert * intermediate + index);
        output.iter_mut().zip(row).for_each(|(output, weight)| *output += gate * up * weight);
    }
    output
}

/// `softmax(logits)`.
fn soften(logits: &[f64]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exponentials: Vec<f64> = logits.iter().map(|logit| (logit - max).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.into_iter().map(|value| value / sum).collect()
}
