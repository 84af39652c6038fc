//! States of samples from widths.

use super::{State, Widths, measure_widths};
use rayon::ThreadPool;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A core that takes less than this part of the widest that was seen is shared: halves are 0.5, whole ones 1.
const PART: f64 = 0.75;

/// One reading in so many may be wrong: the widest that was seen is one that at least as many others reach. (On a
/// Granite Rapids of 6 a cycle 1 in 5,000 read 7 or more, as its chain was interrupted in each try; 2 threads, 19,000
/// readings.)
const OUTLIERS: usize = 100;

/// A core that takes less is shared, even where no wider reading was seen.
///
/// Whole cores have taken 4 a cycle since 2006 (Core 2, Skylake), 5 since Zen and Ice Lake, 6 since Zen 3 and Golden
/// Cove, 8 since Zen 5 and Lion Cove; shared ones half of it. So only 4 can be both, a whole Skylake and a shared Zen
/// 5. Cores that have `vaes` (Ice Lake, Zen 3 and what came after) are 5 wide at least.
fn least_width() -> f64 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("vaes") {
        return 4.25;
    }
    3.5
}

/// Every width so far, ascending, on a core of which less than `least` a cycle is a shared one's.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    widths: Vec<f64>,
    least: f64,
}

impl Default for Seen {
    fn default() -> Self {
        Self { widths: Vec::new(), least: least_width() }
    }
}

impl Seen {
    pub(super) fn add(&mut self, width: f64) {
        self.widths.insert(self.widths.partition_point(|seen| *seen < width), width);
    }

    /// Below this a core is shared.
    pub(super) fn threshold(&self) -> f64 {
        let len = self.widths.len();
        let widest = len.checked_sub((len / OUTLIERS).max(2) + 1).or(len.checked_sub(1));
        widest.map_or(self.least, |at| (PART * self.widths[at]).max(self.least))
    }
}

/// What a run waits for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wait {
    /// Each engine gets its rounds in each of these states.
    pub states: Vec<State>,
    /// The most time for one case, all of its rounds included. What is missing then is measured in whatever state there
    /// is.
    pub patience: Duration,
}

/// Gauges the cores around samples.
pub struct Meter {
    source: Box<dyn FnMut() -> Widths>,
    seen: Seen,
    /// What samples are taken for; `None` takes them as they come.
    pub wait: Option<Wait>,
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter").field("seen", &self.seen.widths.len()).field("wait", &self.wait).finish_non_exhaustive()
    }
}

impl Meter {
    /// Gauges the cores on which the threads of `pool` run.
    pub fn new(pool: &Arc<ThreadPool>) -> Self {
        let pool = Arc::clone(pool);
        Self::from_source(Box::new(move || measure_widths(&pool)), Seen::default())
    }

    /// Gauges nothing: every state is unknown.
    pub fn absent() -> Self {
        Self::from_source(Box::new(Widths::new), Seen::default())
    }

    /// Widths that were recorded on a core of which less than `least` a cycle is a shared one's; then none.
    pub fn recorded(widths: Vec<Widths>, least: f64) -> Self {
        let mut widths = widths.into_iter();
        Self::from_source(Box::new(move || widths.next().unwrap_or_default()), Seen { widths: Vec::new(), least })
    }

    fn from_source(source: Box<dyn FnMut() -> Widths>, seen: Seen) -> Self {
        Self { source, seen, wait: None }
    }

    /// The widths of this moment.
    pub fn read(&mut self) -> Widths {
        let widths = (self.source)();
        widths.iter().for_each(|width| self.seen.add(*width));
        widths
    }

    /// The state of a sample between two readings, by all that was seen until now.
    pub fn state(&self, before: &[f64], after: &[f64]) -> State {
        let threshold = self.seen.threshold();
        let whole = |widths: &[f64]| widths.iter().filter(|width| **width >= threshold).count();
        if before.is_empty() || after.is_empty() {
            State::Unknown
        } else if before.len() != after.len() || whole(before) != whole(after) {
            State::Mixed
        } else if whole(before) == before.len() {
            State::Alone
        } else if whole(before) == 0 {
            State::Shared
        } else {
            State::Partly
        }
    }

    /// Reads until the cores are in one of `states`, or until `end`.
    pub fn wait_for(&mut self, states: &[State], end: Instant) -> Widths {
        loop {
            let widths = self.read();
            let state = self.state(&widths, &widths);
            if state == State::Unknown || states.contains(&state) || Instant::now() >= end {
                return widths;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A meter that reads these.
    fn meter(least: f64, readings: &[[f64; 2]]) -> Meter {
        Meter::recorded(readings.iter().map(|widths| widths.to_vec()).collect(), least)
    }

    fn states(least: f64, readings: &[[f64; 2]]) -> Vec<State> {
        let mut meter = meter(least, readings);
        let read: Vec<_> = readings.iter().map(|_| meter.read()).collect();
        read.windows(2).map(|pair| meter.state(&pair[0], &pair[1])).collect()
    }

    #[test]
    fn recorded_widths_are_classified() {
        use State::{Alone, Mixed, Partly, Shared};
        // Granite Rapids, two threads.
        let read = [[5.93, 5.97], [5.98, 5.61], [3.02, 5.95], [5.96, 3.2], [3.04, 3.0], [2.97, 3.1]];
        assert_eq!(states(4.25, &read), [Alone, Mixed, Partly, Mixed, Shared]);
        // One state alone, of cores that are 4, 5, 6 and 8 wide: the first without `vaes`.
        for (width, least) in [(3.98, 3.5), (4.95, 4.25), (5.95, 4.25), (7.9, 4.25)] {
            assert_eq!(states(least, &[[width; 2]; 2]), [Alone], "{width}");
            assert_eq!(states(least, &[[width / 2.0; 2]; 2]), [Shared], "{}", width / 2.0);
        }
        // A Skylake beside Zen 5: 4 is whole on one and half of the other.
        assert_eq!(states(3.5, &[[8.0; 2], [8.0; 2], [4.0; 2], [4.0; 2]])[2], Shared);
    }

    #[test]
    fn a_reading_that_is_too_high_changes_nothing() {
        let mut read = vec![[5.9; 2]; 300];
        read[7] = [5.9, 11.0];
        read[80] = [9.0, 5.8];
        let mut meter = meter(4.25, &read);
        (0..300).for_each(|_| drop(meter.read()));
        assert_eq!(meter.state(&[5.7, 5.8], &[5.8, 5.8]), State::Alone);
        assert!(meter.seen.threshold() < 4.5);
    }

    #[test]
    fn nothing_read_is_unknown() {
        let mut meter = Meter::absent();
        let widths = meter.read();
        assert_eq!(meter.state(&widths, &widths), State::Unknown);
        assert!(meter.wait_for(&[State::Alone], Instant::now() + Duration::from_secs(60)).is_empty());
    }

    #[test]
    fn it_waits_for_a_state() {
        let mut meter = meter(4.25, &[[3.0; 2], [3.0, 6.0], [6.0; 2], [3.0; 2]]);
        assert_eq!(meter.wait_for(&[State::Alone], Instant::now() + Duration::from_secs(60)), [6.0; 2]);
        assert_eq!(meter.wait_for(&[State::Alone], Instant::now()), [3.0; 2]);
    }
}
