//! Attention through a KV cache: token by token it equals all at once.

use super::compare::{assert_close, upload_shaped};
use super::{Sampler, Suite, WeightForm};
use crate::reference::{AttentionArrays, AttentionRules, attend};
use crate::{AttentionInputs, AttentionOptions, FusedOps, KvCache, TrainingOps};
use burn_tensor::{DType, Tensor};

const BATCH: usize = 2;
const HEADS: usize = 6;
const KV_HEADS: usize = 2;
const HEAD_DIM: usize = 10;
/// Positions added by each step; together they fill the cache.
const STEPS: [usize; 6] = [5, 1, 1, 0, 3, 1];

/// Checks [`FusedOps::attention`] with a cache of each dtype that the suite has weights of, and a cache that is cut
/// back.
pub fn check<B: TrainingOps>(suite: &Suite<B>) {
    let mut dtypes: Vec<DType> = suite.forms.iter().map(|form: &WeightForm| form.dtype()).collect();
    dtypes.dedup();
    for dtype in dtypes {
        check_steps(suite, dtype);
    }
}

fn check_steps<B: TrainingOps>(suite: &Suite<B>, dtype: DType) {
    let length: usize = STEPS.iter().sum();
    let mut sampler = Sampler::new(11);
    let q = sampler.draw(&[BATCH, HEADS, length, HEAD_DIM]);
    // Exact in each cache dtype, so that its rounding is none.
    let k = sampler.draw(&[BATCH, KV_HEADS, length, HEAD_DIM]);
    let v = sampler.draw(&[BATCH, KV_HEADS, length, HEAD_DIM]);
    let rules = AttentionRules { causal: true, ..AttentionRules::default() };
    let (expected, _) = attend(AttentionArrays { q: &q, k: &k, v: &v }, &rules);
    let [q, k, v] = [q, k, v].map(|array| upload_shaped::<B, 4>(&array, &suite.device));

    let options = AttentionOptions { causal: true, ..AttentionOptions::default() };
    let mut cache = KvCache::<B>::new(length, dtype);
    let step = |cache: &mut KvCache<B>, start: usize, count: usize| {
        let part = |x: &Tensor<B, 4>| x.clone().slice_dim(2, start..start + count);
        let inputs = AttentionInputs { q: part(&q), k: part(&k), v: part(&v) };
        FusedOps::attention(inputs, &options, Some(cache), &suite.config)
    };
    let mut outputs = Vec::new();
    let mut start = 0;
    for count in STEPS {
        let output = step(&mut cache, start, count);
        assert_eq!(output.dims(), [BATCH, HEADS, count, HEAD_DIM], "step of {count} with a {dtype:?} cache");
        start += count;
        assert_eq!(cache.len(), start, "positions in a {dtype:?} cache");
        outputs.extend((count > 0).then_some(output));
    }
    let what = format!("attention in steps of {STEPS:?} with a {dtype:?} cache");
    assert_close(&what, Tensor::cat(outputs, 2), &expected, suite.tolerance.output);

    // Cut back and filled again, in one step.
    cache.truncate(STEPS[0]);
    let again = step(&mut cache, STEPS[0], length - STEPS[0]);
    let whole = step(&mut KvCache::new(length, dtype), 0, length);
    assert_close(
        &format!("one step of {length} with a {dtype:?} cache"),
        whole.clone(),
        &expected,
        suite.tolerance.output,
    );
    let tail: Tensor<B, 4> = again - whole.slice_dim(2, STEPS[0]..length);
    let zeros = crate::reference::Array::zeros(&tail.dims());
    assert_close(&format!("a refilled {dtype:?} cache"), tail, &zeros, suite.tolerance.output);
}
