//! Products of few bf16 rows with a strided bf16 weight `[n, k]`, by `vdpbf16ps`: as ../gemv/gemv_broadcast/, with
//! pairs in place of floats.

use crate::gemm::bf16::matrix::Bf16Matrix;
use crate::gemm::bf16::pack::Bf16Source;
use crate::gemm::bf16::vectors::{PAIRS, Register, Vectors};
use crate::gemm::gemv::gemv_broadcast::{WeightBytes, Words, multiply as broadcast};
use crate::gemm::macro_kernel::part::ProductPart;
use crate::impossible::impossible;
use crate::simd::{Avx512, Avx512Bf16, Bf16Kernel, Isa};
use half::bf16;

/// Products of the few rows of `part` with B whose columns are contiguous.
///
/// # Safety
/// `part` keeps the promise of a [`ProductPart`]; `a` is A from the region's first row on, and `b` is B, with
/// `row_stride` 1.
pub(in crate::gemm) unsafe fn multiply(isa: Avx512Bf16, part: &ProductPart, a: Bf16Source, b: Bf16Matrix) {
    match a {
        Bf16Source::Stored(a) => isa.run(BroadcastBf16 { part, a, b }),
        Bf16Source::Rounded(a) => isa.run(BroadcastBf16 { part, a, b }),
        Bf16Source::RoundedColumns(_) => impossible("columns of f32 reached an algorithm for few rows"),
    }
}

/// The arguments of [`multiply`], by its promise.
struct BroadcastBf16<'a, V> {
    part: &'a ProductPart,
    a: V,
    b: Bf16Matrix,
}

impl<V: Vectors> Bf16Kernel for BroadcastBf16<'_, V> {
    type Out = ();

    #[inline(always)]
    fn call(self, isa: Avx512Bf16) {
        let Self { part, a, b } = self;
        let weight = WeightBytes { first: b.data.cast(), stride: b.col_stride * size_of::<bf16>() as isize };
        // SAFETY: `part` is as `ProductPart` says; `a` is A from the region's first row on, and `b` is B, with
        // `row_stride` 1 (`# Safety` of `multiply`).
        unsafe { broadcast(isa.base(), part, Bf16Words { isa, a, depth: part.depth }, weight) };
    }
}

/// Pairs of W against pairs of A.
#[derive(Clone, Copy)]
struct Bf16Words<V> {
    isa: Avx512Bf16,
    a: V,
    depth: usize,
}

impl<V: Vectors> Words<Avx512> for Bf16Words<V> {
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
        // SAFETY: by the `# Safety` clause of `Words::load_left`, `have` steps of the row exist.
        unsafe { self.a.load(self.isa, (i, 2 * at), have) }
    }

    #[inline(always)]
    fn add(self, _isa: Avx512, parity: usize, w: Register, a: [Register; 2], sums: &mut [Register; 2]) {
        sums[parity] = self.isa.dot(sums[parity], a[0], w);
    }
}
