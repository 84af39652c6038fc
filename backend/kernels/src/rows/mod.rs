//! What row-wise and element-wise kernels share: slices of which each thread has its own part, how many threads a part
//! is worth, the sizes of blocks, and loads of registers that may be partial.

mod blocks;
mod column_sums;
mod registers;
mod row_reader;
mod shared;
mod spans;
mod stream;
mod weights;

pub(crate) use blocks::{MAX_STRIP, StripBlock, longest_kept_row, norm_columns, softmax_elements, softmax_strip};
pub(crate) use column_sums::ColumnSums;
pub(crate) use registers::{load, load_or, store};
pub(crate) use row_reader::RowReader;
pub(crate) use shared::{AnySource, AnyTarget, Source, Target};
pub(crate) use spans::{BackwardBlocks, spans};
pub(crate) use stream::{prefetch_block, prefetch_elements, streams, streams_rows};
pub(crate) use weights::Widened;

use super::Launch;

/// Registers of a block: enough chains beside each other to fill the arithmetic units (4 cycles of latency, 2 units),
/// while block and constants fit 16 registers or nearly so. Even, as pairs of 16-bit registers are split.
pub(crate) const UNROLL: usize = 4;

/// Bytes that a thread must move for its start to pay. Waking a pool thread costs 5 to 10 µs; one core moves 256 KiB in
/// 4 µs between caches (60 GB/s) and in 20 µs from memory (12 GB/s), and the costlier functions (GELU on AVX2) take 20
/// µs for it.
pub(crate) const BYTES_PER_THREAD: usize = 256 * 1024;

/// Elements in a cache line of f32, and a whole number of registers on every tier: parts of a split begin at multiples
/// of it, so that no two threads write one line (if the slice begins on one).
pub(crate) const GRAIN: usize = 32;

/// As many threads as `bytes` of traffic are worth.
pub(crate) fn share(launch: Launch, bytes: usize) -> Launch {
    launch.limit(bytes / BYTES_PER_THREAD)
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
