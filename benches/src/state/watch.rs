//! The state of the cores beside a whole program, which runs for seconds in a process of its own.

use super::meter::Seen;
use super::width::measure_width;
use crate::affinity::{hold_to, hold_to_cores};
use crate::measure::median;
use serde::Serialize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Each core is gauged so often: 40 µs of it are 0.05 % of the program's time.
const WATCH_EVERY: Duration = Duration::from_millis(80);

/// Two times compare where the parts of the readings that were alone differ by no more.
const NEAR: f64 = 0.25;

/// What the cores were during some time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Span {
    /// The part of the readings that found a core alone.
    pub alone: f64,
    /// Readings.
    pub readings: usize,
}

impl Span {
    /// Whether the cores were in about the same state; yes where nothing is known of either.
    pub fn is_near(self, other: Self) -> bool {
        self.readings == 0 || other.readings == 0 || (self.alone - other.alone).abs() <= NEAR
    }
}

/// The median of `theirs` over `ours` by round, over the rounds in which the cores were in about the same state for
/// both. `None` where there is no such round.
pub fn ratio_of_near(ours: &[(f64, Span)], theirs: &[(f64, Span)]) -> Option<f64> {
    let near = ours.iter().zip(theirs).filter(|(ours, theirs)| ours.1.is_near(theirs.1));
    median(&near.map(|(ours, theirs)| theirs.0 / ours.0).collect::<Vec<_>>())
}

/// The part of the readings of all spans that found a core alone; `None` of no readings.
pub fn part_alone<'a>(spans: impl IntoIterator<Item = &'a Span>) -> Option<f64> {
    let (mut alone, mut all) = (0.0, 0.0);
    for span in spans {
        alone += span.alone * span.readings as f64;
        all += span.readings as f64;
    }
    (all > 0.0).then(|| alone / all)
}

/// Widths and when they were read.
type Readings = Arc<Mutex<Vec<(Instant, f64)>>>;

/// Threads that gauge the cores of a program now and then, until this is dropped.
#[derive(Debug)]
pub struct Watch {
    readings: Readings,
    ends: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Watch {
    /// Holds the calling thread, and so the engines that it starts, to the first `threads` physical cores, and watches
    /// each. Where they cannot be held it watches nothing.
    pub fn start(threads: usize) -> Self {
        let (readings, ends) = (Readings::default(), Arc::new(AtomicBool::new(false)));
        let watch = |cpu: usize| {
            let (readings, ends) = (Arc::clone(&readings), Arc::clone(&ends));
            std::thread::spawn(move || {
                while hold_to(&[cpu]) && !ends.load(Ordering::Relaxed) {
                    let Some(width) = measure_width() else { return };
                    readings.lock().unwrap_or_else(|held| held.into_inner()).push((Instant::now(), width));
                    std::thread::sleep(WATCH_EVERY);
                }
            })
        };
        let threads = hold_to_cores(threads).unwrap_or_default().into_iter().map(watch).collect();
        Self { readings, ends, threads }
    }

    /// What the cores were from `begin` to `end`.
    pub fn between(&self, begin: Instant, end: Instant) -> Span {
        summarize(&self.readings.lock().unwrap_or_else(|held| held.into_inner()), begin, end)
    }
}

fn summarize(readings: &[(Instant, f64)], begin: Instant, end: Instant) -> Span {
    let mut seen = Seen::default();
    readings.iter().for_each(|(_, width)| seen.add(*width));
    let threshold = seen.threshold();
    let during = readings.iter().filter(|(at, _)| (begin..=end).contains(at));
    let during: Vec<f64> = during.map(|(_, width)| *width).collect();
    let alone = during.iter().filter(|width| **width >= threshold).count();
    Span { alone: alone as f64 / during.len().max(1) as f64, readings: during.len() }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // One that panicked has nothing to say any more.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_of_its_time() {
        let begin = Instant::now();
        let [later, end] = [1, 2].map(|seconds| begin + Duration::from_secs(seconds));
        let readings: Vec<(Instant, f64)> = (0..40).map(|i| if i < 20 { (begin, 3.0) } else { (later, 6.0) }).collect();
        let [all, first, last] = [(begin, end), (begin, begin), (later, end)].map(|(a, b)| summarize(&readings, a, b));
        assert_eq!(last, Span { alone: 1.0, readings: 20 });
        assert_eq!(all, Span { alone: 0.5, readings: 40 });
        assert_eq!(first, Span { alone: 0.0, readings: 20 });
        assert!(!last.is_near(all) && all.is_near(Span { alone: 0.7, readings: 9 }));
        assert_eq!(part_alone(&[all, last]), Some(40.0 / 60.0));
        assert_eq!(part_alone(&[summarize(&[], begin, end)]), None);
    }

    #[test]
    fn ratios_are_of_rounds_in_one_state() {
        let span = |alone| Span { alone, readings: 10 };
        let ours = [(1.0, span(1.0)), (4.0, span(0.0)), (1.0, span(0.9))];
        let theirs = [(2.0, span(0.95)), (4.0, span(1.0)), (4.0, span(1.0))];
        assert_eq!(ratio_of_near(&ours, &theirs), Some(3.0));
        assert_eq!(ratio_of_near(&ours[1..2], &theirs[1..2]), None, "one alone, one not");
        assert_eq!(ratio_of_near(&ours, &[]), None);
    }

    #[test]
    fn a_watch_reads_beside_others() {
        std::thread::spawn(|| {
            let begin = Instant::now();
            let watch = Watch::start(1);
            let readings = || watch.between(begin, Instant::now()).readings;
            let is_watched = !watch.threads.is_empty() && cfg!(target_arch = "x86_64");
            while is_watched && readings() == 0 && begin.elapsed() < Duration::from_secs(20) {
                std::thread::sleep(Duration::from_millis(1));
            }
            assert_eq!(readings() > 0, is_watched);
        })
        .join()
        .expect("it reads");
    }
}
