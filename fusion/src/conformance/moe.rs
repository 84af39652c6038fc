//! Mixtures of experts.

use super::case::{Case, Setting, check_case, check_output};
use super::compare::reshape;
use super::{Sampler, Suite};
use crate::reference::{Array, MoeArrays, run_moe};
use crate::{MoeOptions, MoeWeights, TrainingOps};
use burn_tensor::Tensor;

/// Checks [`FusedOps::moe`](crate::FusedOps::moe) and its gradients.
pub fn check<B: TrainingOps>(suite: &Suite<B>) {
    for norm_topk_prob in [false, true] {
        for top_k in [1, 2, 4] {
            let options = MoeOptions { top_k, norm_topk_prob };
            check_case(suite, &MoeCase::new(Sizes { tokens: 5, hidden: 4, intermediate: 3, experts: 4 }, options));
            check_output(suite, &MoeCase::new(Sizes { tokens: 19, hidden: 33, intermediate: 17, experts: 9 }, options));
            check_output(suite, &MoeCase::new(Sizes { tokens: 1, hidden: 33, intermediate: 17, experts: 9 }, options));
            check_output(suite, &MoeCase::new(Sizes { tokens: 90, hidden: 40, intermediate: 24, experts: 4 }, options));
            check_output(suite, &MoeCase::new(Sizes { tokens: 0, hidden: 4, intermediate: 3, experts: 4 }, options));
        }
    }
}

/// Sizes of a mixture.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    tokens: usize,
    hidden: usize,
    intermediate: usize,
    experts: usize,
}

/// Operands: `x`, `router`, `gate_up`, `down`.
struct MoeCase {
    sizes: Sizes,
    options: MoeOptions,
    operands: [Array; 4],
}

impl MoeCase {
    fn new(sizes: Sizes, options: MoeOptions) -> Self {
        let mut sampler = Sampler::new(7);
        let Sizes { tokens, hidden, intermediate, experts } = sizes;
        let operands = [
            sampler.draw(&[tokens, hidden]),
            sampler.draw(&[experts, hidden]),
            sampler.draw(&[experts, hidden, 2 * intermediate]),
            sampler.draw(&[experts, intermediate, hidden]),
        ];
        Self { sizes, options, operands }
    }

    fn build<B: TrainingOps>(&self, operands: &[Tensor<B, 1>], setting: &Setting<'_>) -> (Tensor<B, 2>, MoeWeights<B>) {
        let Sizes { tokens, hidden, intermediate, experts } = self.sizes;
        let dtype = setting.form.dtype();
        let weights = MoeWeights {
            router: setting.form.shape(reshape(operands[1].clone(), [experts, hidden]), setting.config),
            gate_up: reshape(operands[2].clone(), [experts, hidden, 2 * intermediate]).cast(dtype),
            down: reshape(operands[3].clone(), [experts, intermediate, hidden]).cast(dtype),
        };
        (reshape(operands[0].clone(), [tokens, hidden]), weights)
    }
}

impl Case for MoeCase {
    fn describe(&self) -> String {
        format!("moe of {:?}, {:?}", self.sizes, self.options)
    }

    fn operands(&self) -> &[Array] {
        &self.operands
    }

    fn expect(&self, operands: &[Array]) -> Array {
        let weights = MoeArrays { router: &operands[1], gate_up: &operands[2], down: &operands[3] };
        run_moe(&operands[0], weights, self.options)
    }

    fn run<B: TrainingOps>(&self, operands: &[Tensor<B, 1>], setting: &Setting<'_>) -> Tensor<B, 1> {
        let (x, weights) = self.build(operands, setting);
        B::moe(x, &weights, self.options, setting.config).flatten(0, 1)
    }

    fn run_backward<B: TrainingOps>(
        &self,
        operands: &[Tensor<B, 1>],
        grad: Tensor<B, 1>,
        setting: &Setting<'_>,
    ) -> Vec<Option<Tensor<B, 1>>> {
        let (x, weights) = self.build(operands, setting);
        let grad = reshape(grad, x.dims());
        let grads = B::moe_backward(x, &weights, self.options, grad, setting.config);
        vec![
            Some(grads.x.flatten(0, 1)),
            Some(grads.router.flatten(0, 1)),
            Some(grads.gate_up.flatten(0, 2)),
            Some(grads.down.flatten(0, 2)),
        ]
    }
}
