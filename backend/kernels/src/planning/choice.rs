//! What a plan chooses.

use crate::gemm::{Blocking, Plan, Variant};
use core::fmt;
use serde::{Deserialize, Serialize};

/// How the products of one class run: what is kept of a [`Plan`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Choice {
    /// The algorithm; `None` chooses by the exact shape.
    pub variant: Option<Variant>,
    /// Block sizes.
    pub blocking: Blocking,
    /// Threads, at most.
    pub threads: usize,
}

/// Sizes that a kept plan may have: a file may hold anything.
const BLOCK: core::ops::RangeInclusive<usize> = 1..=65_536;

impl Choice {
    /// What `plan` says.
    pub fn of(plan: &Plan) -> Self {
        Self { variant: plan.variant, blocking: plan.blocking, threads: plan.launch.threads }
    }

    /// `plan` with what this chooses; never more threads than it had.
    pub fn apply_to(self, plan: Plan) -> Plan {
        let Self { variant, blocking, threads } = self;
        Plan { launch: plan.launch.limit(threads), blocking, variant, ..plan }
    }

    /// Whether every size is one that a kernel can work with.
    pub fn is_valid(&self) -> bool {
        let Blocking { mc, kc, nc } = self.blocking;
        [mc, kc, nc].iter().all(|size| BLOCK.contains(size)) && self.threads >= 1
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Blocking { mc, kc, nc } = self.blocking;
        match self.variant {
            Some(Variant::Blocked) | None => write!(f, "blocks {mc} x {kc} x {nc}")?,
            Some(variant) => write!(f, "{variant}")?,
        }
        write!(f, ", {} thread{}", self.threads, if self.threads == 1 { "" } else { "s" })
    }
}
