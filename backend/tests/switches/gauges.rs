//! What a workload is seen by: counters and sizes that the code reports where it runs.

use burn_kiln::routes::{self, Route};
use kiln_kernels::memory::Pool;
use kiln_kernels::planning::{plan_file, stats};
use kiln_kernels::probe::{self, Probe};
use std::path::Path;
use std::sync::LazyLock;
use tempfile::TempDir;

/// A counter.
#[derive(Debug, Clone, Copy)]
pub enum Counter {
    /// How often a kernel ran.
    Route(Route),
    /// How often kernels reported something.
    Probe(Probe),
    /// Products by instructions for bf16, of either kind.
    Bf16,
    /// Plans made by the model.
    AnalyticPlans,
    /// Plans measured.
    MeasuredPlans,
    /// Bytes of measured plans in [`plans`].
    PlanFile,
    /// Buffers that the pool had at hand.
    PoolHits,
}

impl Counter {
    /// Its value now.
    pub fn read(self) -> u64 {
        match self {
            Self::Route(route) => routes::count(route),
            Self::Probe(probe) => probe::count(probe),
            Self::Bf16 => probe::count(Probe::Bf16Dots) + probe::count(Probe::Bf16Tiles),
            Self::AnalyticPlans => stats().analytic,
            Self::MeasuredPlans => stats().measured,
            Self::PlanFile => {
                let file = plan_file(Some(plans())).expect("a folder was given");
                std::fs::metadata(file).map_or(0, |file| file.len())
            }
            Self::PoolHits => Pool::global().stats().hits as u64,
        }
    }
}

/// A folder for measured plans.
pub fn plans() -> &'static Path {
    static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a temporary folder"));
    FOLDER.path()
}

/// Another one.
pub fn other_plans() -> &'static Path {
    static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a temporary folder"));
    FOLDER.path()
}
