//! AdamW over all parameters that train.

use super::moments::Moments;
use super::record::{AdamWRecord, MomentsRecord};
use crate::parameters::Trainable;
use burn::module::{AutodiffModule, ModuleMapper, Param, ParamId};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorPrimitive};
use burn_autodiff::Autodiff;
use burn_kiln_fusion::{AdamWOptions, AdamWState, KernelConfig, TrainingOps};
use burn_optim::{GradientsParams, LearningRate, MultiGradientsParams, Optimizer};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;

/// The constants of AdamW. The defaults are PyTorch's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdamWConfig {
    /// Decay of the first moment.
    pub beta_1: f64,
    /// Decay of the second moment.
    pub beta_2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Weight decay of matrices that have none of their own ([`AdamW::with_parameters`]).
    pub weight_decay: f64,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8, weight_decay: 0.0 }
    }
}

/// AdamW (Loshchilov and Hutter 2019), as PyTorch computes it, by [`TrainingOps::adamw_step`].
///
/// Moments are f32; a parameter of another type has an f32 copy that is updated in its place, and is rounded from it.
/// A parameter takes a step when it has a gradient.
#[derive(Debug, Clone)]
pub struct AdamW<B: Backend> {
    pub(super) config: AdamWConfig,
    pub(super) parameters: HashMap<ParamId, Trainable>,
    pub(super) moments: HashMap<ParamId, Moments<B>>,
    kernels: Arc<KernelConfig>,
    /// What the next step multiplies gradients with.
    gradient_factor: f64,
}

impl<B: Backend> AdamW<B> {
    /// Without moments. `kernels`: what the step's kernel may use, as the model's (`Qwen3Vl::kernel_config`).
    pub fn new(config: AdamWConfig, kernels: &KernelConfig) -> Self {
        let kernels = Arc::new(kernels.clone());
        Self { config, parameters: HashMap::new(), moments: HashMap::new(), kernels, gradient_factor: 1.0 }
    }

    /// Gives parameters their own learning rates and weight decays, and their names in
    /// [saved](AdamW::save) state.
    pub fn with_parameters(mut self, trainables: &[Trainable]) -> Self {
        self.parameters = trainables.iter().map(|trainable| (trainable.parameter.id, trainable.clone())).collect();
        self
    }

    /// Multiplies the gradients of the next step alone with `factor`, as clipping does, while they are used.
    pub fn with_gradient_factor(&mut self, factor: f64) -> &mut Self {
        self.gradient_factor = factor;
        self
    }

    /// The options of a parameter's step number `step`.
    fn options(&self, id: ParamId, rank: usize, learning_rate: f64, step: u64) -> AdamWOptions {
        let AdamWConfig { beta_1, beta_2, epsilon, weight_decay } = self.config;
        let (rate, weight_decay) = match self.parameters.get(&id) {
            Some(own) => (own.rate, own.weight_decay),
            None => (1.0, if rank > 1 { weight_decay } else { 0.0 }),
        };
        AdamWOptions {
            learning_rate: learning_rate * rate,
            beta_1,
            beta_2,
            epsilon,
            weight_decay,
            step,
            grad_scale: self.gradient_factor,
        }
    }
}

impl<B: TrainingOps> AdamW<B> {
    /// One parameter's step.
    fn update<const D: usize>(
        &mut self,
        id: ParamId,
        parameter: Tensor<B, D>,
        grad: Tensor<B, D>,
        learning_rate: f64,
    ) -> Tensor<B, D> {
        let (state, step) = match self.moments.remove(&id) {
            Some(Moments { moment_1, moment_2, master, step }) => {
                let state = AdamWState { moment_1: lift(moment_1), moment_2: lift(moment_2), master: master.map(lift) };
                (state, step + 1)
            }
            None => (AdamWState::new(&parameter), 1),
        };
        let options = self.options(id, D, learning_rate, step);
        let (parameter, state) = B::adamw_step(parameter, grad, state, options, &self.kernels);
        let AdamWState { moment_1, moment_2, master } = state;
        let (moment_1, moment_2, master) = (lower(moment_1), lower(moment_2), master.map(lower));
        self.moments.insert(id, Moments { moment_1, moment_2, master, step });
        parameter
    }
}

fn lift<B: Backend, const D: usize>(primitive: B::FloatTensorPrimitive) -> Tensor<B, D> {
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}

fn lower<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> B::FloatTensorPrimitive {
    tensor.into_primitive().tensor()
}

/// Updates each parameter that has a gradient.
struct Updater<'a, B: Backend, G> {
    optimizer: &'a mut AdamW<B>,
    learning_rate: f64,
    take: G,
}

/// Where a parameter's gradient comes from.
trait Take<B: Backend> {
    fn take<const D: usize>(&mut self, id: ParamId) -> Option<Tensor<B, D>>;
}

impl<B: Backend> Take<B> for GradientsParams {
    fn take<const D: usize>(&mut self, id: ParamId) -> Option<Tensor<B, D>> {
        self.remove(id)
    }
}

impl<B: Backend> Take<B> for MultiGradientsParams {
    fn take<const D: usize>(&mut self, id: ParamId) -> Option<Tensor<B, D>> {
        self.remove(id).map(|(grad, _)| grad)
    }
}

impl<B: TrainingOps, G: Take<B>> ModuleMapper<Autodiff<B>> for Updater<'_, B, G> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<Autodiff<B>, D>>) -> Param<Tensor<Autodiff<B>, D>> {
        let Some(grad) = self.take.take::<D>(param.id) else { return param };
        let (id, tensor, mapper) = param.consume();
        let trains = tensor.is_require_grad();
        let updated = self.optimizer.update(id, tensor.inner(), grad, self.learning_rate);
        Param::from_mapped_value(id, Tensor::from_inner(updated).set_require_grad(trains), mapper)
    }
}

impl<B: TrainingOps, M: AutodiffModule<Autodiff<B>>> Optimizer<M, Autodiff<B>> for AdamW<B> {
    type Record = AdamWRecord;

    fn step(&mut self, learning_rate: LearningRate, module: M, grads: GradientsParams) -> M {
        let updated = module.map(&mut Updater { optimizer: self, learning_rate, take: grads });
        self.gradient_factor = 1.0;
        updated
    }

    fn step_multi(&mut self, learning_rate: LearningRate, module: M, grads: MultiGradientsParams) -> M {
        let updated = module.map(&mut Updater { optimizer: self, learning_rate, take: grads });
        self.gradient_factor = 1.0;
        updated
    }

    fn to_record(&self) -> AdamWRecord {
        AdamWRecord {
            moments: self.moments.iter().map(|(id, moments)| (id.serialize(), moments.to_record())).collect(),
        }
    }

    fn load_record(mut self, record: AdamWRecord) -> Self {
        let device = B::Device::default();
        let load =
            |(id, moments): (String, MomentsRecord)| (ParamId::deserialize(&id), Moments::load(moments, &device));
        self.moments = record.moments.into_iter().map(load).collect();
        self
    }
}
