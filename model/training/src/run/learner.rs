//! Burn's `Learner` for Qwen3-VL, with its dashboard in the terminal.
//!
//! Burn's traits have no errors: a step that fails panics with what [`StepError`](crate::step::StepError) says. The
//! loop of this crate ([`Trainer`](super::Trainer)) gives it back, and resumes bit for bit, which `Learner` does not.

use crate::data::{Batch, Sample};
use crate::step::{Gradients, LayerPlan, differentiate, evaluate};
use burn::data::dataloader::batcher::Batcher;
use burn::module::Module;
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use burn_autodiff::Autodiff;
use burn_kiln_fusion::TrainingOps;
use burn_train::metric::{Adaptor, LossInput};
use burn_train::{InferenceStep, ItemLazy, TrainOutput, TrainStep};
use qwen3_vl_burn::Qwen3Vl;

/// A model that `Learner` trains: what requires a gradient in it.
#[derive(Module, Debug)]
pub struct Learned<B: Backend> {
    /// The model.
    pub model: Qwen3Vl<B>,
    /// Which layers keep what their backward needs.
    #[module(skip)]
    pub plan: LayerPlan,
}

/// The mean loss of a batch; a type of its own because metrics take it on another thread.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LearnedLoss(pub f64);

impl ItemLazy for LearnedLoss {
    type ItemSync = Self;

    fn sync(self) -> Self {
        self
    }
}

impl<B: Backend> Adaptor<LossInput<B>> for LearnedLoss {
    fn adapt(&self) -> LossInput<B> {
        LossInput::new(Tensor::from_floats([self.0 as f32], &Default::default()))
    }
}

impl<B: TrainingOps> TrainStep for Learned<Autodiff<B>> {
    type Input = Batch;
    type Output = LearnedLoss;

    /// # Panics
    /// For a batch that the model cannot take, or whose loss is no number.
    fn step(&self, batch: Batch) -> TrainOutput<LearnedLoss> {
        let mut gradients = Gradients::new();
        let loss = differentiate(&self.model, &batch, batch.targets(), &self.plan, &mut gradients);
        let loss = loss.unwrap_or_else(|error| panic!("{error}"));
        TrainOutput { grads: gradients.params, item: LearnedLoss(loss.mean()) }
    }
}

impl<B: TrainingOps> InferenceStep for Learned<B> {
    type Input = Batch;
    type Output = LearnedLoss;

    /// # Panics
    /// For a batch that the model cannot take.
    fn step(&self, batch: Batch) -> LearnedLoss {
        let loss = evaluate(&self.model, &batch).unwrap_or_else(|error| panic!("{error}"));
        LearnedLoss(loss.mean())
    }
}

/// Samples behind each other, for Burn's data loaders.
#[derive(Debug, Clone, Copy, Default)]
pub struct SampleBatcher;

impl<B: Backend> Batcher<B, Sample, Batch> for SampleBatcher {
    fn batch(&self, samples: Vec<Sample>, _device: &B::Device) -> Batch {
        Batch { samples }
    }
}
