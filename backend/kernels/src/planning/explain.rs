//! Plans as text.

use super::key::{Layout, ProductShape};
use super::planner::plan_product;
use super::{Choice, PlanKey};
use crate::config::KernelConfig;
use crate::gemm::Plan;
use core::fmt;

/// How one op runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// What is multiplied.
    pub key: PlanKey,
    /// How.
    pub choice: Choice,
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.key.tier, self.choice)
    }
}

/// How a product of `shape` runs under `config`, by the functions that choose it where it runs; `None` where the
/// decorated backend multiplies. Rows of A are contiguous, and nothing happens before the store.
pub fn explain_product(shape: ProductShape, config: &KernelConfig) -> Option<Explained> {
    if !config.tiling.enabled {
        return None;
    }
    Some(explain_plan(&plan_product(shape, config), shape))
}

/// The same of a product that runs by `plan`, which may be that of a group.
pub fn explain_plan(plan: &Plan, shape: ProductShape) -> Explained {
    let ProductShape { m, n, a, b, .. } = shape;
    let turned = shape.layout != Layout::Packed && plan.turns([m, n]);
    let run = if turned { ProductShape { m: n, n: m, a: b, b: a, layout: Layout::Columns, ..shape } } else { shape };
    let variant = Some(plan.choose_variant(&run.operands()));
    let threads = plan.choose_threads(run.operands().shape);
    Explained { key: PlanKey::new(shape, plan.launch), choice: Choice { variant, threads, ..Choice::of(plan) } }
}
