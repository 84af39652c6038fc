//! Registers at the edge of a matrix, of which only some lanes exist.

use crate::Storage;
use crate::simd::Isa;

/// Loads `n ≤ LANES` elements, the other lanes 0.
///
/// # Safety
/// `p` is readable for `n` elements.
#[inline(always)]
pub(in crate::gemm) unsafe fn load_up_to<I: Isa, S: Storage>(isa: I, p: *const S, n: usize) -> I::V {
    // SAFETY: `p` is readable for `n` elements (`# Safety` of `load_up_to`).
    unsafe { if n == I::LANES { S::load(isa, p) } else { S::load_partial(isa, p, n) } }
}

/// Stores the first `n ≤ LANES` lanes.
///
/// # Safety
/// `p` is writable for `n` elements.
#[inline(always)]
pub(in crate::gemm) unsafe fn store_up_to<I: Isa, S: Storage>(isa: I, p: *mut S, v: I::V, n: usize) {
    // SAFETY: `p` is writable for `n` elements (`# Safety` of `store_up_to`).
    unsafe { if n == I::LANES { S::store(isa, p, v) } else { S::store_partial(isa, p, v, n) } }
}
