//! The tokens that remain after top-k, top-p and min-p, found without sorting the vocabulary.
//!
//! ```text
//! top-k  keep s >= the k-th largest s                               (one selection)
//! weight w = exp((s - largest s) / temperature)
//! top-p  by descending w, keep while the sum of those before < p · sum    (selections of growing blocks)
//! min-p  keep w >= min_p                                            (the largest w is 1)
//! ```

use super::Sampling;

/// Tokens of the nucleus that are ranked first; four times as many each time that they don't hold its mass, so that six
/// blocks cover Qwen's vocabulary. Measured over 151,936 tokens (deviation of the logits 3): 1 ms without top-p, 4 ms
/// with 0.95 at temperature 1, 16 ms at temperature 8; 0.6 ms after a top-k of 20.
const FIRST_BLOCK: usize = 256;

/// A token that can be drawn. Its probability is its weight over the sum of all weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// The token.
    pub token: u32,
    /// Its probability over the likeliest token's: within 0..=1, and 1 for the likeliest.
    pub weight: f64,
}

/// Score of the `count`-th largest, or of none where all remain. `ranked` is room to work in.
pub(super) fn find_threshold(scores: &[f64], count: usize, ranked: &mut Vec<f64>) -> f64 {
    if count == 0 || count >= scores.len() {
        return f64::NEG_INFINITY;
    }
    ranked.clear();
    ranked.extend_from_slice(scores);
    *ranked.select_nth_unstable_by(count - 1, |a, b| b.total_cmp(a)).1
}

/// Fills `candidates` with the tokens of `scores` that have at least `threshold`, by token. `largest` is the largest
/// score, not -inf; where it is +inf, the tokens that have it share the probability.
pub(super) fn weigh(scores: &[f64], largest: f64, threshold: f64, temperature: f64, candidates: &mut Vec<Candidate>) {
    candidates.clear();
    let kept = (0u32..).zip(scores).filter(|&(_, &score)| score >= threshold);
    candidates.extend(kept.filter_map(|(token, &score)| {
        // Equal scores first: +inf minus itself is NaN.
        let weight = if score == largest { 1.0 } else { ((score - largest) / temperature).exp() };
        (weight > 0.0).then_some(Candidate { token, weight })
    }));
}

/// Applies top-p, then min-p. The order by token stays.
pub(super) fn cut(candidates: &mut Vec<Candidate>, sampling: &Sampling) {
    if sampling.top_p < 1.0 {
        cut_nucleus(candidates, sampling.top_p);
    }
    if sampling.min_p > 0.0 {
        candidates.retain(|candidate| candidate.weight >= sampling.min_p);
    }
}

/// Keeps the likeliest candidates that hold `share` of the weight; of equal ones, those of lower id.
fn cut_nucleus(candidates: &mut Vec<Candidate>, share: f64) {
    let likelier = |a: &Candidate, b: &Candidate| b.weight.total_cmp(&a.weight).then(a.token.cmp(&b.token));
    let mass = share * sum_weights(candidates);
    let (mut before, mut ranked, mut block) = (0.0, 0, FIRST_BLOCK);
    'blocks: while ranked < candidates.len() {
        let rest = &mut candidates[ranked..];
        if rest.len() > block {
            rest.select_nth_unstable_by(block - 1, likelier);
        }
        let size = block.min(rest.len());
        rest[..size].sort_unstable_by(likelier);
        for candidate in &rest[..size] {
            if before >= mass {
                break 'blocks;
            }
            before += candidate.weight;
            ranked += 1;
        }
        block *= 4;
    }
    candidates.truncate(ranked);
    candidates.sort_unstable_by_key(|candidate| candidate.token);
}

/// Sum of all weights, in their order.
pub(super) fn sum_weights(candidates: &[Candidate]) -> f64 {
    candidates.iter().map(|candidate| candidate.weight).sum()
}
