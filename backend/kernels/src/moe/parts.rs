//! Products of different sizes divided into parts of about equal work.

use super::routing::Group;
use crate::Launch;
use crate::simd::PANEL;
use core::ops::Range;
use core::sync::atomic::{AtomicUsize, Ordering};

/// Multiply-adds below which a second thread is not woken, as for single products.
const WORK_PER_THREAD: usize = 1 << 20;

/// Parts of a thread where there is work for more than one thread: one that is held up does less.
const PARTS_PER_THREAD: usize = 4;

/// Columns that a part has at the least: adjacent lines of memory are read together.
const MIN_COLUMNS: usize = 128;

/// Rows that take as long as reading a matrix for one: fewer take no less.
const ROWS_OF_A_READ: usize = 8;

/// Columns of the product of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    /// Index of the group.
    pub(super) group: usize,
    pub(super) cols: Range<usize>,
}

/// All items.
#[derive(Debug)]
pub(super) struct Parts {
    launch: Launch,
    items: Vec<Item>,
}

impl Parts {
    /// Divides products `[slots of a group, k] · [k, n]`.
    pub(super) fn divide(launch: Launch, groups: &[Group], [k, n]: [usize; 2]) -> Self {
        let work = |group: &Group| group.slots.len().max(ROWS_OF_A_READ).saturating_mul(k).saturating_mul(n);
        let all = groups.iter().map(work).fold(0usize, usize::saturating_add);
        let launch = launch.limit(all / WORK_PER_THREAD);
        let fair = if launch.threads > 1 { all / (launch.threads * PARTS_PER_THREAD) } else { usize::MAX };
        let most = (n / MIN_COLUMNS).max(1);
        let mut items = Vec::with_capacity(groups.len());
        for (group, products) in groups.iter().enumerate() {
            let count = work(products).div_ceil(fair.max(1)).clamp(1, most);
            let width = n.div_ceil(count).next_multiple_of(PANEL);
            items.extend((0..n).step_by(width).map(|col| Item { group, cols: col..(col + width).min(n) }));
        }
        // The largest first: what begins last should not be long.
        items.sort_by_key(|item| core::cmp::Reverse(groups[item.group].slots.len() * item.cols.len()));
        Self { launch, items }
    }

    /// Runs `work` for each item: threads take the next one as they come free.
    pub(super) fn run(&self, work: impl Fn(&Item) + Sync) {
        let next = AtomicUsize::new(0);
        self.launch.split(self.launch.threads.min(self.items.len()), 1, |workers| {
            for _ in workers {
                while let Some(item) = self.items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    work(item);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Tier;

    /// Each column of each group lies in one item.
    #[test]
    fn items_tile_the_products() {
        for threads in [1, 2, 7, 64] {
            for counts in [vec![1; 8], vec![3, 1, 200], vec![40], vec![]] {
                let mut end = 0;
                let groups: Vec<Group> = counts
                    .iter()
                    .enumerate()
                    .map(|(expert, &count)| {
                        end += count;
                        Group { expert, slots: end - count..end }
                    })
                    .collect();
                for n in [1, 16, 130, 768] {
                    let launch = Launch { threads, ..Launch::single(Tier::Portable) };
                    let parts = Parts::divide(launch, &groups, [4096, n]);
                    for group in 0..groups.len() {
                        let mut own: Vec<_> = parts.items.iter().filter(|item| item.group == group).collect();
                        own.sort_by_key(|item| item.cols.start);
                        assert!(own.windows(2).all(|pair| pair[0].cols.end == pair[1].cols.start));
                        assert_eq!((own[0].cols.start, own[own.len() - 1].cols.end), (0, n));
                    }
                }
            }
        }
    }
}
