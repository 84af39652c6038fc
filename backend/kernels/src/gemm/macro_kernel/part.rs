//! One thread's share of a product.

use crate::gemm::left::LeftOperand;
use crate::gemm::macro_kernel::blocking::Blocking;
use crate::gemm::macro_kernel::packed_left::PackedLeft;
use crate::gemm::macro_kernel::store::Store;
use crate::gemm::region::Region;
use crate::gemm::right::RightOperand;
use crate::probe::{Probe, report};

/// A rectangle of one product, over the whole depth.
///
/// # Safety
/// What runs one relies on all of this, which whoever makes one promises (`Problem::run_part` does, by the checks of
/// the views): `a` is readable for the rows of the region and `b` for its columns, both over `depth`; rows of `a` that
/// have scales were measured, and the algorithm is the blocked one then; a region of panels begins at a whole panel;
/// the region is as [`Store::finish`] needs it; and the algorithm that runs applies to the operands
/// ([`Variant::applies`](crate::gemm::variant::Variant::applies)).
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) struct ProductPart {
    pub(in crate::gemm) a: LeftOperand,
    pub(in crate::gemm) b: RightOperand,
    /// Where A was packed for all parts; none packs for itself.
    pub(in crate::gemm) left: Option<PackedLeft>,
    pub(in crate::gemm) depth: usize,
    pub(in crate::gemm) store: Store,
    pub(in crate::gemm) region: Region,
    /// Columns of the whole output.
    pub(in crate::gemm) columns: usize,
    pub(in crate::gemm) blocking: Blocking,
    /// How far ahead streamed lines of B are prefetched, bytes; with 0 nothing is prefetched.
    pub(in crate::gemm) prefetch: usize,
}

impl ProductPart {
    /// How far ahead streamed lines of B are prefetched, bytes; 0 where nothing is. Each run of a kernel asks once,
    /// before its loops, and where it prefetches [`crate::probe`] counts it.
    pub(in crate::gemm) fn prefetch_distance(&self) -> usize {
        if self.prefetch > 0 {
            report(Probe::Prefetch);
        }
        self.prefetch
    }
}
