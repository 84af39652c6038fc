//! Log-probabilities: `log p = logit - log Σ exp(logit)`, of the model's own logits, before penalties and temperature.

/// Log-probabilities of one token of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Logprobs {
    /// That of the token chosen; at most 0.
    pub chosen: f64,
    /// The likeliest tokens, the likeliest first, of equals the one of lower id; the token chosen may be among them.
    pub top: Vec<Alternative>,
}

/// A token that could have been chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alternative {
    /// The token.
    pub token: u32,
    /// Its log-probability.
    pub logprob: f64,
}

/// The log-probability of `token` and of the `count` likeliest. `ranked` is room to work in. There is no NaN in
/// `logits`, one of them is above -inf, and one of them is `token`'s.
pub(super) fn measure(logits: &[f32], token: u32, count: usize, ranked: &mut Vec<u32>) -> Logprobs {
    let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    // Equal ones first: +inf minus itself is NaN, and tokens of +inf share the probability.
    let above = |logit: f32| if f64::from(logit) == largest { 0.0 } else { f64::from(logit) - largest };
    let log_sum = logits.iter().map(|&logit| above(logit).exp()).sum::<f64>().ln();
    let find = |token: u32| above(logits[token as usize]) - log_sum;

    let count = count.min(logits.len());
    let mut top = Vec::with_capacity(count);
    if count > 0 {
        // A zero added makes the two zeros one.
        let logit = |token: &u32| logits[*token as usize] + 0.0;
        let likelier = |a: &u32, b: &u32| logit(b).total_cmp(&logit(a)).then(a.cmp(b));
        ranked.clear();
        ranked.extend((0u32..).zip(logits).map(|(token, _)| token));
        ranked.select_nth_unstable_by(count - 1, likelier);
        ranked[..count].sort_unstable_by(likelier);
        top.extend(ranked[..count].iter().map(|&token| Alternative { token, logprob: find(token) }));
    }
    Logprobs { chosen: find(token), top }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn infinite_logits_share() {
        let logits = [1.0, f32::INFINITY, f32::NEG_INFINITY, f32::INFINITY];
        let found = measure(&logits, 3, 9, &mut Vec::new());
        let half = 0.5f64.ln();
        assert_eq!(found.chosen, half);
        let top: Vec<(u32, f64)> = found.top.iter().map(|other| (other.token, other.logprob)).collect();
        assert_eq!(top, [(1, half), (3, half), (0, f64::NEG_INFINITY), (2, f64::NEG_INFINITY)]);
    }
}
