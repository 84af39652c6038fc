//! Where a run is.

use serde::{Deserialize, Serialize};

/// What a checkpoint says beside weights and moments. There is no generator of random numbers in it: the order of an
/// epoch follows from the seed and the epoch's number, what dropout drops from the seed and the pass's.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunState {
    /// Steps of the optimiser that are done.
    pub step: u64,
    /// Passes over the data that are done.
    pub epoch: u64,
    /// Batches of the epoch under way that are done.
    pub batch: usize,
    /// Forward passes that are done, of training alone.
    pub passes: u64,
    /// Tokens that were trained on.
    pub tokens: u64,
    /// The best evaluation so far.
    pub best: Option<Best>,
    /// Evaluations since the best one.
    pub evaluations_since: usize,
    /// Whether the run has ended, by its steps or early.
    pub ended: bool,
}

/// An evaluation that none before it was as good as.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Best {
    /// The step behind which it was made.
    pub step: u64,
    /// Mean cross entropy, nats a token.
    #[serde(with = "exact")]
    pub loss: f64,
}

/// A number as text: `serde_json` reads one with 17 digits to a last bit more or less.
mod exact {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl RunState {
    /// Takes note of an evaluation behind the step; tells whether it is the best.
    pub(super) fn evaluate(&mut self, loss: f64) -> bool {
        let best = loss.is_finite() && self.best.is_none_or(|best| loss < best.loss);
        if best {
            self.best = Some(Best { step: self.step, loss });
            self.evaluations_since = 0;
        } else {
            self.evaluations_since += 1;
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_evaluation_is_known() {
        let mut state = RunState { step: 3, ..Default::default() };
        assert!(!state.clone().evaluate(f64::NAN), "no number is no best");
        assert!(state.evaluate(2.0) && !state.evaluate(2.0) && !state.evaluate(f64::NAN));
        assert_eq!((state.best, state.evaluations_since), (Some(Best { step: 3, loss: 2.0 }), 2));
        assert!(state.evaluate(1.5));
        assert_eq!(state.evaluations_since, 0);
        // A number goes through JSON as it is.
        for bits in (0..1000).map(|i| 0x3ff5_5555_5555_0000 + 77 * i) {
            let state = RunState { best: Some(Best { step: 9, loss: f64::from_bits(bits) }), ..state };
            assert_eq!(serde_json::from_str::<RunState>(&serde_json::to_string(&state).unwrap()).unwrap(), state);
        }
    }
}
