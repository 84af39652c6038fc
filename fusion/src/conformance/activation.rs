//! Activations, at ordinary arguments and at extreme ones.

use super::case::{Case, Setting, check_case};
use super::{Sampler, Suite};
use crate::reference::{Array, activate};
use crate::{Activation, TrainingOps, compose};
use burn_tensor::Tensor;

/// Checks the three activations and their gradients.
pub fn check<B: TrainingOps>(suite: &Suite<B>) {
    for activation in [Activation::GeluTanh, Activation::GeluErf, Activation::Silu] {
        for count in [1, 15, 67] {
            let x = Sampler::new(4).draw(&[count]).map(|value| value * 6.0);
            check_case(suite, &ActivationCase { activation, operands: [x] });
        }
        // Where exponentials overflow and tanh is flat. The largest is 100: at 1 the bound is that of small values.
        let extremes = vec![0.0, -0.0, 1e-20, -1e-20, 10.0, -10.0, 88.0, -89.0, 100.0, -100.0];
        check_case(suite, &ActivationCase { activation, operands: [Array::new(&[10], extremes)] });
    }
}

struct ActivationCase {
    activation: Activation,
    operands: [Array; 1],
}

impl Case for ActivationCase {
    fn describe(&self) -> String {
        format!("{:?} of {} values", self.activation, self.operands[0].data.len())
    }

    fn operands(&self) -> &[Array] {
        &self.operands
    }

    fn expect(&self, operands: &[Array]) -> Array {
        activate(self.activation, &operands[0])
    }

    fn run<B: TrainingOps>(&self, operands: &[Tensor<B, 1>], setting: &Setting<'_>) -> Tensor<B, 1> {
        compose::activation::apply(self.activation, operands[0].clone(), setting.config)
    }

    fn run_backward<B: TrainingOps>(
        &self,
        operands: &[Tensor<B, 1>],
        grad: Tensor<B, 1>,
        setting: &Setting<'_>,
    ) -> Vec<Option<Tensor<B, 1>>> {
        vec![Some(B::activation_backward(self.activation, operands[0].clone(), grad, setting.config))]
    }
}
