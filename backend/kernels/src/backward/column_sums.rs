//! Sums over the rows of a matrix.

use crate::Launch;
use crate::rows::{GRAIN, Source, Target, load, share, store};
use crate::scratch::Scratch;
use crate::simd::{Isa, Kernel};
use core::ops::Range;

/// Rows that are added up one after the other. Blocks of so many are added up in turn, which keeps the error of a sum
/// of many rows near `(128 + rows / 128) · 2⁻²⁴` of the sum of magnitudes.
pub(super) const ROWS_PER_SUM: usize = 128;

/// `sums[j] = Σ x[i][j]` over the rows of `x`, which are as long as `sums`: the gradient of a bias.
///
/// The order of a sum does not depend on the number of threads.
///
/// # Panics
/// If `x` is no whole number of rows.
pub fn column_sums(launch: Launch, x: &[f32], sums: &mut [f32]) {
    let width = sums.len();
    let count = x.len().checked_div(width).unwrap_or(0);
    assert_eq!(x.len(), count * width, "elements of rows of {width}");
    let (x, sums) = (Source::new(x), Target::new(sums));
    share(launch, size_of::<f32>() * x.len()).split(width, GRAIN, |part| {
        let mut sums = Sums::new(sums, part.clone());
        for first in (0..count).step_by(ROWS_PER_SUM) {
            let rows = ROWS_PER_SUM.min(count - first);
            // Rows are checked as a whole: from the first row's columns to the last one's.
            let x = x.part(&(first * width + part.start..(first + rows - 1) * width + part.end));
            launch.tier.run(AddRows { x, width, rows, columns: part.len(), block: sums.block() });
            sums.close();
        }
    });
}

/// The sums of some columns: of a block of rows, and of all blocks before.
pub(super) struct Sums {
    /// Zeros or what was added since the last [`Sums::close`].
    block: Scratch,
    /// Where all sums go, and which are these.
    to: Target<f32>,
    part: Range<usize>,
}

impl Sums {
    /// Nothing yet for the columns `part` of `to`, which no other thread has.
    pub(super) fn new(to: Target<f32>, part: Range<usize>) -> Self {
        let mut sums = Self { block: Scratch::take(part.len()), to, part };
        sums.block_mut().fill(0.0);
        sums.total_mut().fill(0.0);
        sums
    }

    /// Where a block of rows is added up, a float a column.
    pub(super) fn block(&mut self) -> *mut f32 {
        self.block.as_mut_ptr()
    }

    /// Adds the block to the sums, and begins the next one.
    pub(super) fn close(&mut self) {
        let block = self.block.as_mut_ptr();
        for (i, total) in self.total_mut().iter_mut().enumerate() {
            // SAFETY: the buffer has a float a column.
            unsafe {
                *total += *block.add(i);
                *block.add(i) = 0.0;
            }
        }
    }

    fn block_mut(&mut self) -> &mut [f32] {
        let len = self.part.len();
        // SAFETY: the buffer was taken for a float a column, all of them initialised.
        unsafe { core::slice::from_raw_parts_mut(self.block.as_mut_ptr(), len) }
    }

    fn total_mut(&mut self) -> &mut [f32] {
        let part = self.to.part(&self.part);
        // SAFETY: the part was checked, and no other thread has these columns.
        unsafe { core::slice::from_raw_parts_mut(part, self.part.len()) }
    }
}

/// Rows that one step adds: their loads do not wait for each other, and the sums are loaded and stored once.
const ROWS_PER_STEP: usize = 4;

/// `block[j] += Σ x[i][j]` for `rows` rows, `width` apart.
struct AddRows {
    x: *const f32,
    width: usize,
    rows: usize,
    columns: usize,
    block: *mut f32,
}

impl Kernel for AddRows {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        let Self { x, width, rows, columns, block } = self;
        for first in (0..rows).step_by(ROWS_PER_STEP) {
            let some = ROWS_PER_STEP.min(rows - first);
            let x = x.wrapping_add(first * width);
            for at in (0..columns).step_by(I::LANES) {
                let n = I::LANES.min(columns - at);
                // SAFETY: `column_sums` took `x` from a checked part that holds `columns` elements in each row; at + n
                // ≤ columns. The block of sums has as many.
                unsafe {
                    let row = |i: usize| load(isa, x.add(i * width + at), n);
                    let sum = load(isa, block.add(at), n);
                    let sum = match some {
                        ROWS_PER_STEP => isa.add(sum, isa.add(isa.add(row(0), row(1)), isa.add(row(2), row(3)))),
                        some => {
                            let mut sum = sum;
                            for i in 0..some {
                                sum = isa.add(sum, row(i));
                            }
                            sum
                        }
                    };
                    store(isa, block.add(at), sum, n);
                }
            }
        }
    }
}
