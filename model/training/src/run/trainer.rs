//! The loop over batches and steps.
//!
//! ```text
//! for each epoch: its batches, in an order that follows from the seed and the epoch's number
//!     for each step: `accumulate` batches, their gradients added up
//!         clip, step of AdamW, metrics
//!         evaluate, save, end: where it is time
//! ```
//!
//! A step is taken whole or not at all, and what is saved is between two steps. So a run that goes on from a checkpoint
//! takes the steps that it would have taken, with the same losses bit for bit where the kernels are deterministic
//! (`KernelConfig::deterministic`).

use super::dataset::TrainingData;
use super::error::RunError;
use super::event::{RunEvent, RunObserver};
use super::folder::RunFolder;
use super::memory;
use super::metrics::StepMetrics;
use super::options::{BatchLimit, RunLength, TrainOptions};
use super::recording::Recording;
use super::save::{Output, read_checkpoint};
use super::state::RunState;
use super::weight_check::check_weights;
use crate::data::{BatchPlan, DataError, Loaded};
#[cfg(feature = "distributed")]
use crate::distributed::{Group, StepNews, sum_gradients};
use crate::optim::{AdamW, GradientNorm, Schedule, measure_gradients};
use crate::parameters::{Selection, Trainable};
use crate::step::{BatchLoss, Gradients, Keep, LayerPlan, MemoryPlan, PlanRequest, differentiate, evaluate};
use burn::module::AutodiffModule;
use burn_autodiff::Autodiff;
use burn_kiln_fusion::TrainingOps;
use burn_optim::Optimizer;
use qwen3_vl_burn::Qwen3Vl;
use qwen3_vl_burn::generate::CancelToken;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Of the model, which only the optimiser takes, and gives back.
const THERE: &str = "a step gives the model back";

/// Trains a model on a data set.
pub struct Trainer<B: TrainingOps> {
    /// There but for the moment in which the optimiser has it.
    model: Option<Qwen3Vl<Autodiff<B>>>,
    optimizer: AdamW<B>,
    trainables: Vec<Trainable>,
    schedule: Schedule,
    data: TrainingData,
    evaluation: Option<TrainingData>,
    options: TrainOptions,
    layers: LayerPlan,
    state: RunState,
    /// The number of the last step.
    last: u64,
    recording: Option<Recording>,
    /// The other nodes, where there are any.
    #[cfg(feature = "distributed")]
    group: Option<Group<B>>,
    /// Whether the run is to be broken off after the step at hand, here or on another node.
    ends: bool,
}

/// How a run has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct RunSummary {
    /// Where it is.
    pub state: RunState,
    /// The step with which it would have ended.
    pub last: u64,
    /// Mean cross entropy of the first step of this process, nats a token.
    pub first_loss: Option<f64>,
    /// Mean over the last tenth of this process's steps.
    pub final_loss: Option<f64>,
    /// Whether it was broken off, so that it can go on.
    pub interrupted: bool,
    /// Whether it ended because evaluations became no better.
    pub early: bool,
    /// How long this process trained.
    pub time: Duration,
}

impl<B: TrainingOps> Trainer<B> {
    /// A run at its beginning. What `selection` names trains, the rest of the model is frozen.
    ///
    /// # Errors
    /// [`RunError::Option`], [`RunError::Parameters`], [`RunError::Data`].
    pub fn new(
        model: Qwen3Vl<Autodiff<B>>,
        selection: &Selection,
        data: TrainingData,
        options: TrainOptions,
    ) -> Result<Self, RunError> {
        options.validate()?;
        let last = count_steps(&data, &options)?;
        let schedule = Schedule::new(
            selection.learning_rate,
            options.warmup_steps(last),
            usize::try_from(last).unwrap_or(usize::MAX),
            options.decay,
        );
        let (model, trainables) = selection.apply(model)?;
        let optimizer = AdamW::new(options.optimizer, model.kernel_config()).with_parameters(&trainables);
        let layers = LayerPlan::uniform(model.config(), Keep::Tape);
        Ok(Self {
            model: Some(model),
            optimizer,
            trainables,
            schedule,
            data,
            evaluation: None,
            options,
            layers,
            state: RunState::default(),
            last,
            recording: None,
            #[cfg(feature = "distributed")]
            group: None,
            ends: false,
        })
    }

    /// Measures the loss on these data too.
    pub fn with_evaluation(mut self, data: TrainingData) -> Self {
        self.evaluation = Some(data);
        self
    }

    /// Trains together with other nodes: each takes its share of the batches of a step, and all take the same steps.
    ///
    /// # Errors
    /// [`RunError::Option`] where the batches of a step cannot be shared out evenly.
    #[cfg(feature = "distributed")]
    pub fn with_group(mut self, group: Group<B>) -> Result<Self, RunError> {
        if !self.options.accumulate.is_multiple_of(group.options().nodes as usize) {
            let value = self.options.accumulate.to_string();
            return Err(RunError::Option { name: "accumulate", value, expected: "a multiple of the number of nodes" });
        }
        self.group = Some(group);
        Ok(self)
    }

    /// Plans the memory of a step of the largest batch, and keeps to it: layers that don't fit into `budget` bytes,
    /// weights included, are computed twice. Without a plan every layer keeps what its backward needs.
    ///
    /// # Errors
    /// [`RunError::Plan`] for a budget in which no step fits.
    pub fn plan_memory(&mut self, budget: Option<u64>) -> Result<MemoryPlan, RunError> {
        let batch = self.data.largest_batch(self.options.batch);
        let request = PlanRequest { batch, accumulates: self.options.accumulate > 1, budget };
        let plan = MemoryPlan::new(self.model(), request)?;
        self.layers = plan.layers.clone();
        Ok(plan)
    }

    /// Writes checkpoints, metrics and the result into `folder`.
    ///
    /// # Errors
    /// [`RunError::Read`], [`RunError::Write`].
    pub fn with_folder(mut self, folder: RunFolder, output: Output) -> Result<Self, RunError> {
        self.recording = Some(Recording::new(folder, output, 0)?);
        Ok(self)
    }

    /// Goes on from the last checkpoint in `folder`; the model is the one that was loaded from it.
    ///
    /// # Errors
    /// [`RunError::NothingToResume`], [`RunError::Damaged`], [`RunError::State`], [`RunError::Read`],
    /// [`RunError::Write`].
    pub fn resume(mut self, folder: RunFolder, output: Output) -> Result<Self, RunError> {
        let Some((step, path)) = folder.checkpoints()?.pop() else {
            return Err(RunError::NothingToResume { path: folder.path().to_owned() });
        };
        let device = self.model().device();
        self.state = read_checkpoint(&path, &mut self.optimizer, &device)?;
        if self.state.step != step {
            let reason = format!("its state is of step {}", self.state.step);
            return Err(RunError::Damaged { path, reason });
        }
        self.recording = Some(Recording::new(folder, output, step)?);
        Ok(self)
    }

    /// The model as it is.
    pub fn model(&self) -> &Qwen3Vl<Autodiff<B>> {
        self.model.as_ref().expect(THERE)
    }

    /// The model as it is, for good.
    pub fn into_model(mut self) -> Qwen3Vl<Autodiff<B>> {
        self.model.take().expect(THERE)
    }

    /// What trains, and how.
    pub fn trainables(&self) -> &[Trainable] {
        &self.trainables
    }

    /// Where the run is.
    pub fn state(&self) -> &RunState {
        &self.state
    }

    /// The number of the last step.
    pub fn last_step(&self) -> u64 {
        self.last
    }

    /// Trains until the run ends or `cancel` is set; then the step at hand is finished, and saved where there is a
    /// folder.
    ///
    /// # Errors
    /// [`RunError::Step`] for a loss or a gradient that is no number, with the records: the model is as it was before
    /// the step. [`RunError::Data`] for a bad record. [`RunError::Write`] for a full disk: what was saved before is
    /// whole. `RunError::Nodes` where another node is lost: what was trained so far is saved.
    pub fn run(&mut self, observer: &mut dyn RunObserver, cancel: &CancelToken) -> Result<RunSummary, RunError> {
        let began = Instant::now();
        let mut losses = Vec::new();
        let mut result = Ok(());
        while result.is_ok() && !self.state.ended && !self.is_broken_off(cancel) {
            result = self.run_epoch(observer, cancel, &mut losses);
        }
        #[cfg(feature = "distributed")]
        let result = match result {
            Err(error @ RunError::Nodes(_)) => {
                if let (Some(recording), Some(model)) = (&mut self.recording, &self.model) {
                    let saved = recording.save(&self.state, (model, &self.optimizer), self.options.keep, observer);
                    if let Err(unsaved) = saved {
                        tracing::error!("what was trained is not saved: {unsaved}");
                    }
                }
                Err(error)
            }
            other => other,
        };
        result?;
        let model = self.model.as_ref().expect(THERE);
        if let Some(recording) = &mut self.recording {
            check_weights(model)?;
            recording.finish(&self.state, (model, &self.optimizer), self.options.keep, observer)?;
        }
        let tail = losses.len().div_ceil(10);
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
        Ok(RunSummary {
            state: self.state,
            last: self.last,
            first_loss: losses.first().copied(),
            final_loss: (tail > 0).then(|| mean(&losses[losses.len() - tail..])),
            interrupted: !self.state.ended,
            early: self.state.ended && self.state.step < self.last && self.is_stale(),
            time: began.elapsed(),
        })
    }

    /// To the end of the epoch, of the run, or until it is broken off.
    fn run_epoch(
        &mut self,
        observer: &mut dyn RunObserver,
        cancel: &CancelToken,
        losses: &mut Vec<f64>,
    ) -> Result<(), RunError> {
        let plan = self.data.plan(&self.options.plan(), self.state.epoch)?;
        let share = self.own_share(&plan);
        let mut loader = self.data.load(&share, self.state.batch)?.peekable();
        let (before, first) = (self.state.step, self.state.batch);
        while !self.state.ended && !self.is_broken_off(cancel) {
            let end = (self.state.batch + self.options.accumulate).min(plan.len());
            // A batch whose records are all bad is passed over by the loader. No more are taken than there are, so that
            // a bad record of the next step does not spoil this one.
            let own =
                (self.state.batch..end).filter(|&batch| share.get(batch).is_some_and(|own| !own.is_empty())).count();
            let batches =
                std::iter::from_fn(|| loader.next_if(|loaded| !loaded.as_ref().is_ok_and(|loaded| loaded.step >= end)));
            let batches = batches.take(own);
            let metrics = self.take_step(&plan, end, batches, cancel)?;
            self.state.batch = end;
            let epoch_ends = end == plan.len();
            if epoch_ends {
                self.state.epoch += 1;
                self.state.batch = 0;
            }
            self.state.ended = self.state.step >= self.last || self.epochs_are_done();
            if let Some(metrics) = metrics {
                losses.push(metrics.loss);
                self.finish_step(metrics, epoch_ends, observer)?;
            }
            if epoch_ends && !self.state.ended && self.state.step == before && first == 0 {
                return Err(RunError::NothingLeft { epoch: self.state.epoch });
            }
            if epoch_ends {
                break;
            }
        }
        Ok(())
    }

    /// One step of the optimiser; `None` where nothing of its batches is left.
    fn take_step(
        &mut self,
        plan: &BatchPlan,
        end: usize,
        batches: impl Iterator<Item = Result<Loaded, DataError>>,
        cancel: &CancelToken,
    ) -> Result<Option<StepMetrics>, RunError> {
        let began = Instant::now();
        let range = self.state.batch..end;
        let epoch = self.state.epoch as f64 + end as f64 / plan.len() as f64;
        // All batches of the step are one mean. Their records are counted before they are there: one batch at a time is
        // in memory.
        let (first, passes) = (range.start, range.len() as u64);
        let count = self.data.targets(plan, range);
        let mut gradients = Gradients::new();
        let (mut loss, mut tokens) = (BatchLoss { sum: 0.0, targets: 0 }, 0);
        for loaded in batches {
            let Loaded { step, batch, .. } = loaded?;
            let model = self.model();
            let pass = model.dropout_pass().begin(self.state.passes + (step - first) as u64);
            let of_batch = differentiate(model, &batch, count, &self.layers, &mut gradients)?;
            drop(pass);
            loss.sum += of_batch.sum;
            loss.targets += of_batch.targets;
            tokens += batch.tokens();
        }
        let loss = self.exchange(&mut gradients, loss, cancel)?;
        self.state.passes += passes;
        if loss.targets == 0 {
            return Ok(None);
        }
        let kernels = self.model().kernel_config();
        let GradientNorm { norm, factor } = measure_gradients(self.model(), &gradients, self.options.clip, kernels)?;
        let learning_rate = self.schedule.at(usize::try_from(self.state.step).unwrap_or(usize::MAX));
        let model = self.model.take().expect(THERE);
        self.model = Some(self.optimizer.with_gradient_factor(factor).step(learning_rate, model, gradients.params));
        self.state.step += 1;
        self.state.tokens += tokens as u64;
        Ok(Some(StepMetrics {
            step: self.state.step,
            epoch,
            loss: loss.mean(),
            learning_rate,
            gradient_norm: norm,
            tokens,
            targets: loss.targets,
            tokens_per_second: tokens as f64 / began.elapsed().as_secs_f64().max(1e-9),
            memory_bytes: memory::anonymous().unwrap_or(0),
            eval_loss: None,
        }))
    }

    /// The part of a plan whose batches are computed here.
    fn own_share(&self, plan: &Arc<BatchPlan>) -> Arc<BatchPlan> {
        #[cfg(feature = "distributed")]
        if let Some(group) = &self.group {
            let (index, nodes) = (group.options().index as usize, group.options().nodes as usize);
            return Arc::new(plan.share(index, nodes, self.options.accumulate));
        }
        plan.clone()
    }

    /// Sums gradients and loss over all nodes; without others they are what they are.
    #[cfg_attr(not(feature = "distributed"), expect(unused_variables))]
    fn exchange(
        &mut self,
        gradients: &mut Gradients<B>,
        loss: BatchLoss,
        cancel: &CancelToken,
    ) -> Result<BatchLoss, RunError> {
        #[cfg(feature = "distributed")]
        if let (Some(group), Some(model)) = (&mut self.group, &self.model) {
            let news = StepNews { loss, ends: cancel.is_cancelled() };
            let StepNews { loss, ends } = sum_gradients(group, model, gradients, news)?;
            self.ends = ends;
            return Ok(loss);
        }
        Ok(loss)
    }

    /// Whether the run is to be broken off: by `cancel`, and with other nodes, where they have heard of it.
    fn is_broken_off(&self, cancel: &CancelToken) -> bool {
        #[cfg(feature = "distributed")]
        if self.group.is_some() {
            return self.ends;
        }
        self.ends || cancel.is_cancelled()
    }

    /// Evaluates, saves and tells, where it is time.
    fn finish_step(
        &mut self,
        mut metrics: StepMetrics,
        epoch_ends: bool,
        observer: &mut dyn RunObserver,
    ) -> Result<(), RunError> {
        let step = self.state.step;
        let due = self.options.eval_every.map_or(epoch_ends, |every| step.is_multiple_of(every)) || self.state.ended;
        let mut best = false;
        if due && self.evaluation.is_some() {
            let loss = self.evaluate()?;
            best = self.state.evaluate(loss);
            metrics.eval_loss = Some(loss);
            self.state.ended |= self.is_stale();
        }
        observer.notice(&RunEvent::Step { metrics: &metrics, last: self.last });
        if let Some(loss) = metrics.eval_loss {
            observer.notice(&RunEvent::Evaluation { step, loss, best });
        }
        let model = self.model.as_ref().expect(THERE);
        if let Some(recording) = &mut self.recording {
            recording.push(metrics)?;
            if best || step.is_multiple_of(self.options.save_every) {
                check_weights(model)?;
            }
            if best {
                recording.write_result(model)?;
            }
            if step.is_multiple_of(self.options.save_every) {
                recording.save(&self.state, (model, &self.optimizer), self.options.keep, observer)?;
            }
        }
        Ok(())
    }

    /// Mean cross entropy of the evaluation data.
    fn evaluate(&self) -> Result<f64, RunError> {
        let Some(data) = &self.evaluation else { return Ok(f64::NAN) };
        let model = self.model().valid();
        let plan = data.plan(&self.options.evaluation_plan(), 0)?;
        let mut total = BatchLoss { sum: 0.0, targets: 0 };
        for loaded in data.load(&plan, 0)? {
            let BatchLoss { sum, targets } = evaluate(&model, &loaded?.batch)?;
            total.sum += sum;
            total.targets += targets;
        }
        Ok(total.mean())
    }

    /// Whether evaluations have not become better for too long.
    fn is_stale(&self) -> bool {
        self.options.patience.is_some_and(|patience| self.state.evaluations_since >= patience)
    }

    fn epochs_are_done(&self) -> bool {
        matches!(self.options.length, RunLength::Epochs(epochs) if self.state.epoch >= epochs)
    }
}

/// Steps of a run.
fn count_steps(data: &TrainingData, options: &TrainOptions) -> Result<u64, RunError> {
    let plan = |epoch| Ok::<_, RunError>(data.plan(&options.plan(), epoch)?);
    match options.length {
        RunLength::Steps(steps) => plan(0).map(|_| steps),
        RunLength::Epochs(epochs) if matches!(options.batch, BatchLimit::Records(_)) => {
            // As many records a batch in each epoch.
            Ok(epochs.saturating_mul(plan(0)?.len().div_ceil(options.accumulate) as u64))
        }
        RunLength::Epochs(epochs) => {
            let steps = |plan: Arc<BatchPlan>| plan.len().div_ceil(options.accumulate) as u64;
            (0..epochs).map(|epoch| plan(epoch).map(steps)).sum()
        }
    }
}
