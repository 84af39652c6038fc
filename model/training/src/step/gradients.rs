//! Gradients of a step, summed over its micro-batches.

use crate::data::Source;
use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Int, Tensor, TensorData};
use burn_autodiff::Autodiff;
use burn_kiln_fusion::{KernelConfig, TrainingOps, Weight};
use burn_optim::GradientsParams;
use qwen3_vl_burn::checkpoint_name;
use std::marker::PhantomData;

/// What a batch adds to the loss of its step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchLoss {
    /// Sum of the cross entropies of all targets.
    pub sum: f64,
    /// How many they are.
    pub targets: usize,
}

impl BatchLoss {
    /// Mean over the batch's own targets.
    pub fn mean(&self) -> f64 {
        self.sum / self.targets as f64
    }
}

/// Gradients of the parameters that train, by parameter.
///
/// The gradient of a parameter is in the parameter's type, as a tape gives it; a second one makes the sum f32.
#[derive(Debug)]
pub struct Gradients<B: Backend> {
    /// By parameter, tensors of `B`.
    pub params: GradientsParams,
    /// The records that they came from.
    pub sources: Vec<Source>,
    backend: PhantomData<B>,
}

impl<B: Backend> Default for Gradients<B> {
    fn default() -> Self {
        Self { params: GradientsParams::new(), sources: Vec::new(), backend: PhantomData }
    }
}

impl<B: Backend> Gradients<B> {
    /// None so far.
    pub fn new() -> Self {
        Self::default()
    }

    /// The gradient of a parameter, if it has one.
    pub fn get<const D: usize>(&self, id: ParamId) -> Option<Tensor<B, D>> {
        self.params.get::<B, D>(id)
    }

    /// Calls `look` with the name, as checkpoints have it, and the gradient in f32 of each parameter of `module` that
    /// has one.
    pub fn for_each<M: Module<Autodiff<B>>>(&self, module: &M, look: impl FnMut(&str, TensorData)) {
        module.visit(&mut Reader { gradients: self, path: Vec::new(), look });
    }

    /// Adds to the gradient of a parameter.
    pub fn add<const D: usize>(&mut self, id: ParamId, grad: Tensor<B, D>) {
        let sum = match self.params.remove::<B, D>(id) {
            None => grad,
            Some(sum) => sum.cast(DType::F32) + grad.cast(DType::F32),
        };
        self.params.register(id, sum);
    }

    /// Adds `grad` to rows `ids` of the gradient of `table` `[rows, hidden]`, which is f32 from then on. There is no
    /// second table.
    ///
    /// # Shapes
    /// `ids` `[1, n]`, `grad` `[1, n, hidden]`, f32.
    pub(super) fn add_rows(
        &mut self,
        table: &Param<Tensor<Autodiff<B>, 2>>,
        ids: Tensor<B, 2, Int>,
        grad: Tensor<B, 3>,
        config: &KernelConfig,
    ) where
        B: TrainingOps,
    {
        let sum = match self.params.remove::<B, 2>(table.id) {
            None => TrainingOps::embedding_backward(&Weight::Plain(table.val().inner()), ids, grad, config),
            Some(sum) => B::add_embedding_backward(sum.cast(DType::F32), ids, grad, config),
        };
        self.params.register(table.id, sum);
    }
}

/// Reads the gradients of a module's parameters.
struct Reader<'a, B: Backend, F> {
    gradients: &'a Gradients<B>,
    path: Vec<String>,
    look: F,
}

impl<B: Backend, F: FnMut(&str, TensorData)> ModuleVisitor<Autodiff<B>> for Reader<'_, B, F> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<Autodiff<B>, D>>) {
        if let Some(grad) = self.gradients.get::<D>(param.id) {
            (self.look)(&checkpoint_name(&self.path.join(".")), grad.cast(DType::F32).into_data());
        }
    }
}
