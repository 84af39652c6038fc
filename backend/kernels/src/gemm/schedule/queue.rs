//! Parts that threads take as they come free.
//!
//! ```text
//! each worker owns a span of the parts, equal ones at first
//! it takes from the front of its own while there are any, then from the back of the longest that is left
//! ```
//!
//! A worker goes on where it was: with the same rows of A in its L2 cache, and the next columns of B. One whose core is
//! slow, because another program or a busy hyperthread shares it, is left fewer parts in the end. Parts are small, and
//! neighbours that lie side by side are taken together: a share of what is left, so that large rectangles come first
//! and the last ones, for which others may wait, are small.

use core::ops::Range;
use std::sync::{Mutex, PoisonError};

/// What a worker takes at once of a span, one in so many. Fewer and wider rectangles wait less for the first columns of
/// B and keep A in L2; and a worker that is up to `(2w - 1) / (w - 1)` times slower than the `w - 1` others (3 of 2
/// workers, 2 of many) still ends its first share before they are done with all else. (f32, 128 x 2048 x 2048, two
/// threads on equal cores: 1.00 of two parts with spans taken whole, 0.96 to 0.98 with shares of a third.)
const SHARE: usize = 2;

/// The parts that are left.
#[derive(Debug)]
pub(in crate::gemm) struct Queue {
    spans: Vec<Mutex<Range<usize>>>,
}

impl Queue {
    /// Parts `0..total` for `workers`.
    pub(in crate::gemm) fn new(total: usize, workers: usize) -> Self {
        let at = |worker: usize| (total as u128 * worker as u128 / workers.max(1) as u128) as usize;
        Self { spans: (0..workers).map(|worker| Mutex::new(at(worker)..at(worker + 1))).collect() }
    }

    /// The next parts for `worker`, of those that `together` gives for the first or the last of them: parts that may be
    /// taken at once. `None` where none are left.
    pub(in crate::gemm) fn take(
        &self,
        worker: usize,
        together: impl Fn(usize) -> Range<usize>,
    ) -> Option<Range<usize>> {
        let own = self.with(worker, |span| {
            let end = (span.start + share(span)).min(together(span.start).end);
            let taken = span.start..end;
            span.start = end;
            taken
        });
        // What is found empty stays so: spans only shrink.
        own.or_else(|| {
            while let Some(other) = self.longest() {
                let stolen = self.with(other, |span| {
                    let begin = (span.end - share(span)).max(together(span.end - 1).start);
                    let taken = begin..span.end;
                    span.end = begin;
                    taken
                });
                if stolen.is_some() {
                    return stolen;
                }
            }
            None
        })
    }

    /// Calls `take` with the span of `worker` unless it is empty.
    fn with<R>(&self, worker: usize, take: impl FnOnce(&mut Range<usize>) -> R) -> Option<R> {
        let mut span = self.spans.get(worker)?.lock().unwrap_or_else(PoisonError::into_inner);
        (!span.is_empty()).then(|| take(&mut span))
    }

    /// The worker with most parts left.
    fn longest(&self) -> Option<usize> {
        let left = |worker: usize| self.with(worker, |span| span.len()).unwrap_or(0);
        let (parts, worker) = (0..self.spans.len()).map(|worker| (left(worker), worker)).max()?;
        (parts > 0).then_some(worker)
    }
}

/// How many parts of a span that is not empty are taken at once.
fn share(span: &Range<usize>) -> usize {
    (span.len() / SHARE).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::time::Duration;

    /// Every part is taken once, whoever takes it, and never with one from another row of ten.
    #[test]
    fn parts_are_taken_once() {
        let together = |part: usize| part / 10 * 10..part / 10 * 10 + 10;
        for (total, workers) in [(0, 3), (1, 4), (7, 2), (100, 1), (995, 3), (64, 64)] {
            let queue = Queue::new(total, workers);
            let hits: Vec<_> = (0..total).map(|_| AtomicUsize::new(0)).collect();
            std::thread::scope(|scope| {
                for worker in 0..workers {
                    let (queue, hits) = (&queue, &hits);
                    scope.spawn(move || {
                        while let Some(parts) = queue.take(worker, together) {
                            assert!(!parts.is_empty() && parts.start / 10 == (parts.end - 1) / 10, "{parts:?}");
                            parts.for_each(|part| _ = hits[part].fetch_add(1, Ordering::Relaxed));
                        }
                    });
                }
            });
            assert!(hits.iter().all(|hit| hit.load(Ordering::Relaxed) == 1), "{total} {workers}");
        }
    }

    /// A worker begins with its own parts, and takes the last ones of others.
    #[test]
    fn own_parts_come_first_and_those_of_others_from_their_end() {
        let queue = Queue::new(64, 2);
        let one = |part: usize| part..part + 1;
        let own: Vec<_> = (0..32).map(|_| queue.take(0, one).unwrap().start).collect();
        assert_eq!(own, (0..32).collect::<Vec<_>>());
        assert_eq!(queue.take(0, one), Some(63..64));
        assert_eq!(queue.take(1, one), Some(32..33));
        // A worker that never came has its parts done by the other.
        assert_eq!(std::iter::from_fn(|| queue.take(0, one)).count(), 30);
        assert_eq!(queue.take(1, one), None);
    }

    /// Large shares first, small ones last.
    #[test]
    fn shares_shrink() {
        let queue = Queue::new(128, 2);
        let sizes: Vec<_> = std::iter::from_fn(|| queue.take(0, |_| 0..128)).map(|parts| parts.len()).collect();
        let own = sizes
            .iter()
            .scan(0, |sum, &size| {
                *sum += size;
                Some(*sum)
            })
            .take_while(|&sum| sum <= 64)
            .count();
        assert_eq!(sizes[0], 64 / SHARE);
        for sizes in [&sizes[..own], &sizes[own..]] {
            assert!(sizes.windows(2).all(|pair| pair[0] >= pair[1]) && sizes.ends_with(&[1, 1]), "{sizes:?}");
        }
    }

    /// A worker that is held up at its first parts takes those and no others.
    #[test]
    fn a_worker_that_is_held_up_takes_fewer_parts() {
        let queue = Queue::new(100, 2);
        let (began, done) = (AtomicBool::new(false), AtomicBool::new(false));
        let wait = |flag: &AtomicBool| {
            while !flag.load(Ordering::Acquire) {
                std::thread::sleep(Duration::from_micros(50))
            }
        };
        let taken = |worker, hold: &(dyn Fn() + Sync)| {
            let mut count = 0;
            while let Some(parts) = queue.take(worker, |_| 0..100) {
                count += parts.len();
                hold();
            }
            count
        };
        let (slow, fast) = std::thread::scope(|scope| {
            let slow = scope.spawn(|| {
                taken(0, &|| {
                    began.store(true, Ordering::Release);
                    wait(&done)
                })
            });
            wait(&began);
            let fast = taken(1, &|| {});
            done.store(true, Ordering::Release);
            (slow.join().unwrap(), fast)
        });
        assert_eq!((slow, fast), (50 / SHARE, 100 - 50 / SHARE));
    }
}
