//! Plans as text.

use super::planner::plan_product;
use super::{Choice, PlanKey};
use crate::Launch;
use crate::config::KernelConfig;
use crate::gemm::ProductShape;
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
    let choice = Choice::of(&plan_product(shape, config), &shape);
    Some(Explained { key: PlanKey::new(shape, Launch::from(config)), choice })
}
