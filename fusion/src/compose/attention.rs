//! Scaled dot-product attention.
//!
//! For each block of queries (see `attention_blocks`):
//! ```text
//! z = scale · q·kᵀ                       t = tanh(z / softcap)
//! s = softcap · t + bias, hidden = -∞    (s = z + bias without a soft cap)
//! m = max(s)    p = exp(s - m)    l = Σ p
//! out = p·v / l    lse = m + ln l
//! ```
//! A row that sees nothing has `m = -∞`; the maximum is held at the lowest finite number, so that `s - m` is -∞ and
//! never NaN, and `l = 0` is divided by as 1.
//!
//! Grouped queries: the heads of one key head are stacked as rows of one product, so that keys are never repeated.

use super::attention_blocks::{Block, MAX_SCORES, Problem, cut_block, hide, plan};
use crate::{
    AttentionForward, AttentionGrads, AttentionInputs, AttentionOptions, FusedOps, KernelConfig, KvCache, TrainingOps,
};
use burn_tensor::Tensor;

/// Default of [`FusedOps::attention`].
pub fn attention<B: FusedOps>(
    inputs: AttentionInputs<B>,
    options: &AttentionOptions<B>,
    cache: Option<&mut KvCache<B>>,
    _config: &KernelConfig,
) -> Tensor<B, 4> {
    let Some(cache) = cache else {
        return attend(inputs, options, MAX_SCORES).output;
    };
    let AttentionInputs { q, k, v } = inputs;
    if let Err(full) = cache.append(k.clone(), v.clone()) {
        panic!("{full}");
    }
    // Only an empty append to an empty cache leaves no view: then `k` and `v` are that view.
    let (k, v) = cache.view().unwrap_or((k, v));
    attend(AttentionInputs { q, k, v }, options, MAX_SCORES).output
}

/// Default of [`TrainingOps::attention_forward`].
pub fn attention_forward<B: TrainingOps>(
    inputs: AttentionInputs<B>,
    options: &AttentionOptions<B>,
    _config: &KernelConfig,
) -> AttentionForward<B> {
    attend(inputs, options, MAX_SCORES)
}

/// All blocks, one after the other.
fn attend<B: FusedOps>(
    inputs: AttentionInputs<B>,
    options: &AttentionOptions<B>,
    max_scores: usize,
) -> AttentionForward<B> {
    let problem = Problem::measure(&inputs);
    let inputs = unify_dtype(inputs);
    let blocks = plan(problem, options, max_scores);
    let (outputs, sums) = blocks.iter().map(|block| attend_block(&inputs, options, problem, block)).unzip();
    let Problem { batch, heads, queries, head_dim, .. } = problem;
    AttentionForward {
        output: join(outputs, [batch, heads, queries, head_dim], &inputs.q),
        lse: join(sums, [batch, heads, queries, 1], &inputs.q),
    }
}

/// Output and log-sum-exp of one block.
fn attend_block<B: FusedOps>(
    inputs: &AttentionInputs<B>,
    options: &AttentionOptions<B>,
    problem: Problem,
    block: &Block,
) -> (Tensor<B, 4>, Tensor<B, 4>) {
    let Problem { batch, heads, head_dim, .. } = problem;
    let rows = block.queries.len();
    if block.keys.is_empty() {
        let options = (&inputs.q.device(), inputs.q.dtype());
        let zeros = Tensor::zeros([batch, heads, rows, head_dim], options);
        return (zeros, Tensor::full([batch, heads, rows, 1], f64::NEG_INFINITY, options));
    }
    let Scores { scores, .. } = score_block(inputs, options, problem, block);
    let max = scores.clone().detach().max_dim(3).clamp_min(f32::MIN);
    let p = (scores - max.clone()).exp();
    let sum = p.clone().sum_dim(3);
    let lse = max + sum.clone().log();
    let divisor = sum.clone().mask_fill(sum.equal_elem(0.0), 1.0);
    let v = inputs.v.clone().slice_dim(2, block.keys.clone());
    let output = ungroup(group(p, problem).matmul(v), problem, rows);
    (output / divisor, lse)
}

/// Scores of one block, and what their gradient needs.
struct Scores<B: FusedOps> {
    /// With cap, bias and hidden ones, `[batch, heads, queries, keys]`.
    scores: Tensor<B, 4>,
    /// `tanh(z / softcap)` where there is a soft cap.
    tanh: Option<Tensor<B, 4>>,
}

fn score_block<B: FusedOps>(
    inputs: &AttentionInputs<B>,
    options: &AttentionOptions<B>,
    problem: Problem,
    block: &Block,
) -> Scores<B> {
    let q = inputs.q.clone().slice_dim(2, block.queries.clone());
    let k = inputs.k.clone().slice_dim(2, block.keys.clone());
    let q = group(q * options.resolve_scale(problem.head_dim), problem);
    let mut scores = ungroup(q.matmul(k.transpose()), problem, block.queries.len());
    let mut tanh = None;
    if let Some(cap) = options.softcap {
        let t = (scores * (1.0 / cap)).tanh();
        scores = t.clone() * cap;
        tanh = Some(t);
    }
    if let Some(bias) = &options.bias {
        scores = scores + cut_block(bias.clone(), block).cast(inputs.q.dtype());
    }
    if let Some(hidden) = hide(problem, options, block, &inputs.q.device()) {
        scores = scores.mask_fill(hidden, f32::NEG_INFINITY);
    }
    Scores { scores, tanh }
}

/// Default of [`TrainingOps::attention_backward`]: with `p = exp(s - lse)` and `δ = Σ grad ⊙ out`,
/// `dv = pᵀ·grad`, `ds = p ⊙ (grad·vᵀ - δ)`, `dz = ds ⊙ (1 - t²)`, `dq = scale · dz·k`, `dk = scale · dzᵀ·q`.
pub fn attention_backward<B: TrainingOps>(
    inputs: AttentionInputs<B>,
    options: &AttentionOptions<B>,
    forward: AttentionForward<B>,
    grad: Tensor<B, 4>,
    _config: &KernelConfig,
) -> AttentionGrads<B> {
    differentiate(inputs, options, forward, grad, MAX_SCORES)
}

fn differentiate<B: FusedOps>(
    inputs: AttentionInputs<B>,
    options: &AttentionOptions<B>,
    forward: AttentionForward<B>,
    grad: Tensor<B, 4>,
    max_scores: usize,
) -> AttentionGrads<B> {
    let problem = Problem::measure(&inputs);
    let inputs = unify_dtype(inputs);
    let delta = (grad.clone() * forward.output).sum_dim(3);
    let lse = forward.lse.clone().mask_fill(forward.lse.equal_elem(f32::NEG_INFINITY), 0.0);
    let (mut dk, mut dv) = (inputs.k.zeros_like(), inputs.v.zeros_like());
    let mut dqs = Vec::new();
    for block in plan(problem, options, max_scores) {
        let rows = |x: &Tensor<B, 4>| x.clone().slice_dim(2, block.queries.clone());
        if block.keys.is_empty() {
            dqs.push(rows(&inputs.q).zeros_like());
            continue;
        }
        let columns = |x: &Tensor<B, 4>| x.clone().slice_dim(2, block.keys.clone());
        let (q, k, v) = (rows(&inputs.q), columns(&inputs.k), columns(&inputs.v));
        let grad = group(rows(&grad), problem);
        let Scores { scores, tanh } = score_block(&inputs, options, problem, &block);
        let p = (scores - rows(&lse)).exp();
        let dp = ungroup(grad.clone().matmul(v.transpose()), problem, block.queries.len());
        let mut dz = p.clone() * (dp - rows(&delta));
        if let Some(t) = tanh {
            dz = dz * (-(t.clone() * t) + 1.0);
        }
        let dz = group(dz * options.resolve_scale(problem.head_dim), problem);
        dqs.push(ungroup(dz.clone().matmul(k), problem, block.queries.len()));
        let dk_block = dz.transpose().matmul(group(q, problem));
        let dv_block = group(p, problem).transpose().matmul(grad);
        dk = add_at(dk, &block, dk_block);
        dv = add_at(dv, &block, dv_block);
    }
    let Problem { batch, heads, queries, head_dim, .. } = problem;
    AttentionGrads { q: join(dqs, [batch, heads, queries, head_dim], &inputs.q), k: dk, v: dv }
}

/// Adds `part` to the keys of `block`.
fn add_at<B: FusedOps>(whole: Tensor<B, 4>, block: &Block, part: Tensor<B, 4>) -> Tensor<B, 4> {
    let [batch, heads, _, width] = whole.dims();
    let place = [0..batch, 0..heads, block.keys.clone(), 0..width];
    let before = whole.clone().slice(place.clone());
    whole.slice_assign(place, before + part)
}

/// `[batch, heads, rows, width]` as `[batch, kv_heads, heads/kv_heads · rows, width]`: one product for a group of
/// heads.
fn group<B: FusedOps>(x: Tensor<B, 4>, problem: Problem) -> Tensor<B, 4> {
    let [batch, heads, rows, width] = x.dims();
    x.reshape([batch, problem.kv_heads, heads / problem.kv_heads * rows, width])
}

/// The inverse of [`group`].
fn ungroup<B: FusedOps>(x: Tensor<B, 4>, problem: Problem, rows: usize) -> Tensor<B, 4> {
    let [batch, _, _, width] = x.dims();
    x.reshape([batch, problem.heads, rows, width])
}

/// Blocks behind each other along the queries; zeros of `shape` when there are none.
fn join<B: FusedOps>(blocks: Vec<Tensor<B, 4>>, shape: [usize; 4], like: &Tensor<B, 4>) -> Tensor<B, 4> {
    if blocks.is_empty() {
        return Tensor::zeros(shape, (&like.device(), like.dtype()));
    }
    Tensor::cat(blocks, 2)
}

/// Keys and values (of a bf16 cache) in the dtype of the queries.
fn unify_dtype<B: FusedOps>(inputs: AttentionInputs<B>) -> AttentionInputs<B> {
    let AttentionInputs { q, k, v } = inputs;
    let dtype = q.dtype();
    AttentionInputs { q, k: k.cast(dtype), v: v.cast(dtype) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn_flex::Flex;
    use burn_tensor::{Distribution, Tolerance};

    /// The conformance checks hold whole attentions against the reference; this one holds blocks against the whole.
    #[test]
    fn blocks_of_queries_give_what_the_whole_gives() {
        let device = Default::default();
        let draw = |heads, length| Tensor::<Flex, 4>::random([2, heads, length, 6], Distribution::Default, &device);
        let inputs = AttentionInputs { q: draw(4, 7), k: draw(2, 9), v: draw(2, 9) };
        let grad = draw(4, 7);
        let mask = Tensor::<Flex, 4>::random([2, 1, 7, 9], Distribution::Default, &device).greater_elem(0.7);
        for causal in [false, true] {
            let options = AttentionOptions { causal, mask: Some(mask.clone()), ..Default::default() };
            let [whole, blocks] = [MAX_SCORES, 2 * 4 * 9 * 3].map(|max_scores| {
                let forward = attend(inputs.clone(), &options, max_scores);
                let grads = differentiate(inputs.clone(), &options, forward.clone(), grad.clone(), max_scores);
                [forward.output, forward.lse, grads.q, grads.k, grads.v].map(Tensor::into_data)
            });
            for (whole, block) in whole.iter().zip(&blocks) {
                block.assert_approx_eq::<f32>(whole, Tolerance::absolute(1e-5));
            }
        }
    }
}
