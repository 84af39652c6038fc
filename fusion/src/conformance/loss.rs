//! The loss, in chunks that don't divide the positions.

use super::case::{Case, Setting, check_case, check_output};
use super::compare::{assert_close, reshape, upload, upload_ids, upload_shaped};
use super::{Sampler, Suite};
use crate::reference::{Array, measure_cross_entropy};
use crate::{DifferentiatedLoss, LossForward, LossInputs, LossOptions, TrainingOps, Weight};
use burn_tensor::Tensor;

const IGNORED: i64 = -100;

/// Checks [`TrainingOps::lm_head_cross_entropy`] and its gradients, with ignored targets, none that counts, and no
/// position.
pub fn check<B: TrainingOps>(suite: &Suite<B>) {
    for chunk in [1, 3, 100] {
        check_case(suite, &LossCase::new([5, 4], 7, chunk, |position| position != 1));
        check_output(suite, &LossCase::new([19, 33], 131, chunk, |position| position % 4 != 0));
    }
    check_output(suite, &LossCase::new([3, 4], 7, 2, |_| false));
    check_output(suite, &LossCase::new([0, 4], 7, 2, |_| true));
    check_lse(suite, &LossCase::new([19, 33], 131, 4, |position| position % 4 != 0));
}

/// The log-sum-exps: those of positions that count, 0 for the others.
fn check_lse<B: TrainingOps>(suite: &Suite<B>, case: &LossCase) {
    let [hidden, weight] = &case.operands;
    let width = case.shape[1];
    let sum = |position: usize| {
        let row = &hidden.data[position * width..(position + 1) * width];
        let logit = |word: &[f64]| row.iter().zip(word).map(|(x, w)| x * w).sum::<f64>();
        weight.data.chunks_exact(width).map(|word| logit(word).exp()).sum::<f64>().ln()
    };
    let expected = case.targets.iter().enumerate().map(|(i, &id)| if id == IGNORED { 0.0 } else { sum(i) }).collect();
    let expected = Array::new(&[case.shape[0], 1], expected);
    let head = Weight::Plain(upload_shaped(weight, &suite.device));
    let operands = case.operands.each_ref().map(|operand| upload::<B>(operand, &suite.device));
    let inputs = || case.build(&operands, &head);
    let LossForward { lse, .. } = B::lm_head_cross_entropy(inputs(), case.options(), &suite.config);
    assert_close(&format!("log-sum-exp of {}", case.describe()), lse, &expected, suite.tolerance.output);
    let DifferentiatedLoss { forward, weight, .. } =
        B::lm_head_cross_entropy_differentiated(inputs(), false, case.options(), &suite.config);
    assert!(weight.is_none(), "a frozen head has a gradient");
    let what = format!("log-sum-exp beside the gradients of {}", case.describe());
    assert_close(&what, forward.lse, &expected, suite.tolerance.output);
}

/// Operands: hidden states and the head.
struct LossCase {
    shape: [usize; 2],
    vocab: usize,
    chunk: usize,
    targets: Vec<i64>,
    operands: [Array; 2],
}

impl LossCase {
    fn new(shape: [usize; 2], vocab: usize, chunk: usize, counts: impl Fn(usize) -> bool) -> Self {
        let mut sampler = Sampler::new(12);
        let ids = sampler.draw_ids(shape[0], vocab).into_iter().enumerate();
        let targets = ids.map(|(position, id)| if counts(position) { id as i64 } else { IGNORED }).collect();
        let operands = [sampler.draw(&shape), sampler.draw(&[vocab, shape[1]])];
        Self { shape, vocab, chunk, targets, operands }
    }

    fn options(&self) -> LossOptions {
        LossOptions { ignore_index: IGNORED, chunk: self.chunk }
    }

    fn build_head<B: TrainingOps>(&self, operands: &[Tensor<B, 1>], setting: &Setting<'_>) -> Weight<B> {
        setting.form.shape(reshape(operands[1].clone(), [self.vocab, self.shape[1]]), setting.config)
    }

    fn build<'a, B: TrainingOps>(&self, operands: &[Tensor<B, 1>], weight: &'a Weight<B>) -> LossInputs<'a, B> {
        let hidden = reshape(operands[0].clone(), self.shape);
        let targets = upload_ids(&self.targets, [self.targets.len()], &hidden.device());
        LossInputs { hidden, weight, targets }
    }
}

impl Case for LossCase {
    fn describe(&self) -> String {
        let Self { shape, vocab, chunk, targets, .. } = self;
        format!("lm_head_cross_entropy of {shape:?} over {vocab}, chunks of {chunk}, targets {targets:?}")
    }

    fn operands(&self) -> &[Array] {
        &self.operands
    }

    fn expect(&self, operands: &[Array]) -> Array {
        Array::new(&[1], vec![measure_cross_entropy(&operands[0], &operands[1], &self.targets, IGNORED)])
    }

    fn run<B: TrainingOps>(&self, operands: &[Tensor<B, 1>], setting: &Setting<'_>) -> Tensor<B, 1> {
        let head = self.build_head(operands, setting);
        let inputs = self.build(operands, &head);
        let LossForward { loss, lse } = B::lm_head_cross_entropy(inputs, self.options(), setting.config);
        assert_eq!(lse.dims(), [self.shape[0], 1], "log-sum-exp of {}", self.describe());
        loss
    }

    fn run_backward<B: TrainingOps>(
        &self,
        operands: &[Tensor<B, 1>],
        grad: Tensor<B, 1>,
        setting: &Setting<'_>,
    ) -> Vec<Option<Tensor<B, 1>>> {
        let head = self.build_head(operands, setting);
        let inputs = self.build(operands, &head);
        let (options, config) = (self.options(), setting.config);
        let lse = B::lm_head_cross_entropy(inputs.clone(), options, config).lse;
        let grads = B::lm_head_cross_entropy_backward(inputs, lse, grad, options, config);
        vec![Some(grads.hidden.flatten(0, 1)), Some(grads.weight.flatten(0, 1))]
    }
}
