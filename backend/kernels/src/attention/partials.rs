//! Memory for sums over parts of the keys.

use super::decode_softmax::Running;
use super::packing::pad_columns;
use super::problem::Problem;
use crate::scratch::round_to_line;
use std::cell::Cell;

thread_local! {
    /// What the last split on this thread summed in.
    static SPARE: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Memory for the sums of all units and splits, kept by the thread for its next split.
#[derive(Debug)]
pub(super) struct Partials {
    floats: Vec<f32>,
    rows: usize,
    columns: usize,
}

/// The same, shared by threads that each write blocks of their own.
#[derive(Debug, Clone, Copy)]
pub(super) struct SharedPartials {
    data: *mut f32,
    count: usize,
    rows: usize,
    columns: usize,
}

/// Sums of one unit over one part of the keys.
#[derive(Debug, Clone, Copy)]
pub(super) struct PartialSums {
    data: *mut f32,
    rows: usize,
}

// SAFETY: pointers alone; each block is given to one unit at a time.
unsafe impl Send for SharedPartials {}
// SAFETY: pointers alone, read and written through `unsafe` calls that name their unit's block.
unsafe impl Sync for SharedPartials {}

impl Partials {
    /// Memory for `count` blocks of `rows` rows.
    pub(super) fn take(problem: &Problem<'_>, rows: usize, count: usize) -> Self {
        let rows = round_to_line(rows);
        let columns = pad_columns(problem.dv);
        let mut floats = if count == 0 { Vec::new() } else { SPARE.take() };
        let wanted = count * SharedPartials::size(rows, columns);
        if floats.len() < wanted {
            floats.resize(wanted, 0.0);
        }
        Self { floats, rows, columns }
    }

    pub(super) fn blocks(&mut self) -> SharedPartials {
        let size = SharedPartials::size(self.rows, self.columns);
        let count = self.floats.len() / size;
        SharedPartials { data: self.floats.as_mut_ptr(), count, rows: self.rows, columns: self.columns }
    }
}

impl Drop for Partials {
    fn drop(&mut self) {
        if !self.floats.is_empty() {
            SPARE.set(std::mem::take(&mut self.floats));
        }
    }
}

impl SharedPartials {
    /// Columns of each output, padded.
    pub(super) fn columns(self) -> usize {
        self.columns
    }

    /// Floats of one: maxima, sums and outputs, in whole cache lines.
    fn size(rows: usize, columns: usize) -> usize {
        rows * (2 + columns)
    }

    /// One of them; checked.
    pub(super) fn of(self, index: usize) -> PartialSums {
        assert!(index < self.count);
        // SAFETY: within the memory, by the check.
        PartialSums { data: unsafe { self.data.add(index * Self::size(self.rows, self.columns)) }, rows: self.rows }
    }
}

impl PartialSums {
    /// The sums in it.
    pub(super) fn running(self, columns: usize) -> Running {
        let out = self.data.wrapping_add(2 * self.rows);
        Running { max: self.data, sum: self.data.wrapping_add(self.rows), out, columns }
    }

    /// Notes a row's maximum and sum. Returns 1, by which its output is multiplied.
    ///
    /// # Safety
    /// The block has the row.
    #[inline(always)]
    pub(super) unsafe fn set(self, row: usize, max: f32, sum: f32) -> f32 {
        // SAFETY: the block has the row (`# Safety` of `PartialSums::set`).
        unsafe {
            self.data.add(row).write(max);
            self.data.add(self.rows + row).write(sum);
        }
        1.0
    }
}
