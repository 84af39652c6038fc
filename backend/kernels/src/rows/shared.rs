//! Slices that threads share.

use super::{load, store};
use crate::simd::Isa;
use crate::{Floats, FloatsMut};
use core::ops::Range;
use half::{bf16, f16};

/// A slice that threads read while another view of the same memory may be written: an operand of an op that works in
/// place.
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
// SAFETY: a pointer alone; whoever dereferences it promises that no other thread writes what it reads.
unsafe impl<S: Sync> Sync for Source<S> {}
// SAFETY: a pointer alone; whoever dereferences it promises that threads touch disjoint parts.
unsafe impl<S: Send> Send for Target<S> {}
// SAFETY: a pointer alone; whoever dereferences it promises that threads touch disjoint parts.
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

    /// The address of the first element: two operands with the same one are the same memory.
    pub(crate) fn start(self) -> *const S {
        self.start
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

/// A [`Source`] of any element type: read a register at a time, next to operands of another type.
#[derive(Debug, Clone, Copy)]
pub(crate) enum AnySource {
    F32(Source<f32>),
    Bf16(Source<bf16>),
    F16(Source<f16>),
}

impl AnySource {
    pub(crate) fn new(slice: Floats<'_>) -> Self {
        match slice {
            Floats::F32(x) => Self::F32(Source::new(x)),
            Floats::Bf16(x) => Self::Bf16(Source::new(x)),
            Floats::F16(x) => Self::F16(Source::new(x)),
        }
    }

    /// `n ≤ LANES` elements from `at`; the other lanes are 0.
    #[inline(always)]
    pub(crate) fn load<I: Isa>(self, isa: I, at: usize, n: usize) -> I::V {
        // SAFETY: `part` checks that the elements are within the slice.
        unsafe {
            match self {
                Self::F32(x) => load(isa, x.part(&(at..at + n)), n),
                Self::Bf16(x) => load(isa, x.part(&(at..at + n)), n),
                Self::F16(x) => load(isa, x.part(&(at..at + n)), n),
            }
        }
    }
}

/// A [`Target`] of any element type.
#[derive(Debug, Clone, Copy)]
pub(crate) enum AnyTarget {
    F32(Target<f32>),
    Bf16(Target<bf16>),
    F16(Target<f16>),
}

impl AnyTarget {
    pub(crate) fn new(slice: FloatsMut<'_>) -> Self {
        match slice {
            FloatsMut::F32(x) => Self::F32(Target::new(x)),
            FloatsMut::Bf16(x) => Self::Bf16(Target::new(x)),
            FloatsMut::F16(x) => Self::F16(Target::new(x)),
        }
    }

    /// Stores `n ≤ LANES` lanes from element `at` on.
    #[inline(always)]
    pub(crate) fn store<I: Isa>(self, isa: I, at: usize, v: I::V, n: usize) {
        // SAFETY: `part` checks that the elements are within the slice.
        unsafe {
            match self {
                Self::F32(x) => store(isa, x.part(&(at..at + n)), v, n),
                Self::Bf16(x) => store(isa, x.part(&(at..at + n)), v, n),
                Self::F16(x) => store(isa, x.part(&(at..at + n)), v, n),
            }
        }
    }
}
