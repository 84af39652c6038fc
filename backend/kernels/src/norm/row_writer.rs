//! The loop that all norms of rows share: the numbers of a row, then its columns.
//!
//! ```text
//! for each row
//!     numbers = measure(row)                             forwards
//!     for each block of columns, the last one first      what was read last is still in cache
//!         write(row, numbers, block)
//! ```

use crate::Launch;
use crate::Storage;
use crate::rows::{BackwardBlocks, norm_columns, prefetch_elements};
use crate::simd::{Isa, Kernel};

/// What one norm does with a row of those that it was made for.
pub(super) trait RowWriter {
    /// The numbers of a row.
    type Measured: Copy;

    /// The numbers of row `row`. With `STREAM` nothing that is streamed is read back.
    ///
    /// # Safety
    /// The row exists.
    unsafe fn measure<I: Isa, const STREAM: bool>(&self, isa: I, row: usize) -> Self::Measured;

    /// Writes `n` columns of row `row` from `at` on; with `STREAM` by non-temporal stores, with `PREFETCH` as many
    /// elements `ahead` further are prefetched.
    ///
    /// # Safety
    /// The row and the columns exist, and `at` is a multiple of every tier's blocks of registers.
    unsafe fn write<I: Isa, const STREAM: bool, const PREFETCH: bool>(
        &self,
        isa: I,
        row: usize,
        measured: Self::Measured,
        columns: Columns,
    );
}

/// Columns of a row, and how far ahead to prefetch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Columns {
    pub(super) at: usize,
    pub(super) n: usize,
    /// Elements.
    pub(super) ahead: usize,
}

/// How rows of `d` elements are walked.
#[derive(Debug, Clone, Copy)]
pub(super) struct RowWalk {
    d: usize,
    /// Columns of a block.
    columns: usize,
    /// Whether results are stored non-temporally.
    stream: bool,
    /// Elements ahead of which rows are prefetched while results are streamed; 0 for none.
    ahead: usize,
}

impl RowWalk {
    /// For rows of `S` with `weights` f32 an element, `d > 0`, of which the next one begins `stride` elements on.
    pub(super) fn new<S: Storage>(launch: Launch, [d, stride]: [usize; 2], weights: usize, stream: bool) -> Self {
        let ahead = if stream { prefetch_elements::<S>(launch, stride) } else { 0 };
        Self { d, columns: norm_columns::<S>(launch, d, weights), stream, ahead }
    }
}

/// Rows of one thread.
pub(super) struct WriteRows<W> {
    writer: W,
    walk: RowWalk,
    rows: usize,
}

impl<W: RowWriter> WriteRows<W> {
    /// The first `rows` rows of `writer`.
    ///
    /// # Safety
    /// They exist, each with the columns of `walk`.
    pub(super) unsafe fn new(writer: W, walk: RowWalk, rows: usize) -> Self {
        Self { writer, walk, rows }
    }

    #[inline(always)]
    fn run<I: Isa, const STREAM: bool, const PREFETCH: bool>(&self, isa: I) {
        let RowWalk { d, columns, ahead, .. } = self.walk;
        let blocks = BackwardBlocks::new(d, columns);
        for row in 0..self.rows {
            // SAFETY: the `# Safety` clause of `WriteRows::new`: these rows exist with d columns, and blocks are within
            // those.
            unsafe {
                let measured = self.writer.measure::<I, STREAM>(isa, row);
                for (at, n) in blocks {
                    self.writer.write::<I, STREAM, PREFETCH>(isa, row, measured, Columns { at, n, ahead });
                }
            }
        }
    }
}

impl<W: RowWriter> Kernel for WriteRows<W> {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        match (self.walk.stream, self.walk.ahead > 0) {
            (true, true) => self.run::<I, true, true>(isa),
            (true, false) => self.run::<I, true, false>(isa),
            (false, _) => self.run::<I, false, false>(isa),
        }
        if self.walk.stream {
            isa.fence();
        }
    }
}
