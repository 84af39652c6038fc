//! Timing: engines take turns (A B A B), and medians over the rounds are what counts.

use std::time::Duration;

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

/// Seconds a call of one engine, one for each round; or why there are none.
pub type Samples = Result<Vec<f64>, Failure>;

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

/// Warms every engine up, then lets them take turns. Those from `peers` on are compared to the first one: one that is
/// very slow leaves after fewer rounds.
pub fn interleave(engines: &mut [Box<dyn Engine + '_>], peers: usize, effort: Effort) -> Vec<Samples> {
    let mut parts: Vec<Result<Part, Failure>> = Vec::with_capacity(engines.len());
    for (i, engine) in engines.iter_mut().enumerate() {
        let first = parts.first().and_then(|part| part.as_ref().ok()).map(|part| part.seconds);
        parts.push(effort.warm(engine.as_mut(), first.filter(|_| i >= peers)));
    }
    let mut samples: Vec<Samples> =
        parts.iter().map(|part| part.clone().map(|part| part.only.into_iter().collect())).collect();
    for round in 0..effort.rounds {
        for ((engine, part), samples) in engines.iter_mut().zip(&parts).zip(&mut samples) {
            let (Ok(part), Ok(times)) = (part, &mut *samples) else { continue };
            if round >= part.rounds {
                continue;
            }
            match engine.run(part.calls) {
                Ok(time) => times.push(time.as_secs_f64() / part.calls as f64),
                Err(failure) => *samples = Err(failure),
            }
        }
    }
    samples
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
