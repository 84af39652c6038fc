//! Loss and gradients of every case that has them.

use super::check::relative_error;
use super::{Case, Precision, Report, Row, Verdict, list_cases};
use crate::backend::{Place, Program};
use crate::{Error, say};
use burn_autodiff::Autodiff;
use burn_kiln_fusion::TrainingOps;
use burn_tensor::backend::Backend;
use burn_tensor::{DType, TensorData};
use qwen3_vl_burn::Qwen3Vl;
use qwen3_vl_train::data::{Batch, Sample, Source};
use qwen3_vl_train::step::{Gradients, Keep, LayerPlan, differentiate};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// The loss, relative: an average of logarithms of sums, of logits that may be off by 5e-5.
const LOSS_TOLERANCE: f64 = 1e-5;
/// Gradients, relative to each tensor's largest, and norms, relative.
const GRADIENT_TOLERANCE: f64 = 1e-3;
/// In bf16, the loss: weights are off by `2⁻⁹` each, a mean over many by less; experts may change.
const BF16_LOSS_TOLERANCE: f64 = 1e-2;
/// In bf16, gradients and norms: eight bits over tens of roundings in sequence.
const BF16_GRADIENT_TOLERANCE: f64 = 5e-2;
/// In bf16 with experts: tokens that go to another one leave their gradient there.
const BF16_EXPERTS_TOLERANCE: f64 = 0.5;
/// A norm below this is rounding: an input that the model does not read.
const LEAST_NORM: f64 = 1e-9;

/// Runs the training step of every case in `dir` that has a loss, with every layer's tape kept and with every layer
/// computed twice.
///
/// # Errors
/// [`Error::NoTraining`] where no case has a loss, [`Error::NoCases`], [`Error::File`], [`Error::Case`],
/// [`Error::Step`], and [`Error::Model`] for a checkpoint that cannot be loaded; a wrong number is a row of the report.
pub fn check_training(dir: &Path, place: &Place) -> Result<Report, Error> {
    place.run(Train { dir, place })
}

struct Train<'a> {
    dir: &'a Path,
    place: &'a Place,
}

impl Program for Train<'_> {
    type Out = Report;

    fn run<B: TrainingOps>(self) -> Result<Report, Error> {
        let Self { dir, place } = self;
        let device = Default::default();
        say!("{} on {}, training", dir.display(), Autodiff::<B>::name(&device))?;
        let config = place.optimization()?;
        let mut model = Qwen3Vl::<Autodiff<B>>::load(dir, &device, place.load_options(config.as_ref()))?;
        if let Some(config) = &config {
            config.apply_to_process();
            model = model.with_kernel_config(config.kernels());
        }
        let mut report = Report::default();
        for case in list_cases(dir)? {
            for keep in [Keep::Tape, Keep::Input] {
                check_case(&model, &case, keep, &mut report)?;
            }
        }
        if report.rows().is_empty() {
            return Err(Error::NoTraining { path: dir.to_owned() });
        }
        Ok(report)
    }
}

/// A step of one case; nothing where it has no loss.
fn check_case<B: TrainingOps>(
    model: &Qwen3Vl<Autodiff<B>>,
    case: &Case,
    keep: Keep,
    report: &mut Report,
) -> Result<(), Error> {
    let Some(expected) = case.floats("expect.loss")?.and_then(|loss| loss.first().copied()) else { return Ok(()) };
    let labels = case.integers("labels")?.ok_or_else(|| case.error("a loss, but no labels"))?;
    let source = Source { file: Arc::new(case.path().to_owned()), record: 1, line: 1 };
    let batch = Batch { samples: vec![Sample { inputs: case.inputs()?, labels, source }] };
    let plan = LayerPlan::uniform(model.config(), keep);
    let mut gradients = Gradients::new();
    let loss = differentiate(model, &batch, batch.targets(), &plan, &mut gradients)?.mean();

    let precision = if model.cache_dtype() == DType::BF16 { Precision::Bf16 } else { Precision::F32 };
    let (allowed_loss, allowed) = match (precision, model.config().text.moe.is_some()) {
        (Precision::F32, _) => (LOSS_TOLERANCE, GRADIENT_TOLERANCE),
        (Precision::Bf16, false) => (BF16_LOSS_TOLERANCE, BF16_GRADIENT_TOLERANCE),
        (Precision::Bf16, true) => (BF16_LOSS_TOLERANCE, BF16_EXPERTS_TOLERANCE),
    };
    let mut push = |what: &str, found: String, allowed: f64, pass: bool| {
        let stage = format!("{what}, {}", if keep == Keep::Tape { "kept" } else { "twice" });
        let verdict = if pass { Verdict::Pass } else { Verdict::Fail };
        report.push(Row { case: case.name.clone(), stage, found, allowed: format!("{allowed:.2e}"), verdict });
    };
    let expected = f64::from(expected);
    let error = ((loss - expected) / expected).abs();
    push("loss", format!("{error:.2e}"), allowed_loss, error <= allowed_loss);

    let mut checks = [Worst::new(case, "expect.grad.")?, Worst::new(case, "expect.grad_norm.")?];
    let mut outcome = Ok(());
    gradients.for_each(model, |name, grad| {
        if outcome.is_ok() {
            outcome = checks.iter_mut().try_for_each(|check| check.compare(case, name, &grad));
        }
    });
    outcome?;
    for (check, what) in checks.iter_mut().zip(["gradients", "norms"]) {
        check.miss(case)?;
        if check.count > 0 {
            let pass = check.error <= allowed;
            push(what, check.found(pass), allowed, pass);
        }
    }
    Ok(())
}

/// The largest error of a kind of tensors.
struct Worst {
    prefix: &'static str,
    /// Names that have not been seen.
    left: BTreeSet<String>,
    /// How many there are.
    count: usize,
    error: f64,
    name: String,
}

impl Worst {
    fn new(case: &Case, prefix: &'static str) -> Result<Self, Error> {
        let left = case.names(prefix)?;
        Ok(Self { prefix, count: left.len(), left, error: 0.0, name: String::new() })
    }

    fn compare(&mut self, case: &Case, name: &str, grad: &TensorData) -> Result<(), Error> {
        if self.left.remove(name) {
            let found: Vec<f32> = grad.iter::<f32>().collect();
            self.push(case, name, &found)?;
        }
        Ok(())
    }

    /// Parameters without a gradient have one of 0.
    fn miss(&mut self, case: &Case) -> Result<(), Error> {
        for name in std::mem::take(&mut self.left) {
            let length = case.floats(&format!("{}{name}", self.prefix))?.map_or(0, |expected| expected.len());
            self.push(case, &name, &vec![0.0; length])?;
        }
        Ok(())
    }

    fn push(&mut self, case: &Case, name: &str, found: &[f32]) -> Result<(), Error> {
        let Some(expected) = case.floats(&format!("{}{name}", self.prefix))? else { return Ok(()) };
        let error = if self.prefix == "expect.grad." {
            relative_error(found, &expected)
        } else {
            let norm = found.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
            let expected = expected.first().map_or(f64::NAN, |&norm| f64::from(norm));
            if norm.max(expected) < LEAST_NORM { 0.0 } else { (norm - expected).abs() / expected.max(LEAST_NORM) }
        };
        // Not a number is the worst.
        if error.is_nan() || error > self.error {
            (self.error, self.name) = (if error.is_nan() { f64::INFINITY } else { error }, name.to_owned());
        }
        Ok(())
    }

    fn found(&self, pass: bool) -> String {
        if pass { format!("{:.2e} of {}", self.error, self.count) } else { format!("{:.2e} {}", self.error, self.name) }
    }
}
