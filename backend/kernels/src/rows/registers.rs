//! Registers at the end of a row, where fewer elements than lanes are left.

use crate::Storage;
use crate::simd::Isa;

/// `n ≤ LANES` elements; the other lanes are 0.
///
/// # Safety
/// `p` is readable for `n` elements.
#[inline(always)]
pub(crate) unsafe fn load<I: Isa, S: Storage>(isa: I, p: *const S, n: usize) -> I::V {
    // SAFETY: `p` is readable for `n` elements (`# Safety` of `load`).
    unsafe { if n == I::LANES { S::load(isa, p) } else { S::load_partial(isa, p, n) } }
}

/// Stores `n ≤ LANES` lanes.
///
/// # Safety
/// `p` is writable for `n` elements.
#[inline(always)]
pub(crate) unsafe fn store<I: Isa, S: Storage>(isa: I, p: *mut S, v: I::V, n: usize) {
    // SAFETY: `p` is writable for `n` elements (`# Safety` of `store`).
    unsafe { if n == I::LANES { S::store(isa, p, v) } else { S::store_partial(isa, p, v, n) } }
}

/// `n ≤ LANES` elements; the other lanes are `fill`, which must be exact in `S`.
///
/// # Safety
/// `p` is readable for `n` elements.
#[inline(always)]
pub(crate) unsafe fn load_or<I: Isa, S: Storage>(isa: I, p: *const S, n: usize, fill: f32) -> I::V {
    let mut lanes = [S::from_f32(fill); 16];
    debug_assert!(n <= I::LANES && I::LANES <= 16);
    // SAFETY: `p` is readable for `n` elements (`# Safety` of `load_or`); the array holds a whole register.
    unsafe {
        if n == I::LANES {
            return S::load(isa, p);
        }
        core::ptr::copy_nonoverlapping(p, lanes.as_mut_ptr(), n);
        S::load(isa, lanes.as_ptr())
    }
}
