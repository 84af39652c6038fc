//! What a check does with one case of one op.

use super::compare::{assert_close, upload};
use super::{Sampler, Suite, WeightForm};
use crate::reference::{Array, differentiate};
use crate::{KernelConfig, TrainingOps};
use burn_autodiff::Autodiff;
use burn_backend::DType;
use burn_tensor::Tensor;

/// What a case may use while it runs.
pub(super) struct Setting<'a> {
    pub config: &'a KernelConfig,
    pub form: WeightForm,
}

/// One op with its operands. Operands are flat, so that all cases look alike; the case gives them their shapes.
pub(super) trait Case {
    /// What a failure says.
    fn describe(&self) -> String;

    /// Operands that have gradients.
    fn operands(&self) -> &[Array];

    /// All outputs, one behind the other, by the reference.
    fn expect(&self, operands: &[Array]) -> Array;

    /// All outputs, flat, by the backend.
    fn run<B: TrainingOps>(&self, operands: &[Tensor<B, 1>], setting: &Setting<'_>) -> Tensor<B, 1>;

    /// Gradients of the operands by `*_forward` and `*_backward`, flat; `None` where the op gives none.
    fn run_backward<B: TrainingOps>(
        &self,
        operands: &[Tensor<B, 1>],
        grad: Tensor<B, 1>,
        setting: &Setting<'_>,
    ) -> Vec<Option<Tensor<B, 1>>>;
}

/// The op against its reference, with every form of weights.
pub(super) fn check_output<B: TrainingOps>(suite: &Suite<B>, case: &impl Case) {
    let expected = case.expect(case.operands());
    for &form in &suite.forms {
        let setting = Setting { config: &suite.config, form };
        let output = case.run::<B>(&upload_all(case, &suite.device), &setting);
        assert_close(&format!("{} with {form:?}", case.describe()), output, &expected, suite.tolerance_of(form).output);
    }
}

/// The op, its backward pass and its node on the tape.
pub(super) fn check_case<B: TrainingOps>(suite: &Suite<B>, case: &impl Case) {
    check_output(suite, case);
    if !suite.gradients {
        return;
    }
    let outputs = case.expect(case.operands()).data.len();
    let grad = Sampler::new(1).draw(&[outputs]);
    let expected = differentiate_all(case, &grad);
    check_backward(suite, case, &grad, &expected);
    check_tape(suite, case, &grad, &expected, &|_| true);
    if expected.len() > 1 {
        for chosen in 0..expected.len() {
            check_tape(suite, case, &grad, &expected, &|index| index == chosen);
            check_tape(suite, case, &grad, &expected, &|index| index != chosen);
        }
    }
}

/// Gradients of `Σ output ⊙ grad`.
fn differentiate_all(case: &impl Case, grad: &Array) -> Vec<Array> {
    let operands = case.operands();
    let differentiate_one = |index: usize| {
        differentiate(&operands[index], |operand| {
            let mut moved = operands.to_vec();
            moved[index] = operand.clone();
            case.expect(&moved).data.iter().zip(&grad.data).map(|(output, grad)| output * grad).sum()
        })
    };
    (0..operands.len()).map(differentiate_one).collect()
}

fn check_backward<B: TrainingOps>(suite: &Suite<B>, case: &impl Case, grad: &Array, expected: &[Array]) {
    for &form in suite.forms.iter().filter(|form| matches!(form, WeightForm::Plain(_))) {
        let setting = Setting { config: &suite.config, form };
        let operands = upload_all::<B>(case, &suite.device);
        let grads = case.run_backward::<B>(&operands, upload(grad, &suite.device), &setting);
        for (index, (actual, expected)) in grads.into_iter().zip(expected).enumerate() {
            let what = format!("backward of {}, operand {index}, with {form:?}", case.describe());
            if let Some(actual) = actual {
                assert_close(&what, actual, expected, suite.tolerance_of(form).gradient);
            }
        }
    }
}

/// Gradients that `Autodiff<B>` gives when it trains the operands that `trains` says.
fn check_tape<B: TrainingOps>(
    suite: &Suite<B>,
    case: &impl Case,
    grad: &Array,
    expected: &[Array],
    trains: &dyn Fn(usize) -> bool,
) {
    type Tape<B> = Autodiff<B>;
    let setting = Setting { config: &suite.config, form: WeightForm::Plain(DType::F32) };
    let leaves = upload_all::<Tape<B>>(case, &suite.device).into_iter().enumerate();
    let leaves: Vec<_> = leaves.map(|(index, leaf)| if trains(index) { leaf.require_grad() } else { leaf }).collect();
    let output = case.run::<Tape<B>>(&leaves, &setting);
    let grads = (output * upload::<Tape<B>>(grad, &suite.device)).sum().backward();
    for (index, (leaf, expected)) in leaves.iter().zip(expected).enumerate() {
        let trained: Vec<usize> = (0..leaves.len()).filter(|&index| trains(index)).collect();
        let what = format!("gradient of {}, operand {index} of trained {trained:?}", case.describe());
        match leaf.grad(&grads) {
            Some(actual) => assert_close(&what, actual, expected, suite.tolerance.gradient),
            None => assert!(!trains(index), "{what}: missing"),
        }
    }
}

fn upload_all<B: TrainingOps>(case: &impl Case, device: &B::Device) -> Vec<Tensor<B, 1>> {
    case.operands().iter().map(|operand| upload(operand, device)).collect()
}
