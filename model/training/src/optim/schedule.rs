//! Learning rates over time, as HF's `get_scheduler` has them.
//!
//! ```text
//! warm-up    step / warmup                                       step < warmup
//! constant   1
//! linear     max(0, (total - step) / (total - warmup))
//! cosine     max(0, (1 + cos(π · (step - warmup) / (total - warmup))) / 2)
//! ```
//! Steps count from 0, so the first step of a warm-up has the rate 0.

use burn::tensor::backend::Backend;
use burn_optim::LearningRate;
use burn_optim::lr_scheduler::LrScheduler;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// How the learning rate falls after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decay {
    /// It stays.
    Constant,
    /// To 0 on a line.
    Linear,
    /// To 0 on half a cosine.
    #[default]
    Cosine,
}

/// The learning rate of each step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// At its height.
    pub learning_rate: f64,
    /// Steps from 0 to its height.
    pub warmup: usize,
    /// Steps of the run.
    pub total: usize,
    /// What follows the warm-up.
    pub decay: Decay,
    /// Steps that have been taken.
    pub taken: usize,
}

impl Schedule {
    /// At its beginning.
    pub fn new(learning_rate: f64, warmup: usize, total: usize, decay: Decay) -> Self {
        Self { learning_rate, warmup, total, decay, taken: 0 }
    }

    /// The learning rate of step `step`, from 0.
    pub fn at(&self, step: usize) -> f64 {
        self.learning_rate * self.factor(step)
    }

    fn factor(&self, step: usize) -> f64 {
        let (step, warmup, total) = (step as f64, self.warmup as f64, self.total as f64);
        if step < warmup {
            return step / warmup.max(1.0);
        }
        let rest = (total - warmup).max(1.0);
        match self.decay {
            Decay::Constant => 1.0,
            Decay::Linear => ((total - step) / rest).max(0.0),
            Decay::Cosine => (0.5 * (1.0 + (PI * (step - warmup) / rest).cos())).max(0.0),
        }
    }
}

impl LrScheduler for Schedule {
    type Record<B: Backend> = usize;

    fn step(&mut self) -> LearningRate {
        self.taken += 1;
        self.at(self.taken - 1)
    }

    fn to_record<B: Backend>(&self) -> usize {
        self.taken
    }

    fn load_record<B: Backend>(mut self, record: usize) -> Self {
        self.taken = record;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rates of HF 5.23's `get_scheduler(name, optimizer, 3, 10)` with a rate of 1e-3, by the formulas of its
    /// `optimization.py`.
    #[test]
    fn rates_are_hfs() {
        let rates = |decay, warmup| {
            let mut schedule = Schedule::new(1e-3, warmup, 10, decay);
            (0..10).map(|_| schedule.step()).collect::<Vec<_>>()
        };
        let close = |found: &[f64], expected: &[f64]| {
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected * 1e-3).abs() < 1e-15, "{found} {expected}");
            }
        };
        let third = 1.0 / 3.0;
        let linear = [0.0, third, 2.0 * third, 1.0, 6.0 / 7.0, 5.0 / 7.0, 4.0 / 7.0, 3.0 / 7.0, 2.0 / 7.0, 1.0 / 7.0];
        close(&rates(Decay::Linear, 3), &linear);
        close(&rates(Decay::Constant, 3)[..5], &[0.0, third, 2.0 * third, 1.0, 1.0]);
        let cosine: Vec<f64> = (0..10).map(|step| 0.5 * (1.0 + (PI * f64::from(step) / 10.0).cos())).collect();
        close(&rates(Decay::Cosine, 0), &cosine);
        assert!((rates(Decay::Cosine, 0)[5] - 0.5e-3).abs() < 1e-15);
    }

    #[test]
    fn it_goes_on_where_it_was() {
        let mut schedule = Schedule::new(1.0, 2, 8, Decay::Cosine);
        for _ in 0..3 {
            schedule.step();
        }
        let record = schedule.to_record::<burn_flex::Flex>();
        let mut resumed = Schedule::new(1.0, 2, 8, Decay::Cosine).load_record::<burn_flex::Flex>(record);
        assert_eq!(resumed.step(), schedule.step());
    }

    #[test]
    fn steps_past_the_end_have_the_rate_0() {
        let schedule = Schedule::new(1.0, 0, 4, Decay::Linear);
        assert_eq!(schedule.at(9), 0.0);
        assert_eq!(Schedule::new(1.0, 4, 4, Decay::Linear).at(4), 0.0);
    }
}
