//! Sizes of the blocks that row-wise kernels keep in cache between two passes over them, all derived here.
//!
//! ```text
//! norm of a long row          statistics forwards, then blocks of columns backwards: the last ones are still in cache
//!                             columns · (x + result + weights)  ≤  block
//! softmax of a long row       maximum, then exponentials of a block: it comes from memory once
//!                             elements · 4                      ≤  block / 2
//! softmax down a dimension    maxima, then exponentials of a few rows of a strip of columns
//!                             rows · columns · 4                ≤  block / 2
//! ```
//!
//! `block` is [`Launch::block`]: the first-level cache, or what a configuration says. Where half of it is taken,
//! maxima, sums and what the hardware prefetches have the other half. Sums do not depend on the sizes of norms, so
//! their results are the same bits for all of them; those of softmax are the same to rounding.

use super::UNROLL;
use crate::Caches;
use crate::probe::{self, Probe};
use crate::{Launch, Storage};

/// Elements of the walk's blocks on the tier with the widest registers: column blocks begin at multiples of it.
const STEP: usize = UNROLL * 16;

/// Columns in which a norm writes its rows of `d`: all of them where a row fits the block with its result and `weights`
/// f32 an element.
pub(crate) fn norm_columns<S: Storage>(launch: Launch, d: usize, weights: usize) -> usize {
    let element = 2 * size_of::<S>() + weights * size_of::<f32>();
    let fitting = (launch.block / element / STEP * STEP).max(STEP);
    let columns = if d <= fitting { d } else { fitting };
    probe::report_size(Probe::Blocks, columns * element);
    columns
}

/// Most elements of a block of a long row of softmax: each of the 32 partial sums or more has no more than 512 terms
/// then.
const LONGEST_BLOCK: usize = 16 << 10;

/// Elements of a block of a row of softmax that is read twice.
pub(crate) fn softmax_elements(launch: Launch, d: usize) -> usize {
    let elements = (launch.block / 2 / size_of::<f32>() / STEP * STEP).clamp(STEP, LONGEST_BLOCK);
    probe::report_size(Probe::Blocks, elements.min(d) * size_of::<f32>());
    elements
}

/// Elements of the longest row of softmax whose exponentials are kept: with 4 bytes each of source, result and
/// exponentials it takes three quarters of the last-level cache. Computing each exponential once pays wherever it is
/// kept. (Against twice, one thread and two: 32 K elements, in L2 of 1 MiB, 1.5 to 1.7 times as fast on AVX-512 and 1.5
/// to 2.1 on AVX2; 256 K and 1 M in L3 of 32 MiB the same; 64 rows of 256 K from memory 1.4 to 1.6.)
pub(crate) fn longest_kept_row() -> usize {
    let Caches { l2, l3, .. } = Caches::detect();
    l2.max(l3) / 16
}

/// Columns of the widest strip of a softmax down a dimension: 2 KiB a row piece, long enough for the hardware's
/// prefetch.
pub(crate) const MAX_STRIP: usize = 512;

/// Most rows of a strip's block: no more than the ways of a first-level cache, as all may fall into the same sets.
const MAX_STRIP_ROWS: usize = 8;

/// The block of a softmax down a dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StripBlock {
    /// Columns of a strip, at most [`MAX_STRIP`].
    pub(crate) columns: usize,
    /// Rows of a block.
    pub(crate) rows: usize,
}

/// The block of a softmax down a dimension with `inner` columns.
pub(crate) fn softmax_strip(launch: Launch, inner: usize) -> StripBlock {
    let floats = launch.block / 2 / size_of::<f32>();
    let columns = (floats / MAX_STRIP_ROWS / STEP * STEP).clamp(STEP, MAX_STRIP);
    let rows = (floats / columns).clamp(1, MAX_STRIP_ROWS);
    probe::report_size(Probe::Blocks, columns.min(inner) * rows * size_of::<f32>());
    StripBlock { columns, rows }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Tier;
    use half::bf16;

    fn launch(block: usize) -> Launch {
        Launch { block, ..Launch::single(Tier::Portable) }
    }

    /// The sizes of the i5-10210U.
    #[test]
    fn a_first_level_of_32_kib() {
        let launch = launch(Launch::block_of(Caches::FALLBACK));
        assert_eq!([1000, 2048, 2049, 1 << 20].map(|d| norm_columns::<f32>(launch, d, 2)), [1000, 2048, 2048, 2048]);
        assert_eq!(norm_columns::<f32>(launch, 1 << 20, 1), 2688);
        assert_eq!(norm_columns::<bf16>(launch, 1 << 20, 2), 2688);
        assert_eq!(softmax_elements(launch, 1 << 20), 4096);
        assert_eq!(softmax_strip(launch, 40), StripBlock { columns: 512, rows: 8 });
    }

    /// Blocks fit what they are to fit, down to a few registers.
    #[test]
    fn blocks_fit() {
        for block in [256, 1000, 4096, 48 << 10, 1 << 24] {
            let launch = launch(block);
            let columns = norm_columns::<f32>(launch, usize::MAX, 2);
            assert!(columns.is_multiple_of(STEP) && (columns == STEP || columns * 16 <= block), "{block}: {columns}");
            let elements = softmax_elements(launch, usize::MAX);
            assert!(elements == STEP || elements * 8 <= block, "{block}: {elements}");
            let StripBlock { columns, rows } = softmax_strip(launch, usize::MAX);
            assert!(columns * rows * 8 <= block.max(8 * STEP) && columns <= MAX_STRIP && rows >= 1, "{block}");
        }
    }
}
