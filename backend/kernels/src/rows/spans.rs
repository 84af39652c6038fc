//! How a kernel walks along contiguous elements.
//!
//! ```text
//! single registers up to a cache line | blocks of UNROLL registers | single registers, the last one partial
//! ```
//! The first part is empty unless the blocks are streamed, which wants them aligned.

use super::UNROLL;
use super::stream::to_line;
use crate::simd::Isa;

/// The parts of a walk, in elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// Where the blocks begin.
    pub(crate) blocks: usize,
    /// Where they end: a whole number of [`UNROLL`] registers further.
    pub(crate) rest: usize,
    /// All elements.
    pub(crate) len: usize,
}

/// The parts of `len` elements; with `STREAM` blocks begin on a cache line of `out`.
#[inline(always)]
pub(crate) fn spans<I: Isa, S, const STREAM: bool>(_isa: I, out: *const S, len: usize) -> Span {
    let block = UNROLL * I::LANES;
    // An address that no number of elements brings to a line is impossible: elements divide lines and slices are
    // aligned.
    let blocks = if STREAM { to_line(out).unwrap_or(len).min(len) } else { 0 };
    Span { blocks, rest: blocks + (len - blocks) / block * block, len }
}

impl Span {
    /// Where single registers begin and end: before the blocks and after them.
    #[inline(always)]
    pub(crate) fn singles(self) -> [(usize, usize); 2] {
        [(0, self.blocks), (self.rest, self.len)]
    }
}

/// Blocks of columns of a row, the last one first: what a pass before read last is still in cache. Items are where a
/// block begins and its length.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BackwardBlocks {
    begin: usize,
    end: usize,
    columns: usize,
}

impl BackwardBlocks {
    /// The blocks of `d` columns, `d > 0`; all but the last of a row have `columns`.
    #[inline(always)]
    pub(crate) fn new(d: usize, columns: usize) -> Self {
        Self { begin: (d - 1) / columns * columns, end: d, columns }
    }
}

impl Iterator for BackwardBlocks {
    type Item = (usize, usize);

    #[inline(always)]
    fn next(&mut self) -> Option<(usize, usize)> {
        let (at, n) = (self.begin, self.end - self.begin);
        (self.begin, self.end) = (at.saturating_sub(self.columns), at);
        (n > 0).then_some((at, n))
    }
}
