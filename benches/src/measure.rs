//! Timing: engines take turns (A B A B), and medians over the rounds of one state of the cores are what counts.

use crate::state::{Meter, State, Widths};
use std::time::{Duration, Instant};

/// Why an engine has no figure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It cannot run the operation on such operands.
    #[error("{0}")]
    Unsupported(String),
    /// It panicked.
    #[error("panicked: {0}")]
    Panicked(String),
    /// A card reported an error.
    #[error("the card: {0}")]
    Device(String),
    /// The child process is not there, or said that it cannot.
    #[error("{0}")]
    Child(String),
}

/// Something that runs a prepared case.
pub trait Engine {
    /// The name of its column.
    fn name(&self) -> &str;

    /// Runs the case `calls` times.
    ///
    /// # Errors
    /// [`Failure`], after which it is not asked again.
    fn run(&mut self, calls: usize) -> Result<Duration, Failure>;

    /// What it says about how it ran, if anything: the kernel that a library chose.
    fn note(&self) -> Option<String> {
        None
    }
}

/// Engines that are ready for a case, and the columns that have none with the reason.
pub type Prepared = (Vec<Box<dyn Engine>>, Vec<(String, Failure)>);

/// How long to measure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effort {
    /// Rounds of all engines.
    pub rounds: usize,
    /// One engine's time in one round, seconds.
    pub sample: f64,
}

impl Effort {
    /// Rounds for `seconds` of each engine: at least 5, of at least 20 ms; an odd number, so that a median is one of
    /// them.
    pub fn of_seconds(seconds: f64) -> Self {
        let rounds = ((seconds / 0.03) as usize).clamp(5, 15) | 1;
        Self { rounds, sample: (seconds / rounds as f64).max(0.02) }
    }

    /// Calls that fill a sample when one takes `seconds`.
    fn calls(self, seconds: f64) -> usize {
        let seconds = seconds.max(1e-9);
        let fill = (self.sample / seconds).ceil() as usize;
        fill.clamp(1, 1 << 24)
    }
}

/// An engine's turn in a round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// The round.
    pub round: usize,
    /// Seconds a call.
    pub seconds: f64,
    /// What the cores were.
    pub state: State,
}

/// The samples of one engine, at most one for each round; or why there are none.
pub type Samples = Result<Vec<Sample>, Failure>;

/// Seconds a call of one engine, one for each round; or why there are none.
pub type Times = Result<Vec<f64>, Failure>;

/// An engine whose calls take longer than this runs no second time before it counts: what a first call pays is little
/// of it.
const LONG: f64 = 0.5;

/// An engine gets no more rounds than fit this, seconds (3 at least, 1 where a single call takes as long): some peers
/// are a hundred times slower in bf16, and nobody needs to know that to a percent.
const PATIENCE: f64 = 1.5;

/// A peer whose call takes this many times as long as one of the first engine is slow: one call a round and few rounds
/// say so well enough.
const SLOW: f64 = 10.0;

/// Rounds of a slow peer.
const SLOW_ROUNDS: usize = 3;

/// Time of one engine in one round below which a clock is too coarse, seconds.
const LEAST: f64 = 1e-3;

/// How one engine takes part.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Part {
    calls: usize,
    rounds: usize,
    /// Seconds of a call that took so long that it is all there is.
    only: Option<f64>,
    /// Seconds of a call.
    seconds: f64,
}

impl Effort {
    /// Runs an engine until it is warm, and decides how often it runs in how many rounds. It is slow if it takes much
    /// longer than `reference` seconds.
    fn warm(self, engine: &mut dyn Engine, reference: Option<f64>) -> Result<Part, Failure> {
        let mut seconds = engine.run(1)?.as_secs_f64();
        if seconds < LONG {
            // The first call paid for page faults and lazy initialisation: later ones say how long a call takes.
            seconds = engine.run(1)?.as_secs_f64();
        }
        if reference.is_some_and(|reference| seconds > SLOW * reference) {
            let only = (seconds >= PATIENCE).then_some(seconds);
            let calls = Self { sample: LEAST, ..self }.calls(seconds);
            let rounds = if only.is_some() { 0 } else { SLOW_ROUNDS.min(self.rounds) };
            return Ok(Part { calls, rounds, only, seconds });
        }
        if seconds < self.sample {
            let calls = self.calls(seconds) / 2 + 1;
            seconds = engine.run(calls)?.as_secs_f64() / calls as f64;
        }
        let calls = self.calls(seconds);
        let rounds = (PATIENCE / (seconds * calls as f64).max(1e-9)) as usize;
        let at_least = if seconds < PATIENCE { 3 } else { 1 };
        Ok(Part { calls, rounds: rounds.max(at_least).min(self.rounds), only: None, seconds })
    }
}

/// A sample, and the widths of the cores before and after it.
struct Raw {
    round: usize,
    seconds: f64,
    before: Widths,
    after: Widths,
}

/// Warms every engine up, then lets them take turns. Those from `peers` on are compared to the first one: one that is
/// very slow leaves after fewer rounds. `meter` gauges the cores around each sample; where it waits for states, rounds
/// go on until each engine has as many samples in each, or time is up.
pub fn interleave_by_state(
    engines: &mut [Box<dyn Engine + '_>],
    peers: usize,
    effort: Effort,
    meter: &mut Meter,
) -> Vec<Samples> {
    let mut parts: Vec<Result<Part, Failure>> = Vec::with_capacity(engines.len());
    let mut samples: Vec<Result<Vec<Raw>, Failure>> = Vec::with_capacity(engines.len());
    for (i, engine) in engines.iter_mut().enumerate() {
        let first = parts.first().and_then(|part| part.as_ref().ok()).map(|part| part.seconds);
        let before = meter.read();
        let part = effort.warm(engine.as_mut(), first.filter(|_| i >= peers));
        samples.push(part.clone().map(|Part { only, .. }| {
            only.map(|seconds| Raw { round: 0, seconds, before, after: meter.read() }).into_iter().collect()
        }));
        parts.push(part);
    }
    let wanted = meter.wait.clone().unwrap_or_default();
    let end = Instant::now() + wanted.patience;
    for round in 0.. {
        let (mut ran, is_waiting) = (false, !wanted.states.is_empty() && Instant::now() < end);
        for ((engine, part), samples) in engines.iter_mut().zip(&parts).zip(&mut samples) {
            let (Ok(part), Ok(times)) = (part, &mut *samples) else { continue };
            let is_missing = |state: &State| {
                times.iter().filter(|raw| meter.state(&raw.before, &raw.after) == *state).count() < part.rounds
            };
            let missing: Vec<State> = wanted.states.iter().copied().filter(is_missing).collect();
            if times.len() >= part.rounds && (missing.is_empty() || !is_waiting) {
                continue;
            }
            let before = if missing.is_empty() { meter.read() } else { meter.wait_for(&missing, end) };
            ran = true;
            match engine.run(part.calls) {
                Ok(time) => {
                    let seconds = time.as_secs_f64() / part.calls as f64;
                    times.push(Raw { round, seconds, before, after: meter.read() });
                }
                Err(failure) => *samples = Err(failure),
            }
        }
        if !ran {
            break;
        }
    }
    // Only now: what a core is capable of may have been seen in the last round.
    let classify = |Raw { round, seconds, before, after }: &Raw| Sample {
        round: *round,
        seconds: *seconds,
        state: meter.state(before, after),
    };
    samples.into_iter().map(|samples| samples.map(|samples| samples.iter().map(classify).collect())).collect()
}

/// The same without a look at the cores.
pub fn interleave(engines: &mut [Box<dyn Engine + '_>], peers: usize, effort: Effort) -> Vec<Times> {
    let samples = interleave_by_state(engines, peers, effort, &mut Meter::absent());
    samples.into_iter().map(|samples| samples.map(|samples| seconds_in(&samples, State::Unknown))).collect()
}

/// Seconds of the samples in `state`.
pub fn seconds_in(samples: &[Sample], state: State) -> Vec<f64> {
    samples.iter().filter(|sample| sample.state == state).map(|sample| sample.seconds).collect()
}

/// How much faster `ours` is than `theirs` in `state`: the median of their time over ours over the rounds in which both
/// were in it; where those are fewer than three, and fewer than either has, the ratio of the medians.
pub fn ratio_in(ours: &[Sample], theirs: &[Sample], state: State) -> Option<f64> {
    let all = [ours, theirs].map(|samples| seconds_in(samples, state));
    let partner = |sample: &&Sample| theirs.iter().find(|other| other.round == sample.round && other.state == state);
    let pairs: Vec<f64> = (ours.iter().filter(|sample| sample.state == state))
        .filter_map(|sample| Some(partner(&sample)?.seconds / sample.seconds))
        .collect();
    if pairs.len() >= 3.min(all[0].len()).min(all[1].len()) {
        return median(&pairs);
    }
    let [ours, theirs] = all.map(|seconds| median(&seconds));
    Some(theirs? / ours?)
}

/// The middle of the numbers, the mean of the middle two of an even count; `None` of nothing.
pub fn median(numbers: &[f64]) -> Option<f64> {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        len if len % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// How much faster `ours` is than `theirs`: the median over rounds of their time over ours.
pub fn median_ratio(ours: &[f64], theirs: &[f64]) -> Option<f64> {
    let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(ours, theirs)| theirs / ours).collect();
    median(&ratios)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Wait;

    #[test]
    fn medians() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // Everything takes ten times as long in the third round; the ratio of the medians would be 2 / 1 all the same,
        // but that of the rounds sees the 4 of the second.
        assert_eq!(median_ratio(&[1.0, 1.0, 10.0], &[2.0, 4.0, 40.0]), Some(4.0));
        assert_eq!(median_ratio(&[1.0], &[0.5]), Some(0.5));
    }

    #[test]
    fn efforts() {
        assert_eq!(Effort::of_seconds(0.15).rounds, 5);
        assert!(Effort::of_seconds(0.01).sample >= 0.02);
        let effort = Effort { rounds: 5, sample: 0.03 };
        assert_eq!(effort.calls(0.01), 3);
        assert_eq!(effort.calls(0.001), 30);
        assert_eq!(effort.calls(0.2), 1);
        assert_eq!(effort.calls(0.6), 1);
        assert_eq!(effort.calls(7.0), 1);
    }

    fn samples(list: &[(usize, f64, State)]) -> Vec<Sample> {
        list.iter().map(|&(round, seconds, state)| Sample { round, seconds, state }).collect()
    }

    #[test]
    fn ratios_are_taken_within_a_state() {
        use State::{Alone, Mixed, Shared};
        let ours = [(0, 1.0, Alone), (1, 3.0, Shared), (2, 1.0, Alone), (3, 1.0, Alone), (4, 3.0, Mixed)];
        let theirs = [(0, 2.0, Alone), (1, 2.0, Alone), (2, 4.0, Alone), (3, 8.0, Alone), (4, 9.0, Shared)];
        let (ours, theirs) = (samples(&ours), samples(&theirs));
        assert_eq!(ratio_in(&ours, &theirs, Alone), Some(4.0));
        // No round has both in it: 9 over 3. Nothing of theirs is mixed.
        assert_eq!(ratio_in(&ours, &theirs, Shared), Some(3.0));
        assert_eq!(ratio_in(&ours, &theirs, Mixed), None);
        // One round of both, but two and three samples: 2 over 1, not 6.
        let few = samples(&[(0, 6.0, Alone), (7, 2.0, Alone), (8, 1.0, Alone)]);
        assert_eq!(ratio_in(&ours[..3], &few, Alone), Some(2.0));
        // A peer that is very slow has one sample: of the same round it is a pair.
        assert_eq!(ratio_in(&ours, &samples(&[(0, 50.0, Alone)]), Alone), Some(50.0));
        assert_eq!(seconds_in(&theirs, Shared), [9.0]);
    }

    struct Fake {
        order: std::rc::Rc<std::cell::RefCell<String>>,
        name: &'static str,
        fails_after: usize,
        milliseconds: u64,
    }

    impl Engine for Fake {
        fn name(&self) -> &str {
            self.name
        }

        fn run(&mut self, calls: usize) -> Result<Duration, Failure> {
            self.order.borrow_mut().push_str(self.name);
            self.fails_after = self.fails_after.checked_sub(1).ok_or(Failure::Child("gone".into()))?;
            Ok(Duration::from_millis(self.milliseconds) * calls as u32)
        }
    }

    #[test]
    fn engines_take_turns_and_a_failure_ends_one() {
        let order = std::rc::Rc::default();
        let fake = |name, fails_after, milliseconds| -> Box<dyn Engine> {
            Box::new(Fake { order: std::rc::Rc::clone(&order), name, fails_after, milliseconds })
        };
        let mut engines = [fake("a", 99, 100), fake("b", 3, 100), fake("c", 99, 2000)];
        let samples = interleave(&mut engines, 1, Effort { rounds: 3, sample: 0.02 });
        // Warmth, then rounds. Two seconds a call are warm at once, and all that c gets; b fails in its second round.
        assert_eq!(*order.borrow(), "aabbcababa");
        assert_eq!(samples[0].as_ref().map(Vec::len), Ok(3));
        assert_eq!(samples[1], Err(Failure::Child("gone".into())));
        assert_eq!(samples[2], Ok(vec![2.0]));
    }

    fn run_between(widths: &[f64], wait: Option<Wait>) -> (String, Vec<Samples>) {
        let order = std::rc::Rc::default();
        let fake = |name| -> Box<dyn Engine> {
            Box::new(Fake { order: std::rc::Rc::clone(&order), name, fails_after: 99, milliseconds: 100 })
        };
        let mut meter = Meter::recorded(widths.iter().map(|width| vec![*width]).collect(), 4.25);
        meter.wait = wait;
        let mut engines = [fake("a"), fake("b")];
        let samples = interleave_by_state(&mut engines, 1, Effort { rounds: 2, sample: 0.02 }, &mut meter);
        (order.borrow()[4..].to_owned(), samples)
    }

    fn states_of(samples: &Samples) -> Vec<State> {
        samples.as_ref().expect("it ran").iter().map(|sample| sample.state).collect()
    }

    #[test]
    fn samples_have_the_state_around_them() {
        // Before each engine is warmed, then around each sample.
        let (order, samples) = run_between(&[6.0, 6.0, 6.0, 6.0, 6.0, 3.0, 3.0, 3.0, 6.0, 6.0], None);
        assert_eq!(order, "abab");
        assert_eq!(states_of(&samples[0]), [State::Alone, State::Shared]);
        assert_eq!(states_of(&samples[1]), [State::Mixed, State::Alone]);
    }

    #[test]
    fn a_state_is_waited_for() {
        let wait = |seconds| Some(Wait { states: vec![State::Alone], patience: Duration::from_secs(seconds) });
        // b's first sample is mixed: it gets a third round, and a does not.
        let widths = [6.0, 6.0, 3.0, 6.0, 6.0, 6.0, 3.0, 6.0, 6.0, 3.0, 3.0, 6.0, 6.0, 6.0, 6.0];
        let (order, samples) = run_between(&widths, wait(60));
        assert_eq!(order, "ababb");
        assert_eq!(states_of(&samples[0]), [State::Alone, State::Alone]);
        assert_eq!(states_of(&samples[1]), [State::Mixed, State::Alone, State::Alone]);
        // Without patience, rounds are as many as ever.
        let (order, samples) = run_between(&[3.0; 40], wait(0));
        assert_eq!((order.as_str(), states_of(&samples[1])), ("abab", vec![State::Shared; 2]));
    }

    #[test]
    fn slow_peers_get_single_calls_and_few_rounds() {
        let order = std::rc::Rc::default();
        let fake = |name, milliseconds| -> Box<dyn Engine> {
            Box::new(Fake { order: std::rc::Rc::clone(&order), name, fails_after: 999, milliseconds })
        };
        // A gauge of ours may take as long as it likes.
        let mut engines = [fake("a", 1), fake("g", 11), fake("b", 9), fake("c", 11)];
        let samples = interleave(&mut engines, 2, Effort { rounds: 5, sample: 0.02 });
        let lengths: Vec<_> = samples.iter().map(|samples| samples.as_ref().map(Vec::len)).collect();
        assert_eq!(lengths, [Ok(5), Ok(5), Ok(5), Ok(3)]);
        assert_eq!(*order.borrow(), "aaa".to_owned() + "ggg" + "bbb" + "cc" + "agbcagbcagbcagbagb");
    }
}
