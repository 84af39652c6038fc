//! Plans as text.

use super::planner::plan_product;
use super::{Choice, PlanKey};
use crate::config::KernelConfig;
use crate::gemm::{Layout, Plan, ProductShape};
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

/// How a product of `shape` runs under `config`; `None` where the decorated backend multiplies.
pub fn explain_product(shape: ProductShape, config: &KernelConfig) -> Option<Explained> {
    if !config.tiling.enabled {
        return None;
    }
    Some(explain_plan(&plan_product(shape, config), shape))
}

/// The same of a product that runs by `plan`, which may be that of a group.
pub fn explain_plan(plan: &Plan, shape: ProductShape) -> Explained {
    let transposed = plan.transposed(&shape).filter(|_| shape.layout != Layout::Packed);
    let (run, shape_run) = transposed.unwrap_or((*plan, shape));
    Explained { key: PlanKey::new(shape, plan.launch), choice: Choice::of(&run, &shape_run) }
}
