//! CPUs without instructions for pairs.

use super::super::blocking::Tile;
use super::super::driver::Problem;
use super::super::part::Part;
use crate::simd::Tier;

/// An instruction set that multiplies pairs of bf16: there is none.
#[derive(Debug, Clone, Copy)]
pub(in crate::kernels::gemm) enum PairIsa {}

impl PairIsa {
    /// `None`.
    pub(in crate::kernels::gemm) fn choose(_tier: Tier, _problem: &Problem) -> Option<Self> {
        None
    }

    /// Notes that a product ran on this instruction set.
    pub(in crate::kernels::gemm) fn note_route(self) {
        match self {}
    }

    /// The register tile.
    pub(in crate::kernels::gemm) fn tile(self) -> Tile {
        match self {}
    }

    /// Does the work of a part.
    ///
    /// # Safety
    /// There is nothing to call it on.
    pub(in crate::kernels::gemm) unsafe fn multiply_part(self, _part: &Part) {
        match self {}
    }
}
