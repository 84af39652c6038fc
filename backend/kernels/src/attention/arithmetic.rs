//! What the two products multiply: words of 32 bits.

use crate::simd::Isa;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx512, Avx512Bf16};

/// An instruction that multiplies words and sums f32.
pub(super) trait Arithmetic: Copy {
    /// The instruction set of everything else.
    type Isa: Isa;
    /// Steps of the depth in a word.
    const DEPTH: usize;

    /// The instruction set.
    fn isa(self) -> Self::Isa;
    /// `a · b + sum`, summed over the elements of each word.
    fn multiply_add(
        self,
        a: <Self::Isa as Isa>::V,
        b: <Self::Isa as Isa>::V,
        sum: <Self::Isa as Isa>::V,
    ) -> <Self::Isa as Isa>::V;
    /// Words of two elements, rounded to nearest even, where a word holds two; `even` where it holds one.
    fn pair(self, even: <Self::Isa as Isa>::V, odd: <Self::Isa as Isa>::V) -> <Self::Isa as Isa>::V;
}

/// A word is one f32.
#[derive(Debug, Clone, Copy)]
pub(super) struct F32Words<I>(pub(super) I);

impl<I: Isa> Arithmetic for F32Words<I> {
    type Isa = I;
    const DEPTH: usize = 1;

    #[inline(always)]
    fn isa(self) -> I {
        self.0
    }
    #[inline(always)]
    fn multiply_add(self, a: I::V, b: I::V, sum: I::V) -> I::V {
        self.0.mul_add(a, b, sum)
    }
    #[inline(always)]
    fn pair(self, even: I::V, _odd: I::V) -> I::V {
        even
    }
}

/// A word is two bf16.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, Copy)]
pub(super) struct Bf16Pairs(pub(super) Avx512Bf16);

#[cfg(target_arch = "x86_64")]
impl Arithmetic for Bf16Pairs {
    type Isa = Avx512;
    const DEPTH: usize = 2;

    #[inline(always)]
    fn isa(self) -> Avx512 {
        self.0.base()
    }
    #[inline(always)]
    fn multiply_add(self, a: <Avx512 as Isa>::V, b: <Avx512 as Isa>::V, sum: <Avx512 as Isa>::V) -> <Avx512 as Isa>::V {
        self.0.dot(sum, a, b)
    }
    #[inline(always)]
    fn pair(self, even: <Avx512 as Isa>::V, odd: <Avx512 as Isa>::V) -> <Avx512 as Isa>::V {
        self.0.round_pair(even, odd)
    }
}
