//! Sums over parts of the keys, and their merging.

use super::few_softmax::Running;
use super::packing::pad_columns;
use super::problem::Problem;
use super::unit::Unit;
use crate::Storage;
use crate::scratch::round_to_line;
use crate::simd::{Isa, Kernel};
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
pub(super) struct Blocks {
    data: *mut f32,
    count: usize,
    rows: usize,
    columns: usize,
}

/// Sums of one unit over one part of the keys.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    data: *mut f32,
    rows: usize,
}

// SAFETY: pointers alone; each block is given to one unit at a time.
unsafe impl Send for Blocks {}
// SAFETY: as above.
unsafe impl Sync for Blocks {}

impl Partials {
    /// Memory for `count` blocks of `rows` rows.
    pub(super) fn take(problem: &Problem<'_>, rows: usize, count: usize) -> Self {
        let rows = round_to_line(rows);
        let columns = pad_columns(problem.dv);
        let mut floats = if count == 0 { Vec::new() } else { SPARE.take() };
        let wanted = count * Blocks::size(rows, columns);
        if floats.len() < wanted {
            floats.resize(wanted, 0.0);
        }
        Self { floats, rows, columns }
    }

    pub(super) fn blocks(&mut self) -> Blocks {
        let size = Blocks::size(self.rows, self.columns);
        let count = self.floats.len() / size;
        Blocks { data: self.floats.as_mut_ptr(), count, rows: self.rows, columns: self.columns }
    }
}

impl Drop for Partials {
    fn drop(&mut self) {
        if !self.floats.is_empty() {
            SPARE.set(std::mem::take(&mut self.floats));
        }
    }
}

impl Blocks {
    /// Floats of one: maxima, sums and outputs, in whole cache lines.
    fn size(rows: usize, columns: usize) -> usize {
        rows * (2 + columns)
    }

    /// One of them; checked.
    pub(super) fn of(self, index: usize) -> Block {
        assert!(index < self.count);
        // SAFETY: within the memory, by the check.
        Block { data: unsafe { self.data.add(index * Self::size(self.rows, self.columns)) }, rows: self.rows }
    }
}

impl Block {
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
        // SAFETY: the caller's promise.
        unsafe {
            self.data.add(row).write(max);
            self.data.add(self.rows + row).write(sum);
        }
        1.0
    }
}

/// Merges the sums of a unit's splits and writes its result:
///
/// ```text
/// m = max m_s,   l = Σ l_s · 2^(m_s - m),   O = Σ O_s · 2^(m_s - m)
/// ```
pub(super) struct Merge<'a, S> {
    pub(super) unit: Unit<'a, S>,
    pub(super) blocks: Blocks,
    /// Index of the first split's block.
    pub(super) first: usize,
    pub(super) splits: usize,
}

impl<S: Storage> Kernel for Merge<'_, S> {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        let columns = self.blocks.columns;
        let into = self.blocks.of(self.first).running(columns);
        // SAFETY: blocks were made for the rows of a unit, and no thread works on them any more.
        unsafe {
            for split in 1..self.splits {
                let from = self.blocks.of(self.first + split).running(columns);
                for row in 0..self.unit.span.rows() {
                    merge_row(isa, into, from, row);
                }
            }
            self.unit.write(isa, into);
        }
    }
}

/// Adds the sums of `from` to those of `into`.
///
/// # Safety
/// Both hold the row.
#[inline(always)]
unsafe fn merge_row<I: Isa>(isa: I, into: Running, from: Running, row: usize) {
    // SAFETY: the caller's promise; columns are a whole number of registers.
    unsafe {
        let (a, b) = (*into.max.add(row), *from.max.add(row));
        let max = if b > a { b } else { a };
        // Where neither saw anything both factors are 0, and so are the sums.
        let shift = max.max(f32::MIN);
        let (of_a, of_b) = ((a - shift).exp2(), (b - shift).exp2());
        *into.max.add(row) = max;
        *into.sum.add(row) = *into.sum.add(row) * of_a + *from.sum.add(row) * of_b;
        let (of_a, of_b) = (isa.splat(of_a), isa.splat(of_b));
        let (to, from) = (into.out.add(row * into.columns), from.out.add(row * from.columns));
        for at in (0..into.columns).step_by(I::LANES) {
            let sum = isa.mul_add(isa.load(from.add(at)), of_b, isa.mul(isa.load(to.add(at)), of_a));
            isa.store(to.add(at), sum);
        }
    }
}
