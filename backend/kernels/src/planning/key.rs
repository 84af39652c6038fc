//! What a plan is for.

use crate::Launch;
use crate::gemm::ProductShape;
use crate::simd::Tier;
use serde::{Deserialize, Serialize};

/// A shape class, where and how it runs. Rows up to 16 are their own class each; beyond, all that round up to the same
/// power of two are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PlanKey {
    /// The product, `m` rounded up to its class.
    pub shape: ProductShape,
    /// Instruction set.
    pub tier: Tier,
    /// Threads that may share it.
    pub threads: usize,
}

/// Up to this many rows each count is a class of its own: kernels for few rows have a path for each.
const EXACT_ROWS: usize = 16;

impl PlanKey {
    /// The class of `shape`.
    pub fn new(shape: ProductShape, launch: Launch) -> Self {
        let m = if shape.m <= EXACT_ROWS { shape.m } else { shape.m.checked_next_power_of_two().unwrap_or(shape.m) };
        Self { shape: ProductShape { m, ..shape }, tier: launch.tier, threads: launch.threads }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ElementType;
    use crate::gemm::Layout;

    #[test]
    fn rows_fall_into_classes() {
        let shape = |m| ProductShape { m, n: 8, k: 8, a: ElementType::F32, b: ElementType::F32, layout: Layout::Rows };
        let class = |m| PlanKey::new(shape(m), Launch::single(Tier::Portable)).shape.m;
        assert_eq!([0, 1, 7, 16, 17, 32, 33, 1000].map(class), [0, 1, 7, 16, 32, 32, 64, 1024]);
        assert_eq!(class(usize::MAX), usize::MAX);
    }
}
