//! How a run goes.

use super::error::RunError;
use crate::data::{Batching, PlanOptions};
use crate::optim::{AdamWConfig, Decay};
use serde::{Deserialize, Serialize};

/// How long a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunLength {
    /// Passes over the data.
    Epochs(u64),
    /// Steps of the optimiser.
    Steps(u64),
}

/// How large a batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchLimit {
    /// As many conversations as have so many tokens together, at most.
    Tokens(usize),
    /// So many conversations.
    Records(usize),
}

/// Options of a run; what trains, and at which rates, is a [`Selection`](crate::parameters::Selection).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainOptions {
    /// How long it is (one epoch).
    pub length: RunLength,
    /// How large a batch is (one conversation).
    pub batch: BatchLimit,
    /// Whether conversations of like lengths come together (yes).
    pub group: bool,
    /// Batches to a step (1).
    pub accumulate: usize,
    /// Steps over which the learning rate rises; below 1 a share of all steps, rounded up (0.03).
    pub warmup: f64,
    /// How it falls after that (cosine).
    pub decay: Decay,
    /// The constants of AdamW.
    pub optimizer: AdamWConfig,
    /// Gradients with a larger norm are scaled down to it (1).
    pub clip: Option<f64>,
    /// Of the order of the data (42).
    pub seed: u64,
    /// Evaluate every so many steps; each epoch, if not given. Behind the last step in any case.
    pub eval_every: Option<u64>,
    /// End after so many evaluations without a better one.
    pub patience: Option<usize>,
    /// Save every so many steps (200), and behind the last.
    pub save_every: u64,
    /// Checkpoints that are kept (2).
    pub keep: usize,
}

impl Default for TrainOptions {
    fn default() -> Self {
        Self {
            length: RunLength::Epochs(1),
            batch: BatchLimit::Records(1),
            group: true,
            accumulate: 1,
            warmup: 0.03,
            decay: Decay::Cosine,
            optimizer: AdamWConfig::default(),
            clip: Some(1.0),
            seed: 42,
            eval_every: None,
            patience: None,
            save_every: 200,
            keep: 2,
        }
    }
}

impl TrainOptions {
    /// Refuses values out of range.
    ///
    /// # Errors
    /// [`RunError::Option`].
    pub fn validate(&self) -> Result<(), RunError> {
        let refuse = |name, value: String, expected| Err(RunError::Option { name, value, expected });
        let (RunLength::Epochs(length) | RunLength::Steps(length)) = self.length;
        let (BatchLimit::Tokens(batch) | BatchLimit::Records(batch)) = self.batch;
        let counts = [
            ("length", length),
            ("batch", batch as u64),
            ("accumulate", self.accumulate as u64),
            ("eval_every", self.eval_every.unwrap_or(1)),
            ("patience", self.patience.unwrap_or(1) as u64),
            ("save_every", self.save_every),
            ("keep", self.keep as u64),
        ];
        if let Some((name, value)) = counts.into_iter().find(|(_, value)| *value == 0) {
            return refuse(name, value.to_string(), "1 at least");
        }
        if !(self.warmup.is_finite() && self.warmup >= 0.0) {
            return refuse("warmup", self.warmup.to_string(), "a number from 0 up");
        }
        if let Some(clip) = self.clip.filter(|clip| !(clip.is_finite() && *clip > 0.0)) {
            return refuse("clip", clip.to_string(), "a number above 0, or none");
        }
        let AdamWConfig { beta_1, beta_2, epsilon, .. } = self.optimizer;
        for (name, value) in [("beta_1", beta_1), ("beta_2", beta_2)] {
            if !(0.0..1.0).contains(&value) {
                return refuse(name, value.to_string(), "from 0 to below 1");
            }
        }
        if self.optimizer.weight_decay != 0.0 {
            let value = self.optimizer.weight_decay.to_string();
            return refuse("optimizer.weight_decay", value, "0: the selection has the weight decay of what trains");
        }
        if !(epsilon.is_finite() && epsilon > 0.0) {
            return refuse("epsilon", epsilon.to_string(), "a number above 0");
        }
        Ok(())
    }

    /// Steps of the warm-up in a run of `total`.
    pub(super) fn warmup_steps(&self, total: u64) -> usize {
        let steps = if self.warmup < 1.0 { (self.warmup * total as f64).ceil() } else { self.warmup.round() };
        steps as usize
    }

    /// How training data become batches.
    pub(super) fn plan(&self) -> PlanOptions {
        PlanOptions { batching: self.batching(), group: self.group, shuffle: true, seed: self.seed }
    }

    /// How evaluation data become batches: the same ones each time.
    pub(super) fn evaluation_plan(&self) -> PlanOptions {
        PlanOptions { batching: self.batching(), group: self.group, shuffle: false, seed: 0 }
    }

    fn batching(&self) -> Batching {
        match self.batch {
            BatchLimit::Tokens(tokens) => Batching::Tokens(tokens),
            BatchLimit::Records(records) => Batching::Records(records),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change = fn(&mut TrainOptions);

    #[test]
    fn values_out_of_range_are_named() {
        TrainOptions::default().validate().unwrap();
        let wrong: [(&str, Change); 6] = [
            ("length", |options| options.length = RunLength::Steps(0)),
            ("batch", |options| options.batch = BatchLimit::Tokens(0)),
            ("keep", |options| options.keep = 0),
            ("warmup", |options| options.warmup = f64::NAN),
            ("clip", |options| options.clip = Some(0.0)),
            ("beta_2", |options| options.optimizer.beta_2 = 1.0),
        ];
        for (expected, change) in wrong {
            let mut options = TrainOptions::default();
            change(&mut options);
            let Err(RunError::Option { name, .. }) = options.validate() else { panic!("{expected}") };
            assert_eq!(name, expected);
        }
    }

    #[test]
    fn a_warmup_is_steps_or_a_share() {
        let steps = |warmup| TrainOptions { warmup, ..TrainOptions::default() }.warmup_steps(200);
        assert_eq!([steps(0.0), steps(0.03), steps(0.004), steps(1.0), steps(20.0)], [0, 6, 1, 1, 20]);
    }
}
