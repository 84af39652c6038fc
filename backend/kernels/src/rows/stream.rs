//! Non-temporal stores, and prefetches of what a kernel reads next.
//!
//! An ordinary store to memory reads its cache line first and pushes another one out. For results that no cache would
//! hold until they are read again, a non-temporal store saves the reading: a copy of 64 MiB ran at 38 to 43 GB/s in
//! place of 30 to 35 (one thread), at 46 to 48 in place of 38 to 40 (two; AMD Zen 5, 32 MiB of third-level cache).

use super::UNROLL;
use crate::Caches;
use crate::Launch;
use crate::probe::{self, Probe};
use crate::simd::Isa;

/// A cache line, bytes. Non-temporal stores want whole registers at multiples of their size, and one after the other
/// fill lines.
const LINE: usize = 64;

/// Whether `bytes` of results are stored non-temporally: more than half of the last-level cache (they and the operands
/// no longer fit together). A very large cache is shared with many others: from 32 MiB on nobody finds the result there
/// either.
pub(crate) fn streams(bytes: usize) -> bool {
    let Caches { l2, l3, .. } = Caches::detect();
    bytes > (l3 / 2).max(2 * l2).min(32 << 20)
}

/// Elements before the first multiple of a cache line at or after `p`; `None` if there is none.
pub(crate) fn to_line<S>(p: *const S) -> Option<usize> {
    let bytes = p.addr().wrapping_neg() % LINE;
    bytes.is_multiple_of(size_of::<S>()).then(|| bytes / size_of::<S>())
}

/// Whether rows of `d` elements from `out` on are stored non-temporally: there are many, and each begins on a line.
pub(crate) fn streams_rows<S>(out: *const S, d: usize, rows: usize) -> bool {
    let row = size_of::<S>() * d;
    out.addr().is_multiple_of(LINE) && row.is_multiple_of(LINE) && streams(row * rows)
}

/// Elements that a kernel prefetches ahead whose own distance is `own` elements; 0 for none. Reports a call that
/// prefetches.
pub(crate) fn prefetch_elements<S>(launch: Launch, own: usize) -> usize {
    let elements = launch.prefetch_bytes(own * size_of::<S>()).div_ceil(size_of::<S>());
    if elements > 0 {
        probe::report(Probe::Prefetch);
    }
    elements
}

/// Prefetches the lines of one block at `p`, which may be anywhere. A row kernel works on its row in the cache while
/// memory idles, and the hardware's prefetch does not see the next row coming: the kernel prefetches it, a block for a
/// block.
#[inline(always)]
pub(crate) fn prefetch_block<I: Isa, S>(isa: I, p: *const S) {
    for line in (0..UNROLL * I::LANES * size_of::<S>()).step_by(LINE) {
        isa.prefetch(p.cast::<u8>().wrapping_add(line));
    }
}
