//! Norms, and norms with what stands beside them.

use super::case::{Case, Setting, check_case, check_output};
use super::compare::reshape;
use super::{Sampler, Suite};
use crate::reference::{Array, apply_linear, normalize_layer, normalize_rms};
use crate::{FusedOps, LinearWeights, Norm, NormGrads, NormKind, TrainingOps};
use burn_tensor::Tensor;

/// Large enough for a row of zeros to have a gradient that differences can measure.
const EPSILON: f64 = 1e-3;

/// Checks [`FusedOps::rms_norm`], [`FusedOps::layer_norm`], [`FusedOps::norm_linear`], [`FusedOps::norm_linears`],
/// [`FusedOps::add_norm`] and their gradients.
pub fn check<B: TrainingOps>(suite: &Suite<B>) {
    let linears = [Op::NormLinear { outputs: 6, has_bias: true }, Op::NormLinears { outputs: [6, 3, 17] }];
    for op in [Op::Norm, Op::AddNorm].into_iter().chain(linears) {
        for (kind, has_beta) in [(NormKind::Rms, false), (NormKind::Layer, true), (NormKind::Layer, false)] {
            if op == Op::AddNorm && kind == NormKind::Layer {
                continue;
            }
            check_case(suite, &NormCase::new(op, [2, 3, 7], kind, has_beta));
            check_case(suite, &NormCase::new(op, [1, 1, 4], kind, has_beta));
            for width in [1, 16, 33, 129] {
                check_output(suite, &NormCase::new(op, [3, 5, width], kind, has_beta));
            }
            check_output(suite, &NormCase::new(op, [2, 0, 8], kind, has_beta));
        }
    }
    // More rows than kernels for few rows take.
    for op in linears {
        for (kind, has_beta) in [(NormKind::Rms, false), (NormKind::Layer, true)] {
            check_output(suite, &NormCase::new(op, [2, 19, 70], kind, has_beta));
        }
    }
    check_case(suite, &NormCase::new(Op::NormLinear { outputs: 3, has_bias: false }, [2, 2, 5], NormKind::Rms, false));
}

/// Which op around the norm.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Op {
    Norm,
    AddNorm,
    NormLinear {
        outputs: usize,
        has_bias: bool,
    },
    /// The first layer has a bias.
    NormLinears {
        outputs: [usize; 3],
    },
}

/// Operands: `x`, `gamma`, `beta` where there is one; then the residual, or the weight and the bias, or three weights
/// and the bias of the first.
struct NormCase {
    op: Op,
    shape: [usize; 3],
    kind: NormKind,
    has_beta: bool,
    operands: Vec<Array>,
}

impl NormCase {
    fn new(op: Op, shape: [usize; 3], kind: NormKind, has_beta: bool) -> Self {
        let mut sampler = Sampler::new(3);
        let width = shape[2];
        let mut operands = vec![sampler.draw(&shape), sampler.draw_gamma(width)];
        if has_beta {
            operands.push(sampler.draw(&[width]));
        }
        match op {
            Op::Norm => {}
            Op::AddNorm => operands.push(sampler.draw(&shape)),
            Op::NormLinear { outputs, has_bias } => {
                operands.push(sampler.draw(&[outputs, width]));
                if has_bias {
                    operands.push(sampler.draw(&[outputs]));
                }
            }
            Op::NormLinears { outputs } => {
                operands.extend(outputs.map(|outputs| sampler.draw(&[outputs, width])));
                operands.push(sampler.draw(&[outputs[0]]));
            }
        }
        Self { op, shape, kind, has_beta, operands }
    }

    /// `beta`, and the operands behind it.
    fn split<'a, T>(&self, operands: &'a [T]) -> (Option<&'a T>, &'a [T]) {
        let (head, tail) = operands.split_at(2 + usize::from(self.has_beta));
        (head.get(2), tail)
    }

    fn build_norm<B: TrainingOps>(&self, operands: &[Tensor<B, 1>]) -> Norm<B> {
        let beta = self.split(operands).0.cloned();
        Norm { kind: self.kind, gamma: operands[1].clone(), beta, epsilon: EPSILON }
    }

    fn normalize(&self, x: &Array, gamma: &Array, beta: Option<&Array>) -> Array {
        match self.kind {
            NormKind::Rms => normalize_rms(x, gamma, EPSILON),
            NormKind::Layer => normalize_layer(x, gamma, beta, EPSILON),
        }
    }

    fn flatten<B: TrainingOps>(&self, grads: NormGrads<B, 3>) -> Vec<Option<Tensor<B, 1>>> {
        let mut flat = vec![Some(grads.x.flatten(0, 2)), Some(grads.gamma)];
        if self.has_beta {
            flat.push(grads.beta);
        }
        flat
    }
}

impl Case for NormCase {
    fn describe(&self) -> String {
        format!("{:?} of {:?}, {:?}, beta {}", self.op, self.shape, self.kind, self.has_beta)
    }

    fn operands(&self) -> &[Array] {
        &self.operands
    }

    fn expect(&self, operands: &[Array]) -> Array {
        let (x, gamma) = (&operands[0], &operands[1]);
        let (beta, rest) = self.split(operands);
        match self.op {
            Op::Norm => self.normalize(x, gamma, beta),
            Op::AddNorm => {
                let sum = x.zip(&rest[0], |x, residual| x + residual);
                let normed = self.normalize(&sum, gamma, beta);
                Array::concatenate(&[sum, normed])
            }
            Op::NormLinear { .. } => apply_linear(&self.normalize(x, gamma, beta), &rest[0], rest.get(1), None, None),
            Op::NormLinears { .. } => {
                let normed = self.normalize(x, gamma, beta);
                let layer = |i: usize| apply_linear(&normed, &rest[i], rest.get(3).filter(|_| i == 0), None, None);
                Array::concatenate(&[0, 1, 2].map(layer))
            }
        }
    }

    fn run<B: TrainingOps>(&self, operands: &[Tensor<B, 1>], setting: &Setting<'_>) -> Tensor<B, 1> {
        let (x, norm, config) = (reshape(operands[0].clone(), self.shape), self.build_norm(operands), setting.config);
        let rest = self.split(operands).1;
        match self.op {
            Op::Norm => match self.kind {
                NormKind::Rms => B::rms_norm(x, norm.gamma, EPSILON, config).flatten(0, 2),
                NormKind::Layer => FusedOps::layer_norm(x, norm.gamma, norm.beta, EPSILON, config).flatten(0, 2),
            },
            Op::AddNorm => {
                let both = B::add_norm(x, reshape(rest[0].clone(), self.shape), norm.gamma, EPSILON, config);
                Tensor::cat(vec![both.sum.flatten(0, 2), both.normed.flatten(0, 2)], 0)
            }
            Op::NormLinear { outputs, .. } => {
                let weight = setting.form.shape(reshape(rest[0].clone(), [outputs, self.shape[2]]), config);
                B::norm_linear(x, &norm, &weight, rest.get(1).cloned(), config).flatten(0, 2)
            }
            Op::NormLinears { outputs } => {
                let layer = |i: usize| LinearWeights {
                    weight: setting.form.shape(reshape(rest[i].clone(), [outputs[i], self.shape[2]]), config),
                    bias: (i == 0).then(|| rest[3].clone()),
                };
                let all = B::norm_linears(x, &norm, [0, 1, 2].map(layer), config);
                Tensor::cat(all.map(|output| output.flatten(0, 2)).to_vec(), 0)
            }
        }
    }

    fn run_backward<B: TrainingOps>(
        &self,
        operands: &[Tensor<B, 1>],
        grad: Tensor<B, 1>,
        setting: &Setting<'_>,
    ) -> Vec<Option<Tensor<B, 1>>> {
        let (x, norm, config) = (reshape(operands[0].clone(), self.shape), self.build_norm(operands), setting.config);
        let Norm { gamma, beta, .. } = norm.clone();
        let rest = self.split(operands).1;
        match (self.op, self.kind) {
            (Op::Norm, NormKind::Rms) => {
                let forward = B::rms_norm_forward(x.clone(), gamma.clone(), EPSILON, config);
                self.flatten(B::rms_norm_backward(x, gamma, forward.rstd, reshape(grad, self.shape), config))
            }
            (Op::Norm, NormKind::Layer) => {
                let forward = B::layer_norm_forward(x.clone(), gamma.clone(), beta, EPSILON, config);
                self.flatten(TrainingOps::layer_norm_backward(x, gamma, forward, reshape(grad, self.shape), config))
            }
            (Op::AddNorm, _) => {
                let residual = reshape(rest[0].clone(), self.shape);
                let forward = B::add_norm_forward(x, residual, gamma.clone(), EPSILON, config);
                let [sum, normed] = [0, 1].map(|half| {
                    let count = self.shape.iter().product::<usize>();
                    reshape(grad.clone().narrow(0, half * count, count), self.shape)
                });
                let grads = B::add_norm_backward(forward, gamma, Some(sum), normed, config);
                let x = grads.x.flatten(0, 2);
                vec![Some(x.clone()), Some(grads.gamma), Some(x)]
            }
            (Op::NormLinear { outputs, has_bias }, _) => {
                let weight = setting.form.shape(reshape(rest[0].clone(), [outputs, self.shape[2]]), config);
                let grad = reshape(grad, [self.shape[0], self.shape[1], outputs]);
                let grads = B::norm_linear_backward(x, &norm, &weight, grad, config);
                let mut flat = self.flatten(grads.norm);
                flat.push(Some(grads.weight.flatten(0, 1)));
                if has_bias {
                    flat.push(Some(grads.bias));
                }
                flat
            }
            // It has none of its own.
            (Op::NormLinears { .. }, _) => Vec::new(),
        }
    }
}
