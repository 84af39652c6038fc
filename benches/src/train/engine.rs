//! Steps of training on a backend of this workspace.

use super::Result;
use super::args::{Args, Recipe};
use super::workload::{CLIP, LEARNING_RATE};
use crate::qwen::args::Dtype;
use burn_autodiff::Autodiff;
use burn_kiln_fusion::{KernelConfig, TrainingOps};
use burn_optim::Optimizer;
use qwen3_vl_burn::{LoadOptions, Qwen3Vl};
use qwen3_vl_train::data::Batch;
use qwen3_vl_train::lora::{LoraConfig, attach};
use qwen3_vl_train::optim::{AdamW, AdamWConfig, measure_gradients};
use qwen3_vl_train::parameters::Selection;
use qwen3_vl_train::step::{BatchSize, Gradients, Keep, LayerPlan, MemoryPlan, PlanRequest, differentiate};
use std::path::Path;
use std::time::Instant;

/// What a step gave.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Forward, backward, clipping and AdamW.
    pub seconds: f64,
    /// Before the step.
    pub loss: f64,
}

/// A model that trains on one sample.
pub trait Trainer {
    /// What it is.
    fn facts(&self) -> Vec<String>;
    /// One step.
    fn step(&mut self) -> Result<Step>;
}

/// A model on `Autodiff<B>`.
pub struct Engine<B: TrainingOps> {
    /// `None` only after a step that failed.
    model: Option<Qwen3Vl<Autodiff<B>>>,
    optimizer: AdamW<B>,
    batch: Batch,
    plan: LayerPlan,
    facts: Vec<String>,
}

impl<B: TrainingOps> Engine<B> {
    /// Loads the checkpoint.
    ///
    /// # Errors
    /// Its own.
    pub fn load(args: &Args, dir: &Path, batch: Batch) -> Result<Self> {
        let options = LoadOptions::default().with_dtype(args.dtype.burn());
        let mut kernels = KernelConfig::default();
        kernels.simd.bf16_products = args.dtype == Dtype::Bf16;
        let model = Qwen3Vl::<Autodiff<B>>::load(dir, &Default::default(), options)?.with_kernel_config(kernels);
        let (model, facts) = match args.recipe {
            Recipe::Full => {
                let (model, trainables) = Selection::all(LEARNING_RATE).apply(model)?;
                (model, format!("{} tensors train", trainables.len()))
            }
            Recipe::Lora => {
                let rank = args.rank as usize;
                let (model, report) = attach(model, &LoraConfig::new(rank, 2.0 * f64::from(args.rank)))?;
                (model, report.to_string())
            }
        };
        let budget = args.memory_limit.map(|limit| limit.as_u64());
        let size = BatchSize::of(&batch);
        let memory = MemoryPlan::new(&model, PlanRequest { batch: size, accumulates: false, budget })?;
        let mut facts = vec![format!("{} {}, {facts}", type_name::<B>(), args.dtype.name())];
        let plan = if args.checkpointing {
            LayerPlan::uniform(model.config(), Keep::Input)
        } else {
            facts.push(format!("{} planned {:.2} GiB", type_name::<B>(), memory.total as f64 / (1u64 << 30) as f64));
            memory.layers
        };
        let optimizer = AdamW::new(AdamWConfig::default(), model.kernel_config());
        Ok(Self { model: Some(model), optimizer, batch, plan, facts })
    }
}

/// The backend's name without its modules.
fn type_name<B>() -> String {
    let name = std::any::type_name::<B>();
    let parts = name.split('<').map(|part| part.rsplit("::").next().unwrap_or(part));
    parts.collect::<Vec<_>>().join("<")
}

impl<B: TrainingOps> Trainer for Engine<B> {
    fn facts(&self) -> Vec<String> {
        self.facts.clone()
    }

    fn step(&mut self) -> Result<Step> {
        let model = self.model.take().ok_or("an earlier step failed")?;
        let start = Instant::now();
        let mut gradients = Gradients::new();
        let loss = differentiate(&model, &self.batch, self.batch.targets(), &self.plan, &mut gradients)?;
        let clip = measure_gradients(&model, &gradients, Some(CLIP), model.kernel_config())?;
        self.model =
            Some(self.optimizer.with_gradient_factor(clip.factor).step(LEARNING_RATE, model, gradients.params));
        Ok(Step { seconds: start.elapsed().as_secs_f64(), loss: loss.mean() })
    }
}
