//! How a kernel walks along contiguous elements.
//!
//! ```text
//! single registers up to a cache line | blocks of BESIDE registers | single registers, the last one partial
//! ```
//! The first part is empty unless the blocks are streamed, which wants them aligned.

use super::stream::to_line;
use crate::simd::Isa;

/// Registers of a block: enough chains beside each other to fill the arithmetic units (4 cycles of latency, 2 units), while block
/// and constants fit 16 registers or nearly so. Even, as pairs of 16-bit registers are split.
pub(crate) const BESIDE: usize = 4;

/// The parts of a walk, in elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// Where the blocks begin.
    pub(crate) blocks: usize,
    /// Where they end: a whole number of [`BESIDE`] registers further.
    pub(crate) rest: usize,
    /// All elements.
    pub(crate) len: usize,
}

/// The parts of `len` elements; with `STREAM` blocks begin on a cache line of `out`.
#[inline(always)]
pub(crate) fn spans<I: Isa, S, const STREAM: bool>(_isa: I, out: *const S, len: usize) -> Span {
    let block = BESIDE * I::LANES;
    // An address that no number of elements brings to a line is impossible: elements divide lines and slices are aligned.
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
