//! Linear layers: shapes that are no multiple of any tile, every epilogue.

use super::case::{Case, Setting, check_case, check_output};
use super::compare::{assert_close, reshape, upload_shaped};
use super::{Sampler, Suite};
use crate::reference::{Array, apply_linear};
use crate::{Activation, Epilogue, FusedOps, TrainingOps};
use burn_tensor::Tensor;

/// Checks [`FusedOps::linear`] and its gradients.
pub fn check<B: TrainingOps>(suite: &Suite<B>) {
    let activations = [None, Some(Activation::GeluTanh), Some(Activation::GeluErf), Some(Activation::Silu)];
    for activation in activations {
        for (has_bias, has_residual) in [(false, false), (true, false), (false, true), (true, true)] {
            check_case(suite, &LinearCase::new([2, 3, 5], 7, activation, has_bias, has_residual));
        }
    }
    check_case(suite, &LinearCase::new([1, 9], 4, None, true, true));
    check_case(suite, &LinearCase::new([6], 5, None, true, false));
    // One row and many, around the edges of register tiles.
    for rows in [1, 2, 13, 37] {
        check_output(suite, &LinearCase::new([rows, 133], 70, Some(Activation::Silu), true, true));
        check_output(suite, &LinearCase::new([rows, 64], 129, None, false, false));
    }
    check_output(suite, &LinearCase::new([0, 5], 3, Some(Activation::GeluTanh), true, true));
    if suite.gradients {
        check_sums(suite);
    }
}

/// The gradient of a weight that goes on from what was summed before, in memory of its own and in memory that somebody
/// else holds, around the edges of register tiles and over no rows.
fn check_sums<B: TrainingOps>(suite: &Suite<B>) {
    for [rows, inputs, outputs] in [[0, 3, 5], [1, 1, 1], [7, 33, 5], [40, 70, 133]] {
        let mut sampler = Sampler::new(3);
        let [x, grad, sum] = [[rows, inputs], [rows, outputs], [outputs, inputs]].map(|shape| sampler.draw(&shape));
        let mut expected = sum.clone();
        for (index, expected) in expected.data.iter_mut().enumerate() {
            let (output, input) = (index / inputs, index % inputs);
            *expected +=
                (0..rows).map(|row| grad.data[row * outputs + output] * x.data[row * inputs + input]).sum::<f64>();
        }
        let upload = |array: &Array| upload_shaped::<B, 2>(array, &suite.device);
        let (x, grad, held) = (upload(&x), upload(&grad), upload(&sum));
        let add = |sum| B::linear_weight_gradient(x.clone(), grad.clone(), Some(sum), &suite.config);
        let what = format!("weight gradient over {rows} rows of {inputs} to {outputs}");
        assert_close(&what, add(held.clone()), &expected, suite.tolerance.gradient);
        assert_close(&format!("{what}: what was held"), held, &sum, 0.0);
        assert_close(&what, add(upload(&sum)), &expected, suite.tolerance.gradient);
    }
}

/// Operands: `x`, `weight`, then `bias` and `residual` where there are.
struct LinearCase<const D: usize> {
    shape: [usize; D],
    outputs: usize,
    activation: Option<Activation>,
    has_bias: bool,
    has_residual: bool,
    operands: Vec<Array>,
}

/// Operands by name.
struct Operands<'a, T> {
    x: &'a T,
    weight: &'a T,
    bias: Option<&'a T>,
    residual: Option<&'a T>,
}

impl<const D: usize> LinearCase<D> {
    fn new(
        shape: [usize; D],
        outputs: usize,
        activation: Option<Activation>,
        has_bias: bool,
        has_residual: bool,
    ) -> Self {
        let mut sampler = Sampler::new(2);
        let inputs = shape[D - 1];
        let mut output_shape = shape;
        output_shape[D - 1] = outputs;
        // Products of `inputs` terms are kept around 1, where activations bend.
        let scale = 2.0 / (inputs as f64).sqrt();
        let scale = 2.0_f64.powf(scale.log2().round());
        let mut operands = vec![sampler.draw(&shape), sampler.draw(&[outputs, inputs]).map(|value| value * scale)];
        if has_bias {
            operands.push(sampler.draw(&[outputs]));
        }
        if has_residual {
            operands.push(sampler.draw(&output_shape));
        }
        Self { shape, outputs, activation, has_bias, has_residual, operands }
    }

    fn name<'a, T>(&self, operands: &'a [T]) -> Operands<'a, T> {
        Operands {
            x: &operands[0],
            weight: &operands[1],
            bias: self.has_bias.then(|| &operands[2]),
            residual: self.has_residual.then(|| &operands[operands.len() - 1]),
        }
    }

    fn build_epilogue<B: TrainingOps>(&self, operands: &Operands<'_, Tensor<B, 1>>) -> Epilogue<B, D> {
        let mut output_shape = self.shape;
        output_shape[D - 1] = self.outputs;
        Epilogue {
            bias: operands.bias.cloned(),
            activation: self.activation,
            residual: operands.residual.map(|residual| reshape(residual.clone(), output_shape)),
        }
    }
}

impl<const D: usize> Case for LinearCase<D> {
    fn describe(&self) -> String {
        let Self { shape, outputs, activation, has_bias, has_residual, .. } = self;
        format!("linear {shape:?} to {outputs}, {activation:?}, bias {has_bias}, residual {has_residual}")
    }

    fn operands(&self) -> &[Array] {
        &self.operands
    }

    fn expect(&self, operands: &[Array]) -> Array {
        let Operands { x, weight, bias, residual } = self.name(operands);
        apply_linear(x, weight, bias, self.activation, residual)
    }

    fn run<B: TrainingOps>(&self, operands: &[Tensor<B, 1>], setting: &Setting<'_>) -> Tensor<B, 1> {
        let operands = self.name(operands);
        let weight = reshape(operands.weight.clone(), [self.outputs, self.shape[D - 1]]);
        let weight = setting.form.shape(weight, setting.config);
        let x = reshape(operands.x.clone(), self.shape);
        let output = FusedOps::linear(x, &weight, self.build_epilogue(&operands), setting.config);
        output.flatten(0, D - 1)
    }

    fn run_backward<B: TrainingOps>(
        &self,
        operands: &[Tensor<B, 1>],
        grad: Tensor<B, 1>,
        setting: &Setting<'_>,
    ) -> Vec<Option<Tensor<B, 1>>> {
        let operands = self.name(operands);
        let weight = reshape(operands.weight.clone(), [self.outputs, self.shape[D - 1]]);
        let weight = setting.form.shape(weight, setting.config);
        let x = reshape(operands.x.clone(), self.shape);
        let forward = B::linear_forward(x.clone(), &weight, self.build_epilogue(&operands), setting.config);
        let activation = self.activation.zip(forward.pre_activation);
        let grad = reshape(grad, forward.output.dims());
        let grads = B::linear_backward(x, &weight, activation, grad, setting.config);
        let mut flat = vec![Some(grads.x.flatten(0, D - 1)), Some(grads.weight.flatten(0, 1))];
        if self.has_bias {
            flat.push(Some(grads.bias));
        }
        flat
    }
}
