//! AdamW over several steps.

use super::compare::{assert_close, upload_shaped};
use super::{Sampler, Suite};
use crate::reference::{AdamWArrays, Array, step_adamw};
use crate::{AdamWOptions, AdamWState, TrainingOps};
use burn_tensor::Tensor;

const SHAPE: [usize; 2] = [7, 13];

/// Checks [`TrainingOps::adamw_step`]: parameter and moments after each of several steps, with and without decay.
pub fn check<B: TrainingOps>(suite: &Suite<B>) {
    for weight_decay in [0.0, 0.1] {
        let mut sampler = Sampler::new(13);
        let zeros = Array::zeros(&SHAPE);
        let mut expected = AdamWArrays { parameter: sampler.draw(&SHAPE), moment_1: zeros.clone(), moment_2: zeros };
        let mut parameter: Tensor<B, 2> = upload_shaped(&expected.parameter, &suite.device);
        let mut state = AdamWState { moment_1: parameter.zeros_like(), moment_2: parameter.zeros_like() };
        for step in 1..=5 {
            let options =
                AdamWOptions { learning_rate: 0.01, beta_1: 0.9, beta_2: 0.99, epsilon: 1e-8, weight_decay, step };
            let grad = sampler.draw(&SHAPE);
            expected = step_adamw(&expected, &grad, options);
            let grad = upload_shaped(&grad, &suite.device);
            (parameter, state) = B::adamw_step(parameter, grad, state, options, &suite.config);
            let what = |part: &str| format!("adamw_step {step}, decay {weight_decay}, {part}");
            let bound = suite.tolerance.output;
            assert_close(&what("parameter"), parameter.clone(), &expected.parameter, bound);
            assert_close(&what("first moment"), state.moment_1.clone(), &expected.moment_1, bound);
            assert_close(&what("second moment"), state.moment_2.clone(), &expected.moment_2, bound);
        }
    }
}
