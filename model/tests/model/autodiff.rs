//! Loss and gradients of the whole model against HF's, and the derived autodiff twin of its modules.

use crate::fixture;

use burn::module::{AutodiffModule, Module, ModuleVisitor, Param};
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Int, Tensor, TensorData};
use burn_autodiff::Autodiff;
use burn_flex::Flex;
use burn_kiln_fusion::{LossInputs, LossOptions, TrainingOps};
use fixture::Case;
use qwen3_vl_burn::{LoadOptions, Logits, Qwen3Vl};

type Backend = Autodiff<Flex>;

/// Relative: gradients pass through twice the sums that the logits do, and a norm averages their errors.
const TOLERANCE: f64 = 1e-4;

fn load() -> Qwen3Vl<Backend> {
    Qwen3Vl::load(fixture::folder("tiny-dense"), &Default::default(), LoadOptions::default()).unwrap()
}

/// Mean next-token cross entropy, as HF computes it: position `i` predicts label `i + 1`.
fn compute_loss(model: &Qwen3Vl<Backend>, case: &Case) -> Tensor<Backend, 1> {
    let device = model.device();
    let labels = case.integers("labels");
    let count = labels.len() - 1;
    let hidden = model.run(vec![model.prepare(&case.inputs()).unwrap()]).unwrap();
    let hidden = model.language_model.norm.forward(hidden, model.kernel_config());
    let targets = Tensor::<Backend, 1, Int>::from_data(TensorData::new(labels[1..].to_vec(), [count]), &device);
    let hidden: Tensor<Backend, 2> = hidden.flatten(0, 1);
    let (hidden, options) = (hidden.narrow(0, 0, count), LossOptions { chunk: 7, ..Default::default() });
    let weight = model.head();
    let inputs = LossInputs { hidden, weight: &weight, targets };
    Backend::lm_head_cross_entropy(inputs, options, model.kernel_config()).loss
}

/// Compares the L2 norm of every parameter's gradient.
struct NormCheck<'a> {
    path: Vec<String>,
    grads: &'a <Backend as AutodiffBackend>::Gradients,
    case: &'a Case,
    checked: usize,
}

impl ModuleVisitor<Backend> for NormCheck<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Backend, D>>) {
        let name = format!("model.{}", self.path.join(".").replace(".Dense", ""));
        let Some(expected) = self.case.try_floats(&format!("expect.grad_norm.{name}")) else { return };
        let norm = match param.val().grad(self.grads) {
            Some(grad) => grad.powf_scalar(2.0).sum().sqrt().into_scalar(),
            None => 0.0,
        };
        let (found, expected) = (f64::from(norm), f64::from(expected[0]));
        let error = (found - expected).abs();
        assert!(error <= TOLERANCE * expected.abs() + 1e-9, "{name}: {found:e}, expected {expected:e}");
        self.checked += 1;
    }
}

#[test]
fn loss_and_gradients_are_hfs() {
    let model = load();
    for (name, parameters) in [("text", 46), ("image", 145)] {
        let case = Case::open("tiny-dense", name);
        let loss = compute_loss(&model, &case);
        let (found, expected) = (f64::from(loss.clone().into_scalar()), f64::from(case.floats("expect.loss")[0]));
        assert!((found - expected).abs() <= 1e-5 * expected, "{name}: {found}, expected {expected}");
        let grads = loss.backward();
        let mut check = NormCheck { path: Vec::new(), grads: &grads, case: &case, checked: 0 };
        model.visit(&mut check);
        assert_eq!(check.checked, parameters, "{name}");
    }
}

#[test]
fn the_inner_model_computes_the_same() {
    let model = load();
    let inputs = Case::open("tiny-dense", "image").inputs();
    let tracked = model.forward(&inputs, Logits::Last).unwrap().into_data();
    let inner: Qwen3Vl<Flex> = model.valid();
    assert_eq!(inner.forward(&inputs, Logits::Last).unwrap().into_data(), tracked);
}
