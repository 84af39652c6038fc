//! CPUs without instructions for pairs.

use super::Bf16Request;
use crate::gemm::left::LeftOperand;
use crate::gemm::macro_kernel::blocking::{Blocking, Tile};
use crate::gemm::macro_kernel::part::ProductPart;
use crate::gemm::raw::RawMatrix;
use crate::gemm::right::RightOperand;
use crate::gemm::variant::Variant;
use crate::simd::Tier;

/// An instruction set that multiplies pairs of bf16: there is none.
#[derive(Debug, Clone, Copy)]
pub(in crate::gemm) enum Bf16Isa {}

impl Bf16Isa {
    /// `None`.
    pub(in crate::gemm) fn choose(
        _tier: Tier,
        _a: &RawMatrix,
        _b: &RightOperand,
        _request: Bf16Request,
    ) -> Option<Self> {
        None
    }

    /// Notes that a product ran on this instruction set.
    pub(in crate::gemm) fn note_route(self) {
        match self {}
    }

    /// The register tile.
    pub(in crate::gemm) fn tile(self) -> Tile {
        match self {}
    }

    /// Block sizes.
    pub(in crate::gemm) fn fit(self, _blocking: Blocking, _shape: [usize; 3]) -> Blocking {
        match self {}
    }

    /// Rows of a panel of A.
    pub(in crate::gemm) fn rows(self) -> usize {
        match self {}
    }

    /// Floats of packed rows of A.
    pub(in crate::gemm) fn left_len(self, _m: usize, _k: usize) -> usize {
        match self {}
    }

    /// Packs rows of A.
    ///
    /// # Safety
    /// There is nothing to call it on.
    pub(in crate::gemm) unsafe fn pack_left(self, _a: LeftOperand, _shape: [usize; 2], _out: *mut f32) {
        match self {}
    }

    /// Does the work of a part.
    ///
    /// # Safety
    /// There is nothing to call it on.
    pub(in crate::gemm) unsafe fn multiply_part(self, _part: &ProductPart, _variant: Variant) {
        match self {}
    }
}
