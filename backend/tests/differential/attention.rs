//! Burn's attention: masks, biases, softcap and causality, of different lengths and sizes.

use crate::check::{Op, check, rounding, smallest};
use crate::operand::{Operand, Values};
use crate::strategy::{broadcast, dtypes, for_each, operand, settings};
use burn_backend::ops::AttentionModuleOptions;
use burn_backend::tensor::FloatTensor;
use burn_backend::{Backend, TensorData, get_device_settings};
use burn_flex::Flex;
use burn_kiln::Engine;
use burn_ndarray::NdArray;
use proptest::prelude::*;
use proptest::sample::select;

/// Operands are q, k, v, then the mask (hides where a number is positive) and the bias, as far as there are.
#[derive(Debug, Clone)]
pub struct Attention {
    pub has_mask: bool,
    pub has_bias: bool,
    pub options: AttentionModuleOptions,
}

impl Op for Attention {
    fn run<B: Backend>(&self, operands: Vec<FloatTensor<B>>) -> FloatTensor<B> {
        let mut operands = operands.into_iter();
        let [q, k, v] = core::array::from_fn(|_| operands.next().expect("q, k and v"));
        let bools = get_device_settings::<B>(&B::float_device(&q)).bool_dtype;
        let mask = if self.has_mask { operands.next() } else { None };
        let mask = mask.map(|mask| B::float_greater_elem(mask, 0.0.into(), bools));
        B::attention(q, k, v, mask, operands.next(), self.options)
    }

    /// Scores are sums of `head_dim` products; an error of a score becomes the same relative error of its probability,
    /// and the output is a mean of values under these. Steps round to the type.
    fn allow(&self, operands: &[TensorData], expected: &TensorData) -> Vec<f64> {
        let unit = rounding(expected.dtype);
        let largest =
            |data: &TensorData| data.iter::<f64>().filter(|x| x.is_finite()).fold(0.0f64, |m, x| m.max(x.abs()));
        let (head_dim, keys) = (operands[0].shape[3] as f64, operands[1].shape[2] as f64);
        let scale = self.options.scale.unwrap_or(1.0 / head_dim.max(1.0).sqrt()).abs();
        let score = largest(&operands[0]) * largest(&operands[1]) * head_dim * scale;
        let bias = if self.has_bias { operands.last().map_or(0.0, largest) } else { 0.0 };
        let steps = 8.0 + 4.0 * (score + bias) + keys.sqrt() + head_dim.sqrt() * score;
        vec![steps * unit * largest(&operands[2]) + smallest(expected.dtype); expected.num_elements()]
    }
}

fn options() -> impl Strategy<Value = AttentionModuleOptions> {
    let numbers =
        (prop::option::of(select(vec![0.3, 1.0, -0.5])), prop::option::weighted(0.3, select(vec![0.7, 20.0])));
    (numbers, any::<bool>()).prop_map(|((scale, softcap), is_causal)| AttentionModuleOptions {
        scale,
        softcap,
        is_causal,
    })
}

/// Numbers are finite but for a bias that hides: what NaN and +∞ under a mask give differs between Flex and NdArray
/// already.
fn check_attention<B: Engine>(has_halves: bool) {
    let length = prop_oneof![2 => Just(1), 6 => 2..8usize, 2 => select(vec![16, 17, 40, 70])];
    let width = prop_oneof![1 => Just(1), 6 => 2..10usize, 2 => select(vec![16, 33])];
    let sizes = (1..3usize, 1..4usize, length.clone(), length, width.clone(), width);
    let extras = (any::<bool>(), any::<bool>(), any::<bool>());
    let cases = (sizes, extras, dtypes(has_halves), options(), settings()).prop_flat_map(
        |((batch, heads, queries, keys, head_dim, value_dim), extras, dtype, options, setting)| {
            let (has_mask, has_bias, repeats) = extras;
            let like_scores = |values| {
                let whole = vec![batch, heads, queries, keys];
                let shape = if repeats { broadcast(whole).boxed() } else { Just(whole).boxed() };
                shape.prop_flat_map(move |shape| operand(shape, dtype, values)).boxed()
            };
            let one = |length, width| operand(vec![batch, heads, length, width], dtype, Values::Plain).boxed();
            let mut operands = vec![one(queries, head_dim), one(keys, head_dim), one(keys, value_dim)];
            operands.extend(has_mask.then(|| like_scores(Values::Plain)));
            operands.extend(has_bias.then(|| like_scores(Values::Hiding)));
            (operands, Just(Attention { has_mask, has_bias, options }), Just(setting))
        },
    );
    for_each(cases, |(operands, op, setting): (Vec<Operand>, _, _)| check::<B>(&op, &operands, &setting));
}

#[test]
fn attention_on_flex() {
    check_attention::<Flex>(true);
}

#[test]
fn attention_on_ndarray() {
    check_attention::<NdArray>(false);
}
