//! One product under every setting in turn.

use super::LOST;
use super::products::{Operands, Product};
use crate::measure::{Effort, Engine, Failure, interleave, median, median_ratio};
use burn_kiln_fusion::KernelConfig;
use burn_kiln_fusion::config::PlanningConfig;
use kiln_kernels::planning::explain_product;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What became of a product.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The product.
    #[serde(flatten)]
    pub product: Product,
    /// Instruction set.
    pub isa: String,
    /// Threads.
    pub threads: usize,
    /// Seconds without plans, the median.
    pub seconds: f64,
    /// Time without plans over that with them.
    pub planned: f64,
    /// Time without plans over that with measured ones.
    pub tuned: f64,
    /// Whether it was measured again, as a first figure said that it lost.
    pub again: bool,
    /// The plan.
    pub plan: String,
    /// The measured plan.
    pub tuned_plan: String,
}

/// The settings: without plans, with plans, with measured ones, which are kept in `folder`.
#[derive(Debug, Clone)]
pub struct Settings([Arc<KernelConfig>; 3]);

impl Settings {
    /// Those that otherwise are `base`.
    pub fn new(base: &KernelConfig, folder: &Path) -> Self {
        let with = |enabled, tune| {
            let planning = PlanningConfig { enabled, tune, folder: Some(folder.into()) };
            Arc::new(KernelConfig { planning, ..base.clone() })
        };
        Self([with(false, false), with(true, false), with(true, true)])
    }
}

/// A setting as one of the engines that take turns.
struct Setting<'a> {
    operands: Operands,
    config: &'a Arc<KernelConfig>,
}

impl Engine for Setting<'_> {
    fn name(&self) -> &str {
        "kiln"
    }

    fn run(&mut self, calls: usize) -> Result<Duration, Failure> {
        let began = Instant::now();
        for _ in 0..calls {
            self.operands.multiply(self.config);
        }
        Ok(began.elapsed())
    }
}

/// How much longer a product is measured that seems to have lost.
const AGAIN: f64 = 5.0;

/// Compares the settings on `product`, for about `seconds` each.
///
/// # Errors
/// None that an engine of this process gives.
pub fn compare(product: Product, settings: &Settings, isa: &str, threads: usize, seconds: f64) -> Result<Row, Failure> {
    let mut operands = product.operands();
    // Plans are made, and measured, before the clock runs.
    settings.0.iter().for_each(|config| operands.multiply(config));
    let [mut time, mut planned, mut tuned] = run(&operands, settings, seconds)?;
    let again = planned < LOST || tuned < LOST;
    if again {
        [time, planned, tuned] = run(&operands, settings, AGAIN * seconds)?;
    }
    let explain = |config: &KernelConfig| {
        let explained = explain_product(product.shape(), config);
        explained.map_or_else(|| "the decorated backend".to_owned(), |plan| plan.choice.to_string())
    };
    let [_, plan, tuned_plan] = settings.0.each_ref().map(|config| explain(config));
    Ok(Row { product, isa: isa.to_owned(), threads, seconds: time, planned, tuned, again, plan, tuned_plan })
}

/// Seconds without plans, and the speed of the other two over it.
fn run(operands: &Operands, settings: &Settings, seconds: f64) -> Result<[f64; 3], Failure> {
    let mut engines: Vec<Box<dyn Engine + '_>> = Vec::new();
    for config in &settings.0 {
        engines.push(Box::new(Setting { operands: operands.clone(), config }));
    }
    let count = engines.len();
    let samples = interleave(&mut engines, count, Effort::of_seconds(seconds));
    let [off, planned, tuned] = <[_; 3]>::try_from(samples).expect("one for each setting");
    let (off, planned, tuned) = (off?, planned?, tuned?);
    let ratio = |with: &[f64]| median_ratio(with, &off).unwrap_or(f64::NAN);
    Ok([median(&off).unwrap_or(f64::NAN), ratio(&planned), ratio(&tuned)])
}
