//! Weights that are to be saved.

use super::error::RunError;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use burn_autodiff::Autodiff;
use burn_kiln_fusion::{KernelConfig, TrainingOps};
use qwen3_vl_burn::{Qwen3Vl, checkpoint_name};

/// Refuses weights that train and have become no numbers: a loss tells of them one step later.
pub(super) fn check_weights<B: TrainingOps>(model: &Qwen3Vl<Autodiff<B>>) -> Result<(), RunError> {
    let mut check = WeightCheck { kernels: model.kernel_config(), path: Vec::new(), bad: None };
    model.visit(&mut check);
    check.bad.map_or(Ok(()), |path| Err(RunError::Weights { name: checkpoint_name(&path) }))
}

/// Looks for a trained parameter whose sum of squares is no number.
struct WeightCheck<'a> {
    kernels: &'a KernelConfig,
    path: Vec<String>,
    bad: Option<String>,
}

impl<B: TrainingOps> ModuleVisitor<Autodiff<B>> for WeightCheck<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Autodiff<B>, D>>) {
        let value = param.val();
        if self.bad.is_some() || !value.is_require_grad() {
            return;
        }
        let sum = B::sum_of_squares(value.inner(), self.kernels).into_data().iter::<f32>().next();
        if !sum.is_some_and(f32::is_finite) {
            self.bad = Some(self.path.join("."));
        }
    }
}
