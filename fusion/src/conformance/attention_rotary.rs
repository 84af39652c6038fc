//! Attention from projections: head norms, rotation, cache and attention in one op.

use super::case::{Case, Setting, check_case, check_output};
use super::compare::{assert_close, reshape, upload, upload_shaped};
use super::{Sampler, Suite, Tolerance, WeightForm};
use crate::reference::{Array, AttentionArrays, AttentionRules, attend, normalize_rms, rotate};
use crate::{AttentionOptions, HeadNorms, KvCache, Rotary, RotaryInputs, TrainingOps};
use burn_tensor::{DType, Tensor};
use std::sync::Arc;

const EPSILON: f64 = 1e-3;

/// Checks [`FusedOps::attention_rotary`](crate::FusedOps::attention_rotary) with and without norms and caches, and its
/// gradients.
pub fn check<B: TrainingOps>(suite: &Suite<B>) {
    let small = Sizes { batch: 2, heads: 4, kv_heads: 2, length: 3, head_dim: 4 };
    let plain = Rules::default();
    for has_norms in [false, true] {
        let rules = Rules { has_norms, ..plain.clone() };
        check_case(suite, &RotaryCase::new(small, Rules { causal: true, ..rules.clone() }));
        check_case(suite, &RotaryCase::new(small, Rules { segments: Some(vec![1, 3]), ..rules.clone() }));
        let one = Sizes { batch: 1, ..small };
        check_case(suite, &RotaryCase::new(one, Rules { lengths: vec![1, 2], causal: true, ..rules.clone() }));
        check_case(suite, &RotaryCase::new(small, Rules { softcap: Some(0.7), scale: Some(0.3), ..rules.clone() }));
        // Past the edges of registers and tiles; one position; none.
        for (length, head_dim) in [(1, 64), (17, 72), (100, 80), (5, 128), (9, 6), (0, 8)] {
            let sizes = Sizes { batch: 1, heads: 6, kv_heads: 2, length, head_dim };
            check_output(suite, &RotaryCase::new(sizes, Rules { causal: true, ..rules.clone() }));
            check_output(suite, &RotaryCase::new(Sizes { kv_heads: 6, batch: 2, ..sizes }, rules.clone()));
        }
        let many = Sizes { batch: 1, heads: 3, kv_heads: 1, length: 70, head_dim: 10 };
        check_output(suite, &RotaryCase::new(many, Rules { lengths: vec![33, 1, 36], ..rules }));
    }
    let mut dtypes: Vec<DType> = suite.forms.iter().map(|form: &WeightForm| form.dtype()).collect();
    dtypes.dedup();
    for dtype in dtypes {
        let sizes = Sizes { batch: 1, heads: 6, kv_heads: 2, length: 21, head_dim: 10 };
        check_steps(suite, &RotaryCase::new(sizes, Rules { causal: true, has_norms: true, ..plain.clone() }), dtype);
        let sizes = Sizes { batch: 2, heads: 2, kv_heads: 2, length: 37, head_dim: 72 };
        check_steps(suite, &RotaryCase::new(sizes, Rules { causal: true, ..plain.clone() }), dtype);
        check_sequences(suite, dtype);
    }
}

/// Sizes of one attention.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    batch: usize,
    heads: usize,
    kv_heads: usize,
    length: usize,
    head_dim: usize,
}

/// Options of one case. No lengths is one sequence.
#[derive(Debug, Clone, Default)]
struct Rules {
    has_norms: bool,
    causal: bool,
    scale: Option<f64>,
    softcap: Option<f64>,
    segments: Option<Vec<usize>>,
    lengths: Vec<usize>,
}

/// Operands: `q`, `k`, `v` as `[batch, length, heads, head_dim]`, then the gammas.
struct RotaryCase {
    sizes: Sizes,
    rules: Rules,
    operands: Vec<Array>,
    cos: Array,
    sin: Array,
}

impl RotaryCase {
    fn new(sizes: Sizes, mut rules: Rules) -> Self {
        let mut sampler = Sampler::new(12);
        let Sizes { batch, heads, kv_heads, length, head_dim } = sizes;
        let mut operands: Vec<_> =
            [heads, kv_heads, kv_heads].map(|heads| sampler.draw(&[batch, length, heads, head_dim])).into();
        if rules.has_norms {
            operands.extend([sampler.draw_gamma(head_dim), sampler.draw_gamma(head_dim)]);
        }
        let angles = sampler.draw(&[batch, length, head_dim / 2]).map(|value| value * 4.0);
        let [cos, sin] = [f64::cos, f64::sin].map(|f| angles.map(|angle| f64::from(f(angle) as f32)));
        if rules.lengths.is_empty() {
            rules.lengths = vec![length];
        }
        Self { sizes, rules, operands, cos, sin }
    }

    /// The op on positions `start .. start + lengths`, of which each sequence has its own.
    fn attend<B: TrainingOps>(
        &self,
        operands: &[Tensor<B, 1>],
        (start, lengths): (usize, &[usize]),
        caches: Vec<&mut KvCache<B>>,
        setting: &Setting<'_>,
    ) -> Tensor<B, 3> {
        let Sizes { batch, heads, kv_heads, length, head_dim } = self.sizes;
        let device = operands[0].device();
        let count: usize = lengths.iter().sum();
        let rows = |operand: &Tensor<B, 1>, heads: usize| {
            reshape(operand.clone(), [batch, length, heads * head_dim]).slice_dim(1, start..start + count)
        };
        let angles = |all: &Array| upload_shaped::<B, 3>(all, &device).slice_dim(1, start..start + count);
        let rotary = Rotary { cos: angles(&self.cos), sin: angles(&self.sin) };
        let norms = self.rules.has_norms.then(|| HeadNorms {
            q_gamma: operands[3].clone(),
            k_gamma: operands[4].clone(),
            epsilon: EPSILON,
        });
        let inputs = RotaryInputs {
            q: rows(&operands[0], heads),
            k: rows(&operands[1], kv_heads),
            v: rows(&operands[2], kv_heads),
            head_dim,
            norms,
            rotary: &rotary,
            lengths,
        };
        let options = AttentionOptions {
            scale: self.rules.scale,
            causal: self.rules.causal,
            softcap: self.rules.softcap,
            segments: self.rules.segments.as_deref().map(Arc::from),
            ..AttentionOptions::default()
        };
        B::attention_rotary(inputs, &options, caches, setting.config)
    }
}

impl Case for RotaryCase {
    fn describe(&self) -> String {
        format!("attention_rotary of {:?}, {:?}", self.sizes, self.rules)
    }

    fn operands(&self) -> &[Array] {
        &self.operands
    }

    fn expect(&self, operands: &[Array]) -> Array {
        let [mut q, mut k, v] = [0, 1, 2].map(|index| operands[index].swap_middle());
        if self.rules.has_norms {
            (q, k) = (normalize_rms(&q, &operands[3], EPSILON), normalize_rms(&k, &operands[4], EPSILON));
        }
        let [q, k] = [q, k].map(|heads| rotate(&heads, &self.cos, &self.sin));
        // Sequences behind each other are segments.
        let ends: Vec<usize> = self
            .rules
            .lengths
            .iter()
            .scan(0, |end, length| Some(std::mem::replace(end, *end + length) + length))
            .collect();
        let segments = self.rules.segments.clone().or((ends.len() > 1).then_some(ends));
        let rules = AttentionRules {
            scale: self.rules.scale,
            causal: self.rules.causal,
            softcap: self.rules.softcap,
            segments: segments.as_deref(),
            ..AttentionRules::default()
        };
        attend(AttentionArrays { q: &q, k: &k, v: &v }, &rules).0.swap_middle()
    }

    fn run<B: TrainingOps>(&self, operands: &[Tensor<B, 1>], setting: &Setting<'_>) -> Tensor<B, 1> {
        self.attend(operands, (0, &self.rules.lengths), Vec::new(), setting).flatten(0, 2)
    }

    /// There is none: gradients are those of the ops that it is composed of.
    fn run_backward<B: TrainingOps>(
        &self,
        operands: &[Tensor<B, 1>],
        _grad: Tensor<B, 1>,
        _setting: &Setting<'_>,
    ) -> Vec<Option<Tensor<B, 1>>> {
        vec![None; operands.len()]
    }
}

/// How far a result through a cache of `dtype` may be off: keys and values are rounded to it.
fn bound<B: TrainingOps>(suite: &Suite<B>, dtype: DType) -> f64 {
    if dtype == DType::F32 { suite.tolerance.output } else { Tolerance::BF16.output }
}

/// Steps through a cache that they fill, and the same after it was cut back while somebody holds a view of it.
fn check_steps<B: TrainingOps>(suite: &Suite<B>, case: &RotaryCase, dtype: DType) {
    let length = case.sizes.length;
    let setting = Setting { config: &suite.config, form: suite.forms[0] };
    let operands: Vec<_> = case.operands.iter().map(|operand| upload::<B>(operand, &suite.device)).collect();
    let expected = case.expect(&case.operands);
    let mut cache = KvCache::<B>::new(length, dtype);
    let mut outputs = Vec::new();
    let mut start = 0;
    for count in [5, 1, 0, 1, 3, length - 11, 1] {
        let output = case.attend(&operands, (start, &[count]), vec![&mut cache], &setting);
        assert_eq!(output.dims()[1], count);
        outputs.extend((count > 0).then_some(output));
        start += count;
        assert_eq!(cache.len(), start, "positions in a {dtype:?} cache");
    }
    let what = format!("{} in steps with a {dtype:?} cache", case.describe());
    assert_close(&what, Tensor::cat(outputs, 1), &expected, bound(suite, dtype));

    let held = cache.view().expect("a filled cache").0;
    let before = held.clone().into_data();
    cache.truncate(2);
    let again = case.attend(&operands, (2, &[length - 2]), vec![&mut cache], &setting);
    let whole = case.attend(&operands, (0, &[length]), vec![&mut KvCache::new(length, dtype)], &setting);
    assert_close(&format!("{what}, at once"), whole.clone(), &expected, bound(suite, dtype));
    let tail: Tensor<B, 3> = again - whole.slice_dim(1, 2..length);
    assert_close(&format!("{what}, refilled"), tail.clone(), &Array::zeros(&tail.dims()), bound(suite, dtype));
    held.into_data().assert_eq(&before, true);
}

/// Sequences of several lengths behind each other, each with a cache of its own that holds something or nothing.
fn check_sequences<B: TrainingOps>(suite: &Suite<B>, dtype: DType) {
    let sizes = Sizes { batch: 1, heads: 4, kv_heads: 2, length: 12, head_dim: 6 };
    let case = RotaryCase::new(sizes, Rules { causal: true, has_norms: true, ..Rules::default() });
    let setting = Setting { config: &suite.config, form: suite.forms[0] };
    let operands: Vec<_> = case.operands.iter().map(|operand| upload::<B>(operand, &suite.device)).collect();
    let prepare = || {
        let mut caches = [KvCache::<B>::new(20, dtype), KvCache::new(20, dtype), KvCache::new(3, dtype)];
        case.attend(&operands, (0, &[7]), vec![&mut caches[0]], &setting);
        case.attend(&operands, (2, &[2]), vec![&mut caches[2]], &setting);
        caches
    };
    let (lengths, mut together, mut alone) = ([3, 8, 1], prepare(), prepare());
    let output = case.attend(&operands, (0, &lengths), together.iter_mut().collect(), &setting);
    let mut start = 0;
    for (index, length) in lengths.into_iter().enumerate() {
        let own = case.attend(&operands, (start, &[length]), vec![&mut alone[index]], &setting);
        let difference = output.clone().slice_dim(1, start..start + length) - own;
        let zeros = Array::zeros(&difference.dims());
        let what = format!("sequence {index} of {lengths:?} with {dtype:?} caches");
        assert_close(&what, difference, &zeros, suite.tolerance.output);
        assert_eq!(together[index].len(), alone[index].len(), "{what}");
        start += length;
    }
}
