//! The norm of all gradients together, and clipping by it, as PyTorch's `clip_grad_norm_`.
//!
//! `norm = √ Σ g²` over all parameters; where it is above a limit, all are multiplied by `limit / (norm + 1e-6)`.

use crate::step::{Gradients, StepError};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use burn_autodiff::Autodiff;
use burn_kiln_fusion::{KernelConfig, TrainingOps};

/// What PyTorch adds to the norm that it divides by.
const EPSILON: f64 = 1e-6;

/// The norm of all gradients, and what clipping multiplies them with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GradientNorm {
    /// `√ Σ g²`.
    pub norm: f64,
    /// At most 1.
    pub factor: f64,
}

/// The norm of the gradients of `model`'s parameters, and the factor that brings it down to `limit`, for
/// [`AdamW::with_gradient_factor`](super::AdamW::with_gradient_factor): so clipping takes no pass of its own.
/// `kernels`: what the sums may use, as the model's (`Qwen3Vl::kernel_config`).
///
/// # Errors
/// [`StepError::GradientNorm`] where it is no number.
pub fn measure_gradients<B: TrainingOps, M: Module<Autodiff<B>>>(
    model: &M,
    gradients: &Gradients<B>,
    limit: Option<f64>,
    kernels: &KernelConfig,
) -> Result<GradientNorm, StepError> {
    let mut squares = Squares { gradients, kernels, sums: Vec::new() };
    model.visit(&mut squares);
    let norm = total(squares.sums).sqrt();
    if !norm.is_finite() {
        return Err(StepError::GradientNorm { norm, sources: gradients.sources.clone() });
    }
    let factor = limit.map_or(1.0, |limit| (limit / (norm + EPSILON)).min(1.0));
    Ok(GradientNorm { norm, factor })
}

/// The norm of the gradients of `model`'s parameters, which are scaled down to `limit` where it is larger, for an
/// optimiser that takes no factor. Otherwise as [`measure_gradients`].
///
/// # Errors
/// [`StepError::GradientNorm`] where it is no number; then nothing is scaled.
pub fn clip_gradients<B: TrainingOps, M: Module<Autodiff<B>>>(
    model: &M,
    gradients: &mut Gradients<B>,
    limit: Option<f64>,
    kernels: &KernelConfig,
) -> Result<f64, StepError> {
    let GradientNorm { norm, factor } = measure_gradients(model, gradients, limit, kernels)?;
    if factor < 1.0 {
        model.visit(&mut Scale { gradients, factor });
    }
    Ok(norm)
}

/// The sum of scalars that are still on the device, in f64.
fn total<B: Backend>(sums: Vec<Tensor<B, 1>>) -> f64 {
    if sums.is_empty() {
        return 0.0;
    }
    Tensor::cat(sums, 0).into_data().iter::<f64>().sum()
}

/// The sum of squares of each gradient.
struct Squares<'a, B: Backend> {
    gradients: &'a Gradients<B>,
    kernels: &'a KernelConfig,
    sums: Vec<Tensor<B, 1>>,
}

impl<B: TrainingOps> ModuleVisitor<Autodiff<B>> for Squares<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Autodiff<B>, D>>) {
        let Some(grad) = self.gradients.get::<D>(param.id) else { return };
        self.sums.push(B::sum_of_squares(grad, self.kernels));
    }
}

/// Multiplies each gradient.
struct Scale<'a, B: Backend> {
    gradients: &'a mut Gradients<B>,
    factor: f64,
}

impl<B: Backend> ModuleVisitor<Autodiff<B>> for Scale<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Autodiff<B>, D>>) {
        if let Some(grad) = self.gradients.params.remove::<B, D>(param.id) {
            self.gradients.params.register(param.id, grad * self.factor);
        }
    }
}
