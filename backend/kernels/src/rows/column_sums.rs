//! Sums over all rows, column by column: gradients of a weight that every row is multiplied by.
//!
//! ```text
//! rows are cut into groups                     by their number alone
//! each group sums its rows, one by one         into a row of partial sums, while threads take groups
//! the rows of partial sums are added           pairwise: groups 0 + 1, 2 + 3, ..; then 0 + 2, ..; then 0 + 4, ..
//! ```
//!
//! Which rows are added in which order depends on nothing but their number: the sums are the same bits whatever the
//! number of threads, with and without `deterministic`.

use super::{Target, load, store};
use crate::Launch;
use crate::memory::PooledBytes;
use crate::simd::{Isa, Kernel};
use core::ops::Range;

/// Rows of a group, at least: adding the rows of partial sums moves a thirty-second of what the sums of a row move.
const LEAST_ROWS: usize = 32;

/// Groups, at most: partial sums of 2048 columns take half a megabyte then, and 64 threads have one each.
const MOST_GROUPS: usize = 64;

/// Groups of rows with partial sums of `columns` each.
pub(crate) struct ColumnSums {
    rows: usize,
    groups: usize,
    columns: usize,
    partial: PooledBytes,
}

impl ColumnSums {
    /// Sums of `columns` columns over `rows` rows.
    pub(crate) fn new(rows: usize, columns: usize) -> Self {
        let groups = rows.div_ceil(LEAST_ROWS).clamp(1, MOST_GROUPS);
        Self { rows, groups, columns, partial: PooledBytes::take(groups * columns * size_of::<f32>()) }
    }

    /// Calls `sum(rows, sums)` for each group, shared out to the threads of `launch`. The sums begin as zeros; `sum`
    /// adds to them.
    pub(crate) fn add_groups(&mut self, launch: Launch, sum: impl Fn(Range<usize>, &mut [f32]) + Sync) {
        let Self { rows, groups, columns, .. } = *self;
        let partial = Target::new(bytemuck::cast_slice_mut::<u8, f32>(self.partial.as_mut_slice()));
        launch.split(groups, 1, |part| {
            for group in part {
                let own = partial.part(&(group * columns..(group + 1) * columns));
                // SAFETY: `part` checked that the sums are within the slice, and each group is one thread's.
                let sums = unsafe { core::slice::from_raw_parts_mut(own, columns) };
                sums.fill(0.0);
                sum(rows * group / groups..rows * (group + 1) / groups, sums);
            }
        });
    }

    /// The sums over all groups. Threads share the columns: each adds its own in the same order.
    pub(crate) fn finish(mut self, launch: Launch) -> PooledBytes {
        let (groups, columns) = (self.groups, self.columns);
        let partial = Target::new(bytemuck::cast_slice_mut::<u8, f32>(self.partial.as_mut_slice()));
        let bytes = 2 * size_of::<f32>() * groups * columns;
        super::share(launch, bytes).split(columns, super::GRAIN, |own| {
            let first = partial.part(&(0..groups * columns));
            launch.tier.run(AddPairwise { first, groups, columns, own });
        });
        self.partial
    }
}

/// Columns `own` of all groups, added up in those of the first.
struct AddPairwise {
    first: *mut f32,
    groups: usize,
    columns: usize,
    own: Range<usize>,
}

impl Kernel for AddPairwise {
    type Out = ();

    #[inline(always)]
    fn call<I: Isa>(self, isa: I) {
        let Self { first, groups, columns, own } = self;
        let mut step = 1;
        while step < groups {
            for group in (0..groups - step).step_by(2 * step) {
                let (to, from) = (first.wrapping_add(group * columns), first.wrapping_add((group + step) * columns));
                for at in own.clone().step_by(I::LANES) {
                    let n = I::LANES.min(own.end - at);
                    // SAFETY: `finish` checked that there are `groups` rows of `columns`, of which no other thread has
                    // these columns; group + step < groups and at + n ≤ columns.
                    unsafe {
                        let sum = isa.add(load(isa, to.add(at), n), load(isa, from.add(at), n));
                        store(isa, to.add(at), sum, n);
                    }
                }
            }
            step *= 2;
        }
    }
}
