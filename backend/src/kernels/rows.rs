//! Slices that threads share: each thread works on its own rows or elements.

use super::{Launch, Storage};
use crate::simd::Isa;
use core::ops::Range;

/// Bytes that a thread must move for its start to pay: waking a pool thread costs 5 to 10 µs, in which one core moves about
/// 64 KiB between L2 and itself.
pub(crate) const BYTES_PER_THREAD: usize = 64 * 1024;

/// Elements in a cache line of f32, and a whole number of registers on every tier: parts of a split begin at multiples of it,
/// so that no two threads write one line (if the slice begins on one).
pub(crate) const GRAIN: usize = 32;

/// As many threads as `bytes` of traffic are worth.
pub(crate) fn share(launch: Launch, bytes: usize) -> Launch {
    launch.limit(bytes / BYTES_PER_THREAD)
}

/// A slice that threads read while another view of the same memory may be written: an operand of an op that works in place.
#[derive(Debug)]
pub(crate) struct Source<S> {
    start: *const S,
    len: usize,
}

/// A slice of which each thread writes its own part.
#[derive(Debug)]
pub(crate) struct Target<S> {
    start: *mut S,
    len: usize,
}

impl<S> Clone for Source<S> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<S> Copy for Source<S> {}
impl<S> Clone for Target<S> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<S> Copy for Target<S> {}

// SAFETY: a pointer alone; whoever dereferences it promises that no other thread writes what it reads.
unsafe impl<S: Sync> Send for Source<S> {}
// SAFETY: as above.
unsafe impl<S: Sync> Sync for Source<S> {}
// SAFETY: a pointer alone; whoever dereferences it promises that threads touch disjoint parts.
unsafe impl<S: Send> Send for Target<S> {}
// SAFETY: as above.
unsafe impl<S: Send> Sync for Target<S> {}

impl<S> Source<S> {
    /// All of `slice`. The view must not outlive it.
    pub(crate) fn new(slice: &[S]) -> Self {
        Self { start: slice.as_ptr(), len: slice.len() }
    }

    /// Number of elements.
    pub(crate) fn len(self) -> usize {
        self.len
    }

    /// The address of the first element of a part; checked.
    #[inline(always)]
    pub(crate) fn part(self, part: &Range<usize>) -> *const S {
        assert!(part.start <= part.end && part.end <= self.len);
        // SAFETY: within the slice, by the check.
        unsafe { self.start.add(part.start) }
    }
}

impl<S> Target<S> {
    /// All of `slice`. The view must not outlive it.
    pub(crate) fn new(slice: &mut [S]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len() }
    }

    /// The same memory to read from: the source of an op in place.
    pub(crate) fn source(self) -> Source<S> {
        Source { start: self.start, len: self.len }
    }

    /// Number of elements.
    pub(crate) fn len(self) -> usize {
        self.len
    }

    /// The address of the first element of a part; checked.
    #[inline(always)]
    pub(crate) fn part(self, part: &Range<usize>) -> *mut S {
        assert!(part.start <= part.end && part.end <= self.len);
        // SAFETY: within the slice, by the check.
        unsafe { self.start.add(part.start) }
    }
}

/// `n ≤ LANES` elements; the other lanes are 0.
///
/// # Safety
/// `p` is readable for `n` elements.
#[inline(always)]
pub(crate) unsafe fn load<I: Isa, S: Storage>(isa: I, p: *const S, n: usize) -> I::V {
    // SAFETY: the caller's promise.
    unsafe { if n == I::LANES { S::load(isa, p) } else { S::load_partial(isa, p, n) } }
}

/// Stores `n ≤ LANES` lanes.
///
/// # Safety
/// `p` is writable for `n` elements.
#[inline(always)]
pub(crate) unsafe fn store<I: Isa, S: Storage>(isa: I, p: *mut S, v: I::V, n: usize) {
    // SAFETY: the caller's promise.
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
    // SAFETY: the caller's promise; the array holds a whole register.
    unsafe {
        if n == I::LANES {
            return S::load(isa, p);
        }
        core::ptr::copy_nonoverlapping(p, lanes.as_mut_ptr(), n);
        S::load(isa, lanes.as_ptr())
    }
}

/// Runs `$body` with `$x` bound to each operand's slice, if all have one element type; else panics, naming the types.
///
/// `by_dtype!((a: Floats, b: FloatsMut) => run(a, b))`
macro_rules! by_dtype {
    (($($x:ident: $kind:ident),+) => $body:expr) => {
        match ($($x,)+) {
            ($($kind::F32($x),)+) => $body,
            ($($kind::Bf16($x),)+) => $body,
            ($($kind::F16($x),)+) => $body,
            #[allow(unreachable_patterns)]
            ($($x,)+) => panic!("one element type for all operands, not {:?}", [$($x.dtype()),+]),
        }
    };
}
pub(crate) use by_dtype;
