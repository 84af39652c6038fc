//! Attention, query by query.

use super::Array;

/// Operands of attention: `q` `[batch, heads, queries, d]`, `k` and `v` `[batch, kv_heads, keys, d]`.
#[derive(Debug, Clone, Copy)]
pub struct AttentionArrays<'a> {
    /// Queries.
    pub q: &'a Array,
    /// Keys.
    pub k: &'a Array,
    /// Values.
    pub v: &'a Array,
}

/// How scores are made and which are hidden; the fields mean what those of
/// [`AttentionOptions`](crate::AttentionOptions) mean.
#[derive(Debug, Clone, Default)]
pub struct AttentionRules<'a> {
    /// `None` is `1/√d`.
    pub scale: Option<f64>,
    /// Query `i` of `n`, against `m` keys, sees keys `0 ..= i + m - n`.
    pub causal: bool,
    /// Soft limit of the scaled scores.
    pub softcap: Option<f64>,
    /// `[batch | 1, heads | 1, queries, keys]`, not 0 where hidden.
    pub mask: Option<&'a Array>,
    /// `[batch | 1, heads | 1, queries, keys]`.
    pub bias: Option<&'a Array>,
    /// Ends of segments.
    pub segments: Option<&'a [usize]>,
}

/// `softmax(scores)·v` and `log Σ exp(score)`: `[batch, heads, queries, d]` and `[batch, heads, queries, 1]`.
/// A query that sees nothing gives 0 and -∞.
pub fn attend(arrays: AttentionArrays<'_>, rules: &AttentionRules<'_>) -> (Array, Array) {
    let [batch, heads, queries, width] = arrays.q.shape[..] else {
        panic!("q has the shape {:?}, not [batch, heads, queries, head_dim]", arrays.q.shape);
    };
    let (kv_heads, keys) = (arrays.k.shape[1], arrays.k.shape[2]);
    let scale = rules.scale.unwrap_or(1.0 / (width as f64).sqrt());
    let mut output = Array::zeros(&arrays.q.shape);
    let mut lse = Array::zeros(&[batch, heads, queries, 1]);
    for item in 0..batch {
        for head in 0..heads {
            let kv_head = head / (heads / kv_heads);
            let kv_row = |key: usize| (item * kv_heads + kv_head) * keys + key;
            for query in 0..queries {
                let row = (item * heads + head) * queries + query;
                let visible = (0..keys).filter(|&key| is_visible(rules, [item, head, query, key], [queries, keys]));
                let scores: Vec<(usize, f64)> = visible
                    .map(|key| {
                        let product: f64 =
                            arrays.q.row(row).iter().zip(arrays.k.row(kv_row(key))).map(|(a, b)| a * b).sum();
                        let score = rules.softcap.map_or(product * scale, |cap| cap * (product * scale / cap).tanh());
                        (key, score + rules.bias.map_or(0.0, |bias| look_up(bias, [item, head, query, key])))
                    })
                    .collect();
                let max = scores.iter().map(|score| score.1).fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = scores.iter().map(|score| (score.1 - max).exp()).sum();
                lse.data[row] = if scores.is_empty() { f64::NEG_INFINITY } else { max + sum.ln() };
                for &(key, score) in &scores {
                    let share = (score - max).exp() / sum;
                    let values = arrays.v.row(kv_row(key));
                    output.row_mut(row).iter_mut().zip(values).for_each(|(output, value)| *output += share * value);
                }
            }
        }
    }
    (output, lse)
}

/// Whether a query may look at a key.
fn is_visible(rules: &AttentionRules<'_>, position: [usize; 4], [queries, keys]: [usize; 2]) -> bool {
    let [_, _, query, key] = position;
    let masked = rules.mask.is_some_and(|mask| look_up(mask, position) != 0.0);
    let later = rules.causal && key + queries > query + keys;
    let apart = rules.segments.is_some_and(|ends| {
        let segment = |position: usize| ends.iter().filter(|&&end| end <= position).count();
        segment(query) != segment(key)
    });
    !(masked || later || apart)
}

/// The value at `position` of an array whose first two sizes may be 1.
fn look_up(array: &Array, [item, head, query, key]: [usize; 4]) -> f64 {
    let (items, heads, queries) = (array.shape[0], array.shape[1], array.shape[2]);
    let row = ((item % items) * heads + head % heads) * queries + query;
    array.row(row)[key]
}
