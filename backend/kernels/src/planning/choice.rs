//! What a plan chooses.

use crate::gemm::{Blocking, Plan, ProductShape, Split, Variant, Work};
use core::fmt;
use serde::{Deserialize, Serialize};

/// How the products of one class run: what is kept of a [`Plan`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Choice {
    /// The algorithm. It also says where a norm of A's rows is applied ([`Variant::fuses_norm`]).
    pub variant: Variant,
    /// Block sizes.
    pub blocking: Blocking,
    /// Threads and parts.
    pub split: Split,
}

/// Sizes that a kept plan may have: a file may hold anything.
const BLOCK: core::ops::RangeInclusive<usize> = 1..=65_536;
const PARTS: core::ops::RangeInclusive<usize> = 1..=65_536;

impl Choice {
    /// What `plan` comes to for `shape` where nothing else is planned.
    pub fn of(plan: &Plan, shape: &ProductShape) -> Self {
        let variant = plan.variant_of(shape);
        let gemv = matches!(variant, Variant::Dot | Variant::Axpy);
        let work = || Work::of([shape.m, shape.n, shape.k], 1, gemv);
        let split = plan.split.unwrap_or_else(|| Split::of(work(), plan.launch.threads));
        Self { variant, blocking: plan.blocking, split }
    }

    /// `plan` with what this chooses; never more threads than it had.
    pub fn apply_to(self, plan: Plan) -> Plan {
        let Self { variant, blocking, split } = self;
        let launch = plan.launch.limit(split.threads);
        Plan { launch, blocking, variant: Some(variant), split: Some(split.limit(launch.threads)), ..plan }
    }

    /// Whether every size is one that a kernel can work with.
    pub fn is_valid(&self) -> bool {
        let Blocking { mc, kc, nc } = self.blocking;
        [mc, kc, nc].iter().all(|size| BLOCK.contains(size))
            && [self.split.threads, self.split.parts].iter().all(|size| PARTS.contains(size))
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Blocking { mc, kc, nc } = self.blocking;
        match self.variant {
            Variant::Blocked => write!(f, "blocks {mc} x {kc} x {nc}")?,
            variant => write!(f, "{variant}")?,
        }
        let Split { threads, parts } = self.split;
        match (threads, parts) {
            (1, _) => write!(f, ", 1 thread"),
            (_, _) if parts > threads => write!(f, ", {threads} threads, {parts} parts"),
            _ => write!(f, ", {threads} threads"),
        }
    }
}
