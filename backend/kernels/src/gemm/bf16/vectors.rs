//! Vectors of the depth, read as pairs of neighbouring steps.

use crate::simd::{Avx512, Avx512Bf16, Isa};

/// A register of pairs.
pub(in crate::gemm) type Register = <Avx512 as Isa>::V;

/// Pairs in a register.
pub(in crate::gemm) const PAIRS: usize = 16;

/// Vectors that pairs of neighbouring steps are loaded from.
pub(in crate::gemm) trait Vectors: Copy {
    /// Pairs of vector `lane` from step `step` on, zeros from the `have`-th step after it on.
    ///
    /// # Safety
    /// `have` (1 ..= 32) steps of the vector exist.
    unsafe fn load(self, isa: Avx512Bf16, place: (usize, usize), have: usize) -> Register;
}

/// Vectors of which a step of several is one load.
pub(in crate::gemm) trait Adjacent: Copy {
    /// The pair of steps `step` and the next one of each of 16 vectors from `lane` on; 0 for vectors beyond `have[0]`,
    /// and for the second step where `have[1]` is 1.
    ///
    /// # Safety
    /// `have[0]` (1 ..= 16) vectors and `have[1]` (1 or 2) steps exist.
    unsafe fn load_pairs(self, isa: Avx512Bf16, place: (usize, usize), have: [usize; 2]) -> Register;
}
