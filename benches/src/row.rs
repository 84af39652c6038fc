//! One result: a case against every engine, as one JSON object.

use crate::case::{Case, Dtype, Op, Unit};
use crate::engines::{KILN, KILN_ONE, KILN_PACKED};
use crate::gauges::MeasuredLimit;
use crate::measure::{Failure, Sample, Samples, median, ratio_in, seconds_in};
use crate::state::State;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A measured case. Figures are medians over the rounds, in `unit`; ratios are medians of the rounds' ratios, above 1
/// where Kiln is ahead. All of them are of one state of the cores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The operation.
    pub op: Op,
    /// Its sizes, as [`Case::label`] writes them.
    pub shape: String,
    /// Element type of the operands.
    pub dtype: Dtype,
    /// Instruction set that Kiln was told to use.
    pub isa: String,
    /// Threads of every engine.
    pub threads: usize,
    /// What figures count.
    pub unit: Unit,
    /// Bytes of operands that calls rotate over, of a case out of cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated: Option<usize>,
    /// The figures of the state in which Kiln had most samples.
    #[serde(flatten)]
    pub figures: Figures,
    /// Those of the other states.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub states: Vec<Figures>,
    /// Engines without a figure, and why.
    pub missing: BTreeMap<String, String>,
    /// What engines say about how they ran.
    pub notes: BTreeMap<String, String>,
    /// Samples of each engine in each state.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub samples: BTreeMap<String, BTreeMap<State, usize>>,
}

/// What was measured while the cores were in one state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// The state; unknown in rows that were recorded before states were.
    #[serde(default)]
    pub state: State,
    /// Kiln's best figure.
    pub kiln: Option<f64>,
    /// With a packed weight.
    pub kiln_packed: Option<f64>,
    /// With the weight as the checkpoint has it, or without any.
    pub kiln_unpacked: Option<f64>,
    /// The most that the machine allows.
    pub limit: f64,
    /// What sets the limit.
    pub limit_name: String,
    /// Kiln's best figure, percent of the limit; of a bandwidth, the median of the rounds' percents.
    pub percent: Option<f64>,
    /// Figures of the others.
    pub peers: BTreeMap<String, f64>,
    /// Kiln's best over the best of the others.
    pub ratio: Option<f64>,
    /// Kiln's forms over each of the others: `packed/torch`, `unpacked/flex`.
    pub ratios: BTreeMap<String, f64>,
    /// Rounds behind the median of Kiln's best.
    pub rounds: usize,
}

/// What an engine gave.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Its column.
    pub name: String,
    /// Its samples.
    pub samples: Samples,
    /// What it says about how it ran.
    pub note: Option<String>,
}

/// Where a row was measured.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// Instruction set that Kiln was told to use.
    pub isa: String,
    /// Threads of every engine.
    pub threads: usize,
    /// Bytes of operands that calls rotate over, of a case out of cache.
    pub rotated: Option<usize>,
    /// The case's limit there in each state that a sample was in.
    pub limits: BTreeMap<State, MeasuredLimit>,
}

/// Columns of Kiln's forms, and what they are called in ratios.
const FORMS: [(&str, &str); 2] = [(KILN_PACKED, "packed"), (KILN, "unpacked")];

/// Samples of Kiln's from which on a second state has a line of its own.
const LEAST_SAMPLES: usize = 3;

impl Row {
    /// Sums up what the engines gave for `case`.
    pub fn new(case: &Case, setting: Setting, outcomes: Vec<Outcome>, missing: Vec<(String, Failure)>) -> Self {
        let mut counts: BTreeMap<String, BTreeMap<State, usize>> = BTreeMap::new();
        for outcome in &outcomes {
            for sample in outcome.samples.iter().flatten() {
                *counts.entry(outcome.name.clone()).or_default().entry(sample.state).or_default() += 1;
            }
        }
        let count_ours =
            |state: &State| -> usize { FORMS.iter().filter_map(|(column, _)| counts.get(*column)?.get(state)).sum() };
        let mut states: Vec<State> = setting.limits.keys().copied().collect();
        // Figures between two states are none of either, unless there is nothing else.
        states.sort_by_key(|state| {
            let ours = count_ours(state);
            (ours == 0, *state == State::Mixed, std::cmp::Reverse(ours))
        });
        let figures = |state: &State| Figures::new(case, *state, &setting.limits[state], &outcomes);
        let mut figures: Vec<Figures> = states.iter().map(figures).collect();
        let failed = outcomes.iter().filter_map(|o| Some((o.name.clone(), o.samples.as_ref().err()?.clone())));
        let missing = missing.into_iter().chain(failed).map(|(name, why)| (name, why.to_string())).collect();
        Self {
            op: case.op,
            shape: case.label(),
            dtype: case.dtype,
            isa: setting.isa,
            threads: setting.threads,
            unit: case.unit(),
            rotated: setting.rotated,
            figures: figures.remove(0),
            states: figures,
            missing,
            notes: outcomes.iter().filter_map(|o| Some((o.name.clone(), o.note.clone()?))).collect(),
            samples: counts,
        }
    }

    /// One row for each state in which Kiln was measured, the first state first. What lies between two states, and
    /// states of one or two samples, are left out where there is something else.
    pub fn by_state(&self) -> impl Iterator<Item = Self> {
        let counts = |figures: &&Figures| figures.rounds >= LEAST_SAMPLES && figures.state != State::Mixed;
        let others = self.states.iter().filter(counts);
        std::iter::once(&self.figures).chain(others).map(|figures| Self {
            figures: figures.clone(),
            states: Vec::new(),
            ..self.clone()
        })
    }

    /// Samples of Kiln's forms in a state, and in all.
    pub fn count_samples(&self, state: State) -> [usize; 2] {
        let ours = || FORMS.iter().filter_map(|(column, _)| self.samples.get(*column));
        [ours().filter_map(|counts| counts.get(&state)).sum(), ours().flat_map(BTreeMap::values).sum()]
    }

    /// Whether this is a product measured against Kiln itself.
    pub fn is_scaling(&self) -> bool {
        self.figures.peers.contains_key(KILN_ONE)
    }
}

impl Figures {
    fn new(case: &Case, state: State, limit: &MeasuredLimit, outcomes: &[Outcome]) -> Self {
        let samples = |name: &str| {
            let outcome = outcomes.iter().find(|outcome| outcome.name == name)?;
            outcome.samples.as_deref().ok()
        };
        let middle = |samples: &[Sample]| median(&seconds_in(samples, state));
        let figure = |samples: &[Sample]| middle(samples).map(|seconds| case.figure(seconds));
        let others = || outcomes.iter().filter(|outcome| FORMS.iter().all(|(column, _)| *column != outcome.name));
        let best = |candidates: Vec<&[Sample]>| -> Option<Vec<Sample>> {
            let timed = candidates.into_iter().filter_map(|samples| Some((middle(samples)?, samples)));
            timed.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, samples)| samples.to_vec())
        };
        let forms = FORMS.map(|(column, form)| (form, samples(column)));
        let ours = best(forms.iter().filter_map(|form| form.1).collect());
        let theirs = best(others().filter_map(|outcome| outcome.samples.as_deref().ok()).collect());
        let mut ratios = BTreeMap::new();
        for (form, ours) in forms.iter().filter_map(|(form, samples)| Some((form, (*samples)?))) {
            for (outcome, theirs) in others().filter_map(|o| Some((o, o.samples.as_deref().ok()?))) {
                ratios.extend(ratio_in(ours, theirs, state).map(|ratio| (format!("{form}/{}", outcome.name), ratio)));
            }
        }
        let kiln = ours.as_deref().and_then(figure);
        let MeasuredLimit { limit, rounds } = limit;
        let percents: Vec<f64> = (ours.iter().flatten())
            .filter(|sample| sample.state == state)
            .filter_map(|sample| {
                let (_, limit) = rounds.as_ref()?.iter().find(|(round, _)| *round == sample.round)?;
                Some(100.0 * case.figure(sample.seconds) / limit)
            })
            .collect();
        Self {
            state,
            kiln,
            kiln_packed: forms[0].1.and_then(figure),
            kiln_unpacked: forms[1].1.and_then(figure),
            limit: limit.figure,
            limit_name: limit.name.clone(),
            percent: median(&percents).or(kiln.map(|kiln| 100.0 * kiln / limit.figure)),
            peers: others().filter_map(|o| Some((o.name.clone(), figure(o.samples.as_deref().ok()?)?))).collect(),
            ratio: ours.as_deref().zip(theirs.as_deref()).and_then(|(ours, theirs)| ratio_in(ours, theirs, state)),
            ratios,
            rounds: ours.map_or(0, |samples| seconds_in(&samples, state).len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Shape;
    use crate::roofline::Limit;

    fn outcome_in(name: &str, samples: &[(f64, State)]) -> Outcome {
        let sample =
            |(round, (seconds, state)): (usize, &(f64, State))| Sample { round, seconds: *seconds, state: *state };
        Outcome { name: name.into(), samples: Ok(samples.iter().enumerate().map(sample).collect()), note: None }
    }

    fn outcome(name: &str, samples: &[f64]) -> Outcome {
        outcome_in(name, &samples.iter().map(|seconds| (*seconds, State::Unknown)).collect::<Vec<_>>())
    }

    fn limit_of(figure: f64, rounds: Option<Vec<(usize, f64)>>) -> MeasuredLimit {
        MeasuredLimit { limit: Limit { figure, name: "fma".into() }, rounds }
    }

    const CASE: Case = Case { op: Op::Gemm, shape: Shape::Square { n: 1000 }, dtype: Dtype::F32, cold: false };

    fn setting(limits: &[(State, MeasuredLimit)]) -> Setting {
        Setting { isa: "avx2".into(), threads: 2, rotated: None, limits: limits.iter().cloned().collect() }
    }

    fn row() -> Row {
        row_within(None)
    }

    fn row_within(rounds: Option<Vec<(usize, f64)>>) -> Row {
        let setting = setting(&[(State::Unknown, limit_of(10.0, rounds))]);
        let mut torch = outcome("torch", &[0.5, 0.5, 0.5]);
        torch.note = Some("sgemm".into());
        let failed = Outcome { name: "flex".into(), samples: Err(Failure::Panicked("no".into())), note: None };
        let outcomes = vec![
            outcome(KILN, &[0.5, 0.5, 1.0]),
            outcome(KILN_PACKED, &[0.25, 0.25, 0.5]),
            outcome("gemm", &[1.0, 1.0, 1.0]),
            torch,
            failed,
        ];
        Row::new(&CASE, setting, outcomes, vec![("candle".into(), Failure::Unsupported("not built".into()))])
    }

    #[test]
    fn medians_and_ratios_by_hand() {
        let row = row();
        let figures = &row.figures;
        assert_eq!((figures.kiln, figures.kiln_packed, figures.kiln_unpacked), (Some(8.0), Some(8.0), Some(4.0)));
        assert_eq!(figures.percent, Some(80.0));
        assert_eq!(figures.ratio, Some(2.0));
        assert_eq!(figures.ratios["packed/gemm"], 4.0);
        assert_eq!(figures.ratios["unpacked/torch"], 1.0);
        assert_eq!(row.missing["flex"], "panicked: no");
        assert_eq!(row.missing["candle"], "not built");
        assert_eq!((figures.rounds, figures.state, row.states.len()), (3, State::Unknown, 0));
    }

    #[test]
    fn percents_of_a_bandwidth_are_taken_within_a_round() {
        // 8, 8 and 4 GFLOP/s: 80, 100 and 50 percent of what the machine did in those rounds.
        assert_eq!(row_within(Some(vec![(0, 10.0), (1, 8.0), (2, 8.0)])).figures.percent, Some(80.0));
    }

    /// Four rounds alone, three shared, one between them and one partly; torch was alone when Kiln was not, and the
    /// other way round.
    fn row_of_states() -> Row {
        use State::{Alone, Mixed, Partly, Shared};
        let ours = [1.0, 4.0, 1.0, 2.0, 4.0, 3.0, 4.0, 1.0, 9.0];
        let ours_in = [Alone, Shared, Alone, Alone, Shared, Mixed, Shared, Alone, Partly];
        let torch = [2.0, 2.0, 4.0, 12.0, 6.0, 2.0, 2.0];
        let torch_in = [Alone, Alone, Alone, Shared, Shared, Alone, Alone];
        let ours: Vec<_> = ours.into_iter().zip(ours_in).collect();
        let torch: Vec<_> = torch.into_iter().zip(torch_in).collect();
        let limits = [(Alone, limit_of(4.0, Some(vec![(0, 4.0), (3, 1.0)]))), (Shared, limit_of(2.0, None))];
        let [alone, shared] = limits;
        let limits = setting(&[alone, shared, (Mixed, limit_of(4.0, None)), (Partly, limit_of(3.0, None))]);
        Row::new(&CASE, limits, vec![outcome_in(KILN, &ours), outcome_in("torch", &torch)], Vec::new())
    }

    #[test]
    fn states_are_apart() {
        let row = row_of_states();
        let rows: Vec<Row> = row.by_state().collect();
        assert_eq!(rows.iter().map(|row| row.figures.state).collect::<Vec<_>>(), [State::Alone, State::Shared]);
        let [alone, shared] = [&rows[0].figures, &rows[1].figures];
        assert_eq!((alone.kiln, alone.peers["torch"], alone.limit, alone.rounds), (Some(2.0), 1.0, 4.0, 4));
        // Two rounds of both are too few of the four and five: medians of 1 and 2 s. Rounds 0 and 3: 50 and 100 %.
        assert_eq!((alone.ratio, alone.percent), (Some(2.0), Some(75.0)));
        assert_eq!((shared.kiln, shared.peers["torch"], shared.limit), (Some(0.5), 2.0 / 9.0, 2.0));
        assert_eq!((shared.ratio, shared.percent), (Some(9.0 / 4.0), Some(25.0)));
        assert_eq!((row.count_samples(State::Alone), row.count_samples(State::Mixed)), ([4, 9], [1, 9]));
        assert_eq!(row.states.len(), 3, "what is between, and of one sample, is kept, too");
    }

    #[test]
    fn rows_come_back_from_json() {
        let row = row_of_states();
        let json = serde_json::to_value(&row).expect("plain data");
        assert_eq!((json["state"].as_str(), json["states"][0]["state"].as_str()), (Some("alone"), Some("shared")));
        assert_eq!(json["samples"]["torch"]["alone"], 5);
        assert_eq!(serde_json::from_value::<Row>(json).expect("what was written is read"), row);
    }

    #[test]
    fn the_json_has_every_field() {
        let json = serde_json::to_value(row()).expect("plain data");
        for field in ["op", "shape", "dtype", "isa", "threads", "unit", "kiln", "limit", "peers", "ratio"] {
            assert!(!json[field].is_null(), "{field}");
        }
        assert_eq!(json["op"], "gemm");
        assert_eq!(json["unit"], "GFLOP/s");
        assert_eq!(json["peers"]["torch"], 4.0);
        assert_eq!(json["notes"]["torch"], "sgemm");
        let back: Row = serde_json::from_value(json).expect("what was written is read");
        assert_eq!(back, row());
    }
}
