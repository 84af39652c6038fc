//! Softmax, log-softmax and layer norm.

use crate::check::{Op, check, rounding, smallest};
use crate::operand::{Operand, Values};
use crate::strategy::{dtypes, for_each, operand, settings, shapes, values};
use burn_backend::tensor::FloatTensor;
use burn_backend::{Backend, TensorData};
use burn_flex::Flex;
use burn_kiln::Engine;
use burn_ndarray::NdArray;
use proptest::prelude::*;
use proptest::sample::select;

#[derive(Debug, Clone, Copy)]
pub enum Normalise {
    Softmax,
    LogSoftmax,
    Softmin,
}

/// A softmax and the dimension that it goes over.
#[derive(Debug, Clone, Copy)]
pub struct Over(pub Normalise, pub usize);

impl Op for Over {
    fn run<B: Backend>(&self, mut operands: Vec<FloatTensor<B>>) -> FloatTensor<B> {
        let (x, dim) = (operands.remove(0), self.1);
        match self.0 {
            Normalise::Softmax => B::softmax(x, dim),
            Normalise::LogSoftmax => B::log_softmax(x, dim),
            Normalise::Softmin => B::softmin(x, dim),
        }
    }

    /// B rounds each step to the type: the shift `x - max` at its size, which the exponential makes a relative error,
    /// and the sum once a term. A log-softmax has the error of the shift itself.
    fn allow(&self, operands: &[TensorData], expected: &TensorData) -> Vec<f64> {
        let (unit, tiny) = (rounding(expected.dtype), smallest(expected.dtype));
        let terms = operands[0].shape.get(self.1).map_or(1, |&size| size);
        let steps = (terms + 16) as f64 * unit;
        let bound = |y: f64| match self.0 {
            Normalise::LogSoftmax => (steps + 4.0 * unit * y.abs()).max(steps),
            // ln y is the shift less the logarithm of the sum.
            _ => (steps + 4.0 * unit * (y.max(tiny).ln().abs() + (terms as f64).ln())) * y + tiny,
        };
        expected.iter::<f64>().map(|y| if y.is_finite() { bound(y) } else { 0.0 }).collect()
    }
}

fn check_softmax<B: Engine>(has_halves: bool) {
    let kinds = select(vec![Normalise::Softmax, Normalise::LogSoftmax, Normalise::Softmin]);
    let cases = (shapes(), dtypes(has_halves), values(), kinds, any::<usize>(), settings()).prop_flat_map(
        |(shape, dtype, values, kind, dim, setting)| {
            let op = Over(kind, dim % shape.len());
            (operand(shape, dtype, values), Just(op), Just(setting))
        },
    );
    for_each(cases, |(x, op, setting)| check::<B>(&op, &[x], &setting));
}

#[derive(Debug, Clone, Copy)]
pub struct LayerNorm {
    pub epsilon: f64,
}

impl Op for LayerNorm {
    fn run<B: Backend>(&self, operands: Vec<FloatTensor<B>>) -> FloatTensor<B> {
        let mut operands = operands.into_iter();
        let (x, gamma) = (operands.next().expect("the input"), operands.next().expect("gamma"));
        B::layer_norm(x, gamma, operands.next(), self.epsilon)
    }

    /// `x - mean` has the rounding error of the row's largest element and of a sum over it, times `gamma / deviation`;
    /// Flex's variance, a mean of squares less the square of the mean, has that of the largest square.
    fn allow(&self, operands: &[TensorData], expected: &TensorData) -> Vec<f64> {
        let (unit, tiny) = (rounding(expected.dtype), smallest(expected.dtype));
        let x: Vec<f64> = operands[0].iter::<f64>().collect();
        let gamma: Vec<f64> = operands[1].iter::<f64>().collect();
        let expected: Vec<f64> = expected.iter::<f64>().collect();
        let d = gamma.len().max(1);
        let rows = x.chunks(d).zip(expected.chunks(d));
        let bound = |(x, y): (&[f64], &[f64])| {
            let mean = x.iter().sum::<f64>() / d as f64;
            let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / d as f64;
            let largest = x.iter().fold(0.0f64, |max, x| max.max(x.abs()));
            let inverse = 1.0 / (variance + self.epsilon).sqrt();
            let steps = (d + 16) as f64 * unit;
            let one = |((x, y), gamma): ((&f64, &f64), &f64)| {
                let normed = ((x - mean) * inverse * gamma).abs();
                let centred = steps * largest * inverse * gamma.abs();
                let deviation = steps * (largest * inverse).powi(2) * normed;
                centred + deviation + 8.0 * unit * (y.abs() + gamma.abs()) + tiny
            };
            x.iter().zip(y).zip(&gamma).map(one).collect::<Vec<_>>()
        };
        rows.flat_map(bound).map(|bound| if bound.is_nan() { 0.0 } else { bound }).collect()
    }
}

fn check_layer_norm<B: Engine>(has_halves: bool) {
    let numbers = select(vec![Values::Plain, Values::Plain, Values::NonFinite]);
    let epsilons = select(vec![1e-5, 1e-6, 0.5]);
    let excess = prop_oneof![12 => Just(0), 1 => Just(1usize)];
    let cases = (shapes(), dtypes(has_halves), numbers, epsilons, any::<bool>(), excess, settings()).prop_flat_map(
        |(shape, dtype, values, epsilon, has_beta, excess, setting)| {
            let d = shape.last().copied().unwrap_or(1);
            let mut operands: Vec<_> =
                vec![operand(shape, dtype, values).boxed(), operand(vec![d + excess], dtype, Values::Plain).boxed()];
            operands.extend(has_beta.then(|| operand(vec![d], dtype, Values::Plain).boxed()));
            (operands, Just(LayerNorm { epsilon }), Just(setting))
        },
    );
    for_each(cases, |(operands, op, setting): (Vec<Operand>, _, _)| check::<B>(&op, &operands, &setting));
}

#[test]
fn softmax_on_flex() {
    check_softmax::<Flex>(true);
}

#[test]
fn softmax_on_ndarray() {
    check_softmax::<NdArray>(false);
}

#[test]
fn layer_norm_on_flex() {
    check_layer_norm::<Flex>(true);
}

#[test]
fn layer_norm_on_ndarray() {
    check_layer_norm::<NdArray>(false);
}
