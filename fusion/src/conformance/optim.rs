//! AdamW over several steps, and the sum of squares that clips gradients.

use super::compare::{assert_close, upload_ids, upload_shaped};
use super::{Sampler, Suite, WeightForm};
use crate::reference::{AdamWArrays, Array, step_adamw};
use crate::{AdamWOptions, AdamWState, TrainingOps};
use burn_tensor::{DType, Tensor};

const SHAPE: [usize; 2] = [7, 13];

/// Checks [`TrainingOps::adamw_step`]: parameter and moments after each of several steps, with and without decay, of
/// scaled gradients; the master copy of parameters of 16 bits; the step of some rows; [`TrainingOps::sum_of_squares`].
pub fn check<B: TrainingOps>(suite: &Suite<B>) {
    for (weight_decay, grad_scale) in [(0.0, 1.0), (0.1, 1.0), (0.1, 0.25)] {
        let mut sampler = Sampler::new(13);
        let mut expected = begin(&mut sampler);
        let mut parameter: Tensor<B, 2> = upload_shaped(&expected.parameter, &suite.device);
        let mut state = AdamWState::new(&parameter);
        for step in 1..=5 {
            let options = options(weight_decay, grad_scale, step);
            let grad = sampler.draw(&SHAPE);
            expected = step_adamw(&expected, &grad, options);
            let grad = upload_shaped(&grad, &suite.device);
            (parameter, state) = B::adamw_step(parameter, grad, state, options, &suite.config);
            let what = format!("adamw_step {step}, decay {weight_decay}, scale {grad_scale}");
            assert_step(suite, &what, parameter.clone(), &state, &expected);
        }
    }
    for dtype in [DType::BF16, DType::F16] {
        if suite.forms.contains(&WeightForm::Plain(dtype)) {
            check_master(suite, dtype);
        }
    }
    check_rows(suite);
    check_squares(suite);
}

fn options(weight_decay: f64, grad_scale: f64, step: u64) -> AdamWOptions {
    AdamWOptions { learning_rate: 0.01, beta_2: 0.99, weight_decay, step, grad_scale, ..AdamWOptions::default() }
}

fn begin(sampler: &mut Sampler) -> AdamWArrays {
    let zeros = Array::zeros(&SHAPE);
    AdamWArrays { parameter: sampler.draw(&SHAPE), moment_1: zeros.clone(), moment_2: zeros }
}

fn assert_step<B: TrainingOps>(
    suite: &Suite<B>,
    what: &str,
    parameter: Tensor<B, 2>,
    state: &AdamWState<B, 2>,
    expected: &AdamWArrays,
) {
    let bound = suite.tolerance.output;
    assert_close(&format!("{what}, parameter"), parameter, &expected.parameter, bound);
    assert_close(&format!("{what}, first moment"), state.moment_1.clone(), &expected.moment_1, bound);
    assert_close(&format!("{what}, second moment"), state.moment_2.clone(), &expected.moment_2, bound);
}

/// Small steps of a parameter of 16 bits add up in its master copy, which the parameter is rounded from.
fn check_master<B: TrainingOps>(suite: &Suite<B>, dtype: DType) {
    let mut sampler = Sampler::new(14);
    let mut expected = begin(&mut sampler);
    let mut parameter = upload_shaped::<B, 2>(&expected.parameter, &suite.device).cast(dtype);
    let mut state = AdamWState::new(&parameter);
    let master = upload_shaped::<B, 2>(&expected.parameter, &suite.device);
    state.master = Some(master);
    for step in 1..=5 {
        let options = AdamWOptions { learning_rate: 1e-4, ..options(0.1, 1.0, step) };
        let grad = sampler.draw(&SHAPE);
        expected = step_adamw(&expected, &grad, options);
        let grad = upload_shaped(&grad, &suite.device);
        (parameter, state) = B::adamw_step(parameter, grad, state, options, &suite.config);
        let what = format!("adamw_step {step} of {dtype:?} with a master copy");
        let master = state.master.clone().expect("a state keeps its master copy");
        assert_step(suite, &what, master.clone(), &state, &expected);
        assert_eq!(parameter.dtype(), dtype, "{what}");
        parameter.to_data().assert_eq(&master.cast(dtype).into_data(), true);
    }
}

/// Rows without a gradient take their step too.
fn check_rows<B: TrainingOps>(suite: &Suite<B>) {
    let [rows, width] = SHAPE;
    let mut sampler = Sampler::new(15);
    let mut expected = begin(&mut sampler);
    let mut parameter: Tensor<B, 2> = upload_shaped(&expected.parameter, &suite.device);
    let mut state = AdamWState::new(&parameter);
    for (step, ids) in [(1, vec![5, 0, 5, 2]), (2, vec![6, 6, 6, 6]), (3, vec![1, 2, 3, 4])] {
        let grad = sampler.draw(&[2, 2, width]);
        let mut dense = vec![0.0; rows * width];
        for (id, row) in ids.iter().zip(grad.data.chunks(width)) {
            dense[id * width..(id + 1) * width].iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
        expected = step_adamw(&expected, &Array { shape: SHAPE.to_vec(), data: dense }, options(0.1, 0.5, step));
        let ids: Vec<i64> = ids.into_iter().map(|id: usize| id as i64).collect();
        let ids = upload_ids(&ids, [2, 2], &suite.device);
        let grads = B::embedding_backward_rows(ids, upload_shaped(&grad, &suite.device), &suite.config);
        (parameter, state) = B::adamw_step_rows(parameter, grads, state, options(0.1, 0.5, step), &suite.config);
        assert_step(suite, &format!("adamw_step_rows {step}"), parameter.clone(), &state, &expected);
    }
}

fn check_squares<B: TrainingOps>(suite: &Suite<B>) {
    for shape in [[7, 13], [1, 1], [70, 129], [3, 0]] {
        let x = Sampler::new(16).draw(&shape);
        let sum = Array { shape: vec![1], data: vec![x.data.iter().map(|x| x * x).sum()] };
        let found = B::sum_of_squares(upload_shaped::<B, 2>(&x, &suite.device), &suite.config);
        assert_close(&format!("sum_of_squares of {shape:?}"), found, &sum, suite.tolerance.output);
    }
}
