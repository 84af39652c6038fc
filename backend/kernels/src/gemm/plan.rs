//! How a product runs.

use crate::Launch;
use crate::config::{KernelConfig, SimdConfig};
use crate::gemm::macro_kernel::blocking::Blocking;
use crate::gemm::shape::{Layout, ProductShape};
use crate::gemm::split::Split;
use crate::gemm::variant::Variant;

/// How a product runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Instruction set, threads, and how far ahead of its use a line of B is prefetched in a product of few rows
    /// ([`PREFETCH_BYTES`] unless [`Launch::prefetch`] says). Register tiles prefetch the columns after theirs, and the
    /// output before they store, at distances that follow from the blocks; without a distance they leave it to the
    /// hardware too.
    pub launch: Launch,
    /// Block sizes of [`Variant::Blocked`].
    pub blocking: Blocking,
    /// Whether an f32 A may be rounded to bf16 against a bf16 B, where the tier multiplies bf16: twice the rate and
    /// more, for a relative error of up to 2⁻⁸ an element. It is, but for few rows ([`Plan::rounds`]).
    pub bf16_activations: bool,
    /// Whether both operands may be rounded to bf16 where B is f32 and both are packed, at the same rate.
    pub bf16_products: bool,
    /// The algorithm; `None` chooses one by shape. One that does not apply to the operands is replaced by a choice.
    pub variant: Option<Variant>,
    /// How a single product, or a group of products of one A, is divided; `None` decides by the work. Batches always
    /// do.
    pub split: Option<Split>,
}

impl From<Launch> for Plan {
    /// Block sizes for this machine, the algorithm by shape; nothing is rounded.
    fn from(launch: Launch) -> Self {
        let blocking = Blocking::detect(launch);
        Self { launch, blocking, bf16_activations: false, bf16_products: false, variant: None, split: None }
    }
}

impl Default for Plan {
    fn default() -> Self {
        Launch::default().into()
    }
}

impl From<&KernelConfig> for Plan {
    /// What a configuration sets, the rest for this machine.
    fn from(config: &KernelConfig) -> Self {
        let plan = Self::from(Launch::from(config));
        let SimdConfig { bf16_activations, bf16_products, .. } = config.simd;
        Self { blocking: plan.blocking.with(&config.tiling), bf16_activations, bf16_products, ..plan }
    }
}

/// Bytes ahead at which a packed weight that comes from memory streams at the speed of plain reading, whatever the rows
/// of A (1 to 8 rows, f32 and bf16; without, 4 rows run at 65 % of it and 8 rows at half, as the hardware looks no
/// further than the next page).
pub const PREFETCH_BYTES: usize = 8192;

impl Plan {
    /// The algorithm that runs operands of `shape`.
    pub fn variant_of(&self, shape: &ProductShape) -> Variant {
        match self.variant {
            Some(variant) if variant.applies(shape) => variant,
            _ => Variant::choose(self.launch.tier, shape),
        }
    }

    /// What a product of two views runs by if its output is one column, contiguous, and nothing happens before its
    /// store: a column of C is a row of Cᵀ = Bᵀ·Aᵀ, and then A is the matrix that is streamed. `None` for others.
    pub(crate) fn transposed(&self, shape: &ProductShape) -> Option<(Self, ProductShape)> {
        let &ProductShape { m, n, a, b, .. } = shape;
        (n == 1 && m > 1).then(|| {
            let plan = Self { variant: None, split: None, ..*self };
            (plan, ProductShape { m: n, n: m, a: b, b: a, layout: Layout::Columns, ..*shape })
        })
    }
}
