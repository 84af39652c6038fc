//! All threads of a pool at one moment: what a peak of the machine, and not of one core, is measured by.

use rayon::ThreadPool;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Runs `work` on what `prepare` made, on every thread of `pool`, from one moment on. Returns the sum of what `work`
/// says it did, and the time from the first beginning to the last end.
pub fn run_together<S>(
    pool: &ThreadPool,
    prepare: impl Fn() -> S + Sync,
    work: impl Fn(&mut S) -> f64 + Sync,
) -> (f64, Duration) {
    let (threads, ready) = (pool.current_num_threads(), AtomicUsize::new(0));
    let spans = pool.broadcast(|_| {
        let mut state = prepare();
        ready.fetch_add(1, Ordering::SeqCst);
        // A barrier of the system would wake threads up tens of microseconds apart.
        while ready.load(Ordering::SeqCst) < threads {
            std::thread::yield_now();
        }
        let begin = Instant::now();
        let done = work(&mut state);
        (begin, Instant::now(), done)
    });
    let begin = spans.iter().map(|span| span.0).min().expect("a pool has threads");
    let end = spans.iter().map(|span| span.1).max().expect("a pool has threads");
    (spans.iter().map(|span| span.2).sum(), end - begin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_takes_part() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().expect("threads can be started");
        let (done, time) = run_together(&pool, || 2.0, |state| *state);
        assert_eq!(done, 6.0);
        assert!(time < Duration::from_secs(5));
    }
}
