//! Next-token cross entropy.

use super::{Array, multiply_transposed};

/// Mean of `-log softmax(hidden·Wᵀ)[target]` over the targets that are not `ignored`; NaN when there is none.
pub fn measure_cross_entropy(hidden: &Array, weight: &Array, targets: &[i64], ignored: i64) -> f64 {
    let logits = multiply_transposed(hidden, weight);
    let (mut total, mut count) = (0.0, 0.0);
    for (row, &target) in targets.iter().enumerate() {
        if target == ignored {
            continue;
        }
        let logits = logits.row(row);
        let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let lse = max + logits.iter().map(|logit| (logit - max).exp()).sum::<f64>().ln();
        total += lse - logits[target as usize];
        count += 1.0;
    }
    total / count
}
