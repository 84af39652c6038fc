//! Feed-forward blocks.

use super::case::{Case, Setting, check_case, check_output};
use super::compare::reshape;
use super::{Sampler, Suite};
use crate::reference::{Array, run_gated_mlp, run_plain_mlp};
use crate::{Activation, GatedMlpWeights, PlainMlpWeights, TrainingOps};
use burn_tensor::Tensor;

/// Checks [`FusedOps::mlp_gated`](crate::FusedOps::mlp_gated), [`FusedOps::mlp_plain`](crate::FusedOps::mlp_plain) and
/// their gradients.
pub fn check<B: TrainingOps>(suite: &Suite<B>) {
    for has_residual in [false, true] {
        check_case(suite, &GatedCase::new([2, 3, 5], 7, has_residual));
        check_case(suite, &GatedCase::new([1, 1, 4], 6, has_residual));
        check_output(suite, &GatedCase::new([1, 1, 65], 130, has_residual));
        check_output(suite, &GatedCase::new([3, 11, 65], 130, has_residual));
        check_output(suite, &GatedCase::new([1, 0, 4], 6, has_residual));
        for activation in [Activation::GeluTanh, Activation::GeluErf, Activation::Silu] {
            for has_bias in [false, true] {
                let flags = Flags { has_bias, has_residual };
                check_case(suite, &PlainCase::new([2, 3, 5], [7, 4], activation, flags));
                check_output(suite, &PlainCase::new([3, 11, 65], [130, 33], activation, flags));
                check_output(suite, &PlainCase::new([1, 0, 4], [6, 3], activation, flags));
            }
        }
    }
}

/// A matrix whose products stay around 1.
fn draw_matrix(sampler: &mut Sampler, outputs: usize, inputs: usize) -> Array {
    let scale = 2.0_f64.powf((2.0 / (inputs as f64).sqrt()).log2().round());
    sampler.draw(&[outputs, inputs]).map(|value| value * scale)
}

/// Operands: `x`, `gate`, `up`, `down`, then the residual where there is one.
struct GatedCase {
    shape: [usize; 3],
    intermediate: usize,
    operands: Vec<Array>,
}

impl GatedCase {
    fn new(shape: [usize; 3], intermediate: usize, has_residual: bool) -> Self {
        let mut sampler = Sampler::new(5);
        let hidden = shape[2];
        let mut operands = vec![sampler.draw(&shape)];
        operands.push(draw_matrix(&mut sampler, intermediate, hidden));
        operands.push(draw_matrix(&mut sampler, intermediate, hidden));
        operands.push(draw_matrix(&mut sampler, hidden, intermediate));
        if has_residual {
            operands.push(sampler.draw(&shape));
        }
        Self { shape, intermediate, operands }
    }

    fn build_weights<B: TrainingOps>(&self, operands: &[Tensor<B, 1>], setting: &Setting<'_>) -> GatedMlpWeights<B> {
        let (hidden, intermediate) = (self.shape[2], self.intermediate);
        let weight = |index: usize, shape: [usize; 2]| {
            setting.form.shape(reshape(operands[index].clone(), shape), setting.config)
        };
        GatedMlpWeights {
            gate: weight(1, [intermediate, hidden]),
            up: weight(2, [intermediate, hidden]),
            down: weight(3, [hidden, intermediate]),
        }
    }

    fn build_residual<B: TrainingOps>(&self, operands: &[Tensor<B, 1>]) -> Option<Tensor<B, 3>> {
        operands.get(4).map(|residual| reshape(residual.clone(), self.shape))
    }
}

impl Case for GatedCase {
    fn describe(&self) -> String {
        format!("mlp_gated of {:?} by {}, residual {}", self.shape, self.intermediate, self.operands.len() == 5)
    }

    fn operands(&self) -> &[Array] {
        &self.operands
    }

    fn expect(&self, operands: &[Array]) -> Array {
        run_gated_mlp(&operands[0], [&operands[1], &operands[2], &operands[3]], operands.get(4))
    }

    fn run<B: TrainingOps>(&self, operands: &[Tensor<B, 1>], setting: &Setting<'_>) -> Tensor<B, 1> {
        let x = reshape(operands[0].clone(), self.shape);
        let weights = self.build_weights(operands, setting);
        B::mlp_gated(x, &weights, self.build_residual(operands), setting.config).flatten(0, 2)
    }

    fn run_backward<B: TrainingOps>(
        &self,
        operands: &[Tensor<B, 1>],
        grad: Tensor<B, 1>,
        setting: &Setting<'_>,
    ) -> Vec<Option<Tensor<B, 1>>> {
        let (x, config) = (reshape(operands[0].clone(), self.shape), setting.config);
        let weights = self.build_weights(operands, setting);
        let forward = B::mlp_gated_forward(x.clone(), &weights, self.build_residual(operands), config);
        let grads = B::mlp_gated_backward(x, &weights, forward, reshape(grad, self.shape), config);
        let matrices = [grads.gate, grads.up, grads.down].map(|matrix| Some(matrix.flatten(0, 1)));
        std::iter::once(Some(grads.x.flatten(0, 2))).chain(matrices).collect()
    }
}

/// What a plain MLP has beside its matrices.
#[derive(Debug, Clone, Copy)]
struct Flags {
    has_bias: bool,
    has_residual: bool,
}

/// Operands: `x`, `fc1`, `fc2`, then both biases, then the residual, where there are.
struct PlainCase {
    shape: [usize; 3],
    /// Outputs of the first and of the second layer.
    widths: [usize; 2],
    activation: Activation,
    flags: Flags,
    operands: Vec<Array>,
}

impl PlainCase {
    fn new(shape: [usize; 3], widths: [usize; 2], activation: Activation, flags: Flags) -> Self {
        let mut sampler = Sampler::new(6);
        let mut operands = vec![sampler.draw(&shape)];
        operands.push(draw_matrix(&mut sampler, widths[0], shape[2]));
        operands.push(draw_matrix(&mut sampler, widths[1], widths[0]));
        if flags.has_bias {
            operands.extend(widths.map(|width| sampler.draw(&[width])));
        }
        if flags.has_residual {
            operands.push(sampler.draw(&[shape[0], shape[1], widths[1]]));
        }
        Self { shape, widths, activation, flags, operands }
    }

    /// Both biases and the residual.
    fn split<'a, T>(&self, operands: &'a [T]) -> ([Option<&'a T>; 2], Option<&'a T>) {
        let biases = [3, 4].map(|index| operands.get(index).filter(|_| self.flags.has_bias));
        (biases, operands.last().filter(|_| self.flags.has_residual))
    }

    fn build_weights<B: TrainingOps>(&self, operands: &[Tensor<B, 1>], setting: &Setting<'_>) -> PlainMlpWeights<B> {
        let ([fc1_bias, fc2_bias], _) = self.split(operands);
        let [middle, last] = self.widths;
        let weight = |index: usize, shape: [usize; 2]| {
            setting.form.shape(reshape(operands[index].clone(), shape), setting.config)
        };
        PlainMlpWeights {
            fc1: weight(1, [middle, self.shape[2]]),
            fc1_bias: fc1_bias.cloned(),
            fc2: weight(2, [last, middle]),
            fc2_bias: fc2_bias.cloned(),
            activation: self.activation,
        }
    }

    fn build_residual<B: TrainingOps>(&self, operands: &[Tensor<B, 1>]) -> Option<Tensor<B, 3>> {
        let shape = [self.shape[0], self.shape[1], self.widths[1]];
        self.split(operands).1.map(|residual| reshape(residual.clone(), shape))
    }
}

impl Case for PlainCase {
    fn describe(&self) -> String {
        format!("mlp_plain of {:?} by {:?}, {:?}, {:?}", self.shape, self.widths, self.activation, self.flags)
    }

    fn operands(&self) -> &[Array] {
        &self.operands
    }

    fn expect(&self, operands: &[Array]) -> Array {
        let ([fc1_bias, fc2_bias], residual) = self.split(operands);
        let layers = ((&operands[1], fc1_bias), (&operands[2], fc2_bias));
        run_plain_mlp(&operands[0], layers.0, layers.1, self.activation, residual)
    }

    fn run<B: TrainingOps>(&self, operands: &[Tensor<B, 1>], setting: &Setting<'_>) -> Tensor<B, 1> {
        let x = reshape(operands[0].clone(), self.shape);
        let weights = self.build_weights(operands, setting);
        B::mlp_plain(x, &weights, self.build_residual(operands), setting.config).flatten(0, 2)
    }

    fn run_backward<B: TrainingOps>(
        &self,
        operands: &[Tensor<B, 1>],
        grad: Tensor<B, 1>,
        setting: &Setting<'_>,
    ) -> Vec<Option<Tensor<B, 1>>> {
        let (x, config) = (reshape(operands[0].clone(), self.shape), setting.config);
        let weights = self.build_weights(operands, setting);
        let forward = B::mlp_plain_forward(x.clone(), &weights, self.build_residual(operands), config);
        let grad = reshape(grad, forward.output.dims());
        let grads = B::mlp_plain_backward(x, &weights, forward.pre_activation, grad, config);
        let mut flat = vec![grads.x.flatten(0, 2), grads.fc1.flatten(0, 1), grads.fc2.flatten(0, 1)];
        if self.flags.has_bias {
            flat.extend([grads.fc1_bias, grads.fc2_bias]);
        }
        flat.into_iter().map(Some).collect()
    }
}
