//! The state of the cores beside a whole program, which runs for seconds in a process of its own.

use super::State;
use super::meter::Seen;
use super::width::measure_width;
use crate::affinity::{hold_to, hold_to_cores};
use serde::Serialize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Each core is gauged so often: 40 µs of it are 0.05 % of the program's time.
pub const WATCH_EVERY: Duration = Duration::from_millis(80);

/// From this part of the readings on a state is that of the whole time.
const MOST: f64 = 0.9;

/// What the cores were during some time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Span {
    /// The part of the readings that found a core alone.
    pub alone: f64,
    /// Readings.
    pub readings: usize,
}

impl Span {
    /// Alone or shared where nine of ten readings say so, else mixed.
    pub fn state(self) -> State {
        match self.alone {
            _ if self.readings == 0 => State::Unknown,
            alone if alone >= MOST => State::Alone,
            alone if alone <= 1.0 - MOST => State::Shared,
            _ => State::Mixed,
        }
    }
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

    /// What the cores were since `begin`.
    pub fn since(&self, begin: Instant) -> Span {
        summarize(&self.readings.lock().unwrap_or_else(|held| held.into_inner()), begin)
    }
}

fn summarize(readings: &[(Instant, f64)], begin: Instant) -> Span {
    let mut seen = Seen::default();
    readings.iter().for_each(|(_, width)| seen.add(*width));
    let threshold = seen.threshold();
    let during: Vec<f64> = readings.iter().filter(|(at, _)| *at >= begin).map(|(_, width)| *width).collect();
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
        let later = begin + Duration::from_secs(1);
        let readings: Vec<(Instant, f64)> = (0..40).map(|i| if i < 20 { (begin, 3.0) } else { (later, 6.0) }).collect();
        assert_eq!(summarize(&readings, later), Span { alone: 1.0, readings: 20 });
        assert_eq!(summarize(&readings, later).state(), State::Alone);
        assert_eq!(summarize(&readings, begin), Span { alone: 0.5, readings: 40 });
        assert_eq!(summarize(&readings, begin).state(), State::Mixed);
        assert_eq!(summarize(&readings[..20], begin).state(), State::Shared);
        assert_eq!(summarize(&[], begin).state(), State::Unknown);
    }

    #[test]
    fn a_watch_reads_beside_others() {
        std::thread::spawn(|| {
            let begin = Instant::now();
            let watch = Watch::start(1);
            let is_watched = !watch.threads.is_empty() && cfg!(target_arch = "x86_64");
            while is_watched && watch.since(begin).readings == 0 && begin.elapsed() < Duration::from_secs(20) {
                std::thread::sleep(Duration::from_millis(1));
            }
            assert_eq!(watch.since(begin).readings > 0, is_watched);
        })
        .join()
        .expect("it reads");
    }
}
