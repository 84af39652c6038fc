//! Products of few bf16 rows with a bf16 weight `[n, k]` as it lies, by `vdpbf16ps`: as ../lanes.rs, with pairs in place of floats.

use super::super::lanes::{Words, multiply as multiply_lanes};
use super::super::part::Part;
use super::pack::{HalfMatrix, PAIRS, PairSource, Register, Vectors};
use crate::simd::{Avx512, Avx512Bf16, Isa, PairKernel};
use half::bf16;

/// Products of the few rows of `part` with B whose columns are contiguous.
///
/// # Safety
/// As for [`Part::kernel`]; `a` is A from the region's first row on, and `b` is B, with `row_stride` 1.
pub(super) unsafe fn multiply(isa: Avx512Bf16, part: &Part, a: PairSource, b: HalfMatrix) {
    match a {
        PairSource::Halves(a) => isa.run(Lanes { part, a, b }),
        PairSource::Rounded(a) => isa.run(Lanes { part, a, b }),
    }
}

/// The arguments of [`multiply`], by its promise.
struct Lanes<'a, V> {
    part: &'a Part,
    a: V,
    b: HalfMatrix,
}

impl<V: Vectors> PairKernel for Lanes<'_, V> {
    type Out = ();

    #[inline(always)]
    fn call(self, isa: Avx512Bf16) {
        let Self { part, a, b } = self;
        let weight = (b.data.cast::<u8>(), b.col_stride * size_of::<bf16>() as isize);
        // SAFETY: the promise of `multiply`.
        unsafe { multiply_lanes(isa.base(), part, PairWords { isa, a, depth: part.depth }, weight) };
    }
}

/// Pairs of W against pairs of A.
#[derive(Clone, Copy)]
struct PairWords<V> {
    isa: Avx512Bf16,
    a: V,
    depth: usize,
}

impl<V: Vectors> Words<Avx512> for PairWords<V> {
    const STEPS: usize = 1;

    fn row_bytes(depth: usize) -> usize {
        depth * size_of::<bf16>()
    }

    #[inline(always)]
    unsafe fn load_left(self, isa: Avx512, i: usize, at: usize) -> Register {
        let have = self.depth.saturating_sub(2 * at).min(2 * PAIRS);
        if have == 0 {
            return isa.splat(0.0);
        }
        // SAFETY: the caller's promise: `have` steps of the row exist.
        unsafe { self.a.load(self.isa, (i, 2 * at), have) }
    }

    #[inline(always)]
    fn add(self, _isa: Avx512, turn: usize, w: Register, a: [Register; 2], sums: &mut [Register; 2]) {
        sums[turn] = self.isa.dot(sums[turn], a[0], w);
    }
}
