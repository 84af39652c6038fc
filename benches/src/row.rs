//! One result: a case against every engine, as one JSON object.

use crate::case::{Case, Dtype, Op, Unit};
use crate::engines::{KILN, KILN_ONE, KILN_PACKED};
use crate::gauges::MeasuredLimit;
use crate::measure::{Failure, Samples, median, median_ratio};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A measured case. Figures are medians over the rounds, in `unit`; ratios are medians of the rounds' ratios, above 1
/// where Kiln is ahead.
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
    /// Engines without a figure, and why.
    pub missing: BTreeMap<String, String>,
    /// What engines say about how they ran.
    pub notes: BTreeMap<String, String>,
    /// Rounds behind each median.
    pub rounds: usize,
}

/// What an engine gave.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Its column.
    pub name: String,
    /// Seconds a call, one for each round.
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
    /// The case's limit there.
    pub limit: MeasuredLimit,
}

impl Row {
    /// Sums up what the engines gave for `case`.
    pub fn new(case: &Case, setting: Setting, outcomes: Vec<Outcome>, missing: Vec<(String, Failure)>) -> Self {
        let times = |name: &str| {
            let outcome = outcomes.iter().find(|outcome| outcome.name == name)?;
            outcome.samples.as_deref().ok()
        };
        let figure = |times: &[f64]| median(times).map(|seconds| case.figure(seconds));
        let forms = [("packed", times(KILN_PACKED)), ("unpacked", times(KILN))];
        let others = || outcomes.iter().filter(|outcome| ![KILN, KILN_PACKED].contains(&outcome.name.as_str()));
        let best = |candidates: Vec<&[f64]>| {
            candidates
                .into_iter()
                .min_by(|a: &&[f64], b: &&[f64]| {
                    median(a).unwrap_or(f64::MAX).total_cmp(&median(b).unwrap_or(f64::MAX))
                })
                .map(<[f64]>::to_vec)
        };

        let ours = best(forms.iter().filter_map(|form| form.1).collect());
        let theirs = best(others().filter_map(|outcome| outcome.samples.as_deref().ok()).collect());
        let ratio = ours.as_deref().zip(theirs.as_deref()).and_then(|(ours, theirs)| median_ratio(ours, theirs));
        let mut ratios = BTreeMap::new();
        for (form, ours) in forms.iter().filter_map(|(form, times)| Some((form, (*times)?))) {
            for (outcome, theirs) in others().filter_map(|o| Some((o, o.samples.as_deref().ok()?))) {
                ratios.extend(median_ratio(ours, theirs).map(|ratio| (format!("{form}/{}", outcome.name), ratio)));
            }
        }
        let failed = outcomes.iter().filter_map(|o| Some((o.name.clone(), o.samples.as_ref().err()?.clone())));
        let missing = missing.into_iter().chain(failed).map(|(name, why)| (name, why.to_string())).collect();
        let kiln = ours.as_deref().and_then(figure);
        let MeasuredLimit { limit, rounds } = setting.limit;
        let percent = match (&rounds, &ours) {
            (Some(limits), Some(ours)) => {
                let percents = ours.iter().zip(limits).map(|(seconds, limit)| 100.0 * case.figure(*seconds) / limit);
                median(&percents.collect::<Vec<_>>())
            }
            _ => kiln.map(|kiln| 100.0 * kiln / limit.figure),
        };
        Self {
            op: case.op,
            shape: case.label(),
            dtype: case.dtype,
            isa: setting.isa,
            threads: setting.threads,
            unit: case.unit(),
            kiln,
            kiln_packed: forms[0].1.and_then(figure),
            kiln_unpacked: forms[1].1.and_then(figure),
            limit: limit.figure,
            limit_name: limit.name,
            percent,
            peers: others().filter_map(|o| Some((o.name.clone(), figure(o.samples.as_deref().ok()?)?))).collect(),
            ratio,
            ratios,
            missing,
            notes: outcomes.iter().filter_map(|o| Some((o.name.clone(), o.note.clone()?))).collect(),
            rounds: ours.map_or(0, |times| times.len()),
        }
    }

    /// Whether this is a product measured against Kiln itself.
    pub fn is_scaling(&self) -> bool {
        self.peers.contains_key(KILN_ONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Shape;
    use crate::roofline::Limit;

    fn outcome(name: &str, samples: &[f64]) -> Outcome {
        Outcome { name: name.into(), samples: Ok(samples.into()), note: None }
    }

    fn row() -> Row {
        row_within(None)
    }

    fn row_within(rounds: Option<Vec<f64>>) -> Row {
        let case = Case { op: Op::Gemm, shape: Shape::Square { n: 1000 }, dtype: Dtype::F32, cold: false };
        let limit = MeasuredLimit { limit: Limit { figure: 10.0, name: "fma".into() }, rounds };
        let setting = Setting { isa: "avx2".into(), threads: 2, limit };
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
        Row::new(&case, setting, outcomes, vec![("candle".into(), Failure::Unsupported("not built".into()))])
    }

    #[test]
    fn medians_and_ratios_by_hand() {
        let row = row();
        assert_eq!((row.kiln, row.kiln_packed, row.kiln_unpacked), (Some(8.0), Some(8.0), Some(4.0)));
        assert_eq!(row.percent, Some(80.0));
        assert_eq!(row.ratio, Some(2.0));
        assert_eq!(row.ratios["packed/gemm"], 4.0);
        assert_eq!(row.ratios["unpacked/torch"], 1.0);
        assert_eq!(row.missing["flex"], "panicked: no");
        assert_eq!(row.missing["candle"], "not built");
        assert_eq!(row.rounds, 3);
    }

    #[test]
    fn percents_of_a_bandwidth_are_taken_within_a_round() {
        // 8, 8 and 4 GFLOP/s: 80, 100 and 50 percent of what the machine did in those rounds.
        assert_eq!(row_within(Some(vec![10.0, 8.0, 8.0])).percent, Some(80.0));
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
