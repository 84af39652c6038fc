//! Gradients of a step, summed over its micro-batches.

use crate::data::Source;
use burn::module::ParamId;
use burn::tensor::backend::Backend;
use burn::tensor::{DType, IndexingUpdateOp, Int, Tensor};
use burn_optim::GradientsParams;
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

    /// Adds to the gradient of a parameter.
    pub fn add<const D: usize>(&mut self, id: ParamId, grad: Tensor<B, D>) {
        let sum = match self.params.remove::<B, D>(id) {
            None => grad,
            Some(sum) => sum.cast(DType::F32) + grad.cast(DType::F32),
        };
        self.params.register(id, sum);
    }

    /// Adds `grad` to rows `ids` of the gradient of a table `[rows, hidden]`, which is f32 from then on. There is no
    /// second table.
    ///
    /// # Shapes
    /// `ids` `[n]`, `grad` `[n, hidden]`.
    pub(super) fn add_rows(&mut self, id: ParamId, rows: usize, ids: Tensor<B, 1, Int>, grad: Tensor<B, 2>) {
        let sum = match self.params.remove::<B, 2>(id) {
            None => Tensor::zeros([rows, grad.dims()[1]], (&grad.device(), DType::F32)),
            Some(sum) => sum.cast(DType::F32),
        };
        self.params.register(id, sum.select_assign(0, ids, grad.cast(DType::F32), IndexingUpdateOp::Add));
    }
}
