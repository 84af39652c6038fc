//! One result, and the table of all.

use super::case::{Case, Dtype, Op};
use crate::case::Unit;
use crate::measure::{Failure, Times, median, median_ratio};
use crate::table::{describe_reasons, layout, write_figure};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// How a recorded file begins.
pub const HEADER: &str = "\
# CubeCL kernels on cards

Figures are medians in the row's unit; ratios are Kiln's over another engine's, medians of the rounds' ratios, above 1 where Kiln is ahead. Burn is the
composition of plain ops on the same `CubeBackend`, in the operands' type; PyTorch runs on the same card as it is by default (f32
products without TF32), and times itself by CUDA's events.
Operands rotate over 256 MB. The limit is the longer of the bytes at the measured bandwidth (reading, or copying where as much is written) and the
FLOP at the measured rate of f32 multiply-adds: Kiln computes in f32, outside of tensor cores, as Pascal has none. A time with a star is less than
twice what a launch takes of the host: there the host is measured.

    CUDARC_CUDA_VERSION=12080 cargo build --release -p kiln-benches --features cuda --bin gpu
    target/release/gpu --record FILE
";

/// What an engine gave.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Its column.
    pub name: String,
    /// Seconds a call, one for each round.
    pub samples: Times,
    /// What it says about how it ran.
    pub note: Option<String>,
}

/// What a row is held against.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Reading, GB/s.
    pub read: f64,
    /// Copying, GB/s.
    pub copy: f64,
    /// GFLOP/s.
    pub fma: f64,
    /// Seconds of a launch.
    pub launch: f64,
}

/// A measured case.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The operation.
    pub op: Op,
    /// Its sizes, as [`Case::label`] writes them.
    pub shape: String,
    /// Element type of the operands.
    pub dtype: Dtype,
    /// What figures count.
    pub unit: Unit,
    /// Figures of the engines.
    pub figures: BTreeMap<String, f64>,
    /// Kiln's time of a call, seconds.
    pub seconds: Option<f64>,
    /// Whether that is less than twice what a launch takes of the host.
    pub host_bound: bool,
    /// The most that the card allows.
    pub limit: f64,
    /// What sets the limit.
    pub limit_name: &'static str,
    /// Kiln's figure, percent of the limit.
    pub percent: Option<f64>,
    /// How much faster Kiln is than each of the others.
    pub ratios: BTreeMap<String, f64>,
    /// Engines without a figure, and why.
    pub missing: BTreeMap<String, String>,
    /// What engines say about how they ran.
    pub notes: BTreeMap<String, String>,
    /// Rounds behind Kiln's median.
    pub rounds: usize,
}

impl Row {
    /// Sums up what the engines gave; Kiln's outcome is the first.
    pub fn new(case: &Case, limits: Limits, outcomes: Vec<Outcome>, missing: Vec<(String, Failure)>) -> Self {
        let measured = || outcomes.iter().filter_map(|o| Some((o.name.clone(), o.samples.as_deref().ok()?)));
        let ours = measured().find(|(name, _)| name == "kiln").map(|(_, times)| times);
        let seconds = ours.and_then(median);
        let (bandwidth, name) = if case.is_copy() { (limits.copy, "copy") } else { (limits.read, "read") };
        let (moving, computing) = (case.bytes() / bandwidth, case.flop() / limits.fma);
        let limit_name = if computing > moving { "fma" } else { name };
        let limit = case.figure(moving.max(computing) / 1e9);
        let failed = outcomes.iter().filter_map(|o| Some((o.name.clone(), o.samples.as_ref().err()?.clone())));
        let ratio = |(name, theirs): (String, &[f64])| Some((name, median_ratio(ours?, theirs)?));
        Self {
            op: case.op,
            shape: case.label(),
            dtype: case.dtype,
            unit: case.unit(),
            figures: measured().filter_map(|(name, times)| Some((name, case.figure(median(times)?)))).collect(),
            seconds,
            host_bound: seconds.is_some_and(|seconds| seconds < 2.0 * limits.launch),
            limit,
            limit_name,
            percent: seconds.map(|seconds| 100.0 * case.figure(seconds) / limit),
            ratios: measured().filter(|(name, _)| name != "kiln").filter_map(ratio).collect(),
            rounds: ours.map_or(0, <[f64]>::len),
            missing: missing.into_iter().chain(failed).map(|(name, why)| (name, why.to_string())).collect(),
            notes: outcomes.iter().filter_map(|o| Some((o.name.clone(), o.note.clone()?))).collect(),
        }
    }
}

/// Facts, table, and who is missing.
pub fn render(facts: &[String], rows: &[Row]) -> String {
    let engines: BTreeSet<&str> =
        rows.iter().flat_map(|row| row.figures.keys().chain(row.missing.keys())).map(String::as_str).collect();
    let others: Vec<&str> = engines.into_iter().filter(|name| *name != "kiln").collect();
    let mut header: Vec<String> = ["op", "shape", "dtype", "unit", "limit", "kiln", "µs"].map(String::from).into();
    header.extend(others.iter().map(|name| name.to_string()));
    header.push("% of limit".into());
    header.extend(others.iter().map(|name| format!("over {name}")));
    let mut lines = vec![header];
    for row in rows {
        let star = if row.host_bound { "*" } else { "" };
        let mut line = vec![
            row.op.to_string(),
            row.shape.clone(),
            row.dtype.to_string(),
            row.unit.to_string(),
            format!("{} ({})", write_figure(Some(row.limit)), row.limit_name),
            write_figure(row.figures.get("kiln").copied()),
            format!("{}{star}", write_figure(row.seconds.map(|seconds| 1e6 * seconds))),
        ];
        line.extend(others.iter().map(|&name| write_figure(row.figures.get(name).copied())));
        line.push(row.percent.map_or("-".into(), |percent| format!("{percent:.0}")));
        line.extend(others.iter().map(|&name| write_figure(row.ratios.get(name).copied())));
        lines.push(line);
    }
    let facts: String = facts.iter().map(|fact| format!("- {fact}\n")).collect();
    let missing = describe_reasons(rows.iter().flat_map(|row| &row.missing));
    let unserved = rows.iter().filter_map(|row| Some((row, row.notes.get("kiln")?)));
    let unserved = unserved.filter(|(_, note)| note.starts_with("a composition"));
    let unserved: String =
        unserved.map(|(row, note)| format!("- {} {} {}: {note}\n", row.op, row.shape, row.dtype)).collect();
    format!("{facts}\n{}\n{missing}{unserved}", layout(&lines))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Shape;

    const LIMITS: Limits = Limits { read: 100.0, copy: 50.0, fma: 1000.0, launch: 1e-6 };

    fn row(op: Op, shape: Shape, seconds: f64) -> Row {
        let case = Case { op, shape, dtype: Dtype::F32 };
        let outcome =
            |name: &str, seconds: f64| Outcome { name: name.into(), samples: Ok(vec![seconds; 3]), note: None };
        let outcomes = vec![outcome("kiln", seconds), outcome("burn", 3.0 * seconds)];
        Row::new(&case, LIMITS, outcomes, vec![("torch".into(), Failure::Child("no CUDA".into()))])
    }

    #[test]
    fn limits_by_hand() {
        // 4 MB read and 4 MB written at 50 GB/s are 160 µs.
        let norm = row(Op::RmsNorm, Shape::Rows { rows: 1000, d: 1000 }, 320e-6);
        assert_eq!((norm.limit.round(), norm.limit_name, norm.percent.map(f64::round)), (50.0, "copy", Some(50.0)));
        assert_eq!(norm.ratios["burn"].round(), 3.0);
        // One row of 4 MB of weights at 100 GB/s, and 1,000 rows at 1,000 GFLOP/s.
        let linear = |m| row(Op::Linear, Shape::Linear { m, n: 1000, k: 1000 }, 1e-6);
        assert_eq!((linear(1).limit.round(), linear(1).limit_name), (100.0, "read"));
        assert_eq!((linear(1000).limit.round(), linear(1000).limit_name), (1000.0, "fma"));
        assert!(linear(1).host_bound && !norm.host_bound);
    }

    #[test]
    fn a_table_says_who_is_missing() {
        let text = render(&["a card".into()], &[row(Op::Silu, Shape::Rows { rows: 8, d: 8 }, 1e-3)]);
        for part in ["- a card", "| silu", "over burn", "no figure of torch in 1 rows: no CUDA"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
