//! What the figures have to show: goals, and whether the rows of a run reach them.

mod goals;

use crate::measure::median;
use crate::row::Row;
use crate::state::State;
use crate::table::layout;
use goals::{GOALS, Goal};
use std::collections::BTreeSet;

/// A goal and what a run showed.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Which kernel.
    pub kernel: &'static str,
    /// Against what.
    pub against: &'static str,
    /// At least this.
    pub wanted: f64,
    /// Threads of the rows.
    pub threads: usize,
    /// State of the cores in the rows.
    pub state: State,
    /// Median of the rows, and the lowest of them with its shape; `None` where no row has the figure.
    pub reached: Option<(f64, f64, String)>,
    /// Rows that have the figure.
    pub rows: usize,
    /// Those of them that reach it.
    pub reaching: usize,
}

/// How a goal stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Every row reaches it.
    Reached,
    /// The median of the rows does.
    MedianOnly,
    /// Not even the median.
    FallsShort,
    /// No row has the figure.
    NotMeasured,
}

impl Verdict {
    /// How the goal stands.
    pub fn standing(&self) -> Standing {
        match &self.reached {
            None => Standing::NotMeasured,
            Some((_, lowest, _)) if reaches(*lowest, self.wanted) => Standing::Reached,
            Some((median, _, _)) if reaches(*median, self.wanted) => Standing::MedianOnly,
            Some(_) => Standing::FallsShort,
        }
    }
}

/// Figures are written with two digits: what is written as reached is reached.
fn reaches(figure: f64, wanted: f64) -> bool {
    figure >= wanted - 0.005
}

/// Every goal that the rows can say something about, for each number of threads and each state of the cores among them.
pub fn judge(rows: &[Row]) -> Vec<Verdict> {
    let rows: Vec<Row> = rows.iter().flat_map(Row::by_state).collect();
    let mut settings: Vec<(usize, State)> = rows.iter().map(|row| (row.threads, row.figures.state)).collect();
    settings.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    settings.dedup();
    let judge_goal = |goal: &Goal, (threads, state): (usize, State)| {
        if !goal.state.holds(state) {
            return None;
        }
        let is_meant = |row: &&Row| row.threads == threads && row.figures.state == state && (goal.concerns)(row);
        let rows: Vec<&Row> = rows.iter().filter(is_meant).collect();
        let figures: Vec<(f64, &Row)> = rows.iter().filter_map(|row| Some(((goal.figure)(row)?, *row))).collect();
        let middle = median(&figures.iter().map(|(figure, _)| *figure).collect::<Vec<_>>());
        let lowest = figures.iter().min_by(|a, b| a.0.total_cmp(&b.0));
        (!rows.is_empty()).then(|| Verdict {
            kernel: goal.kernel,
            against: goal.against,
            wanted: goal.wanted,
            threads,
            state,
            reached: middle
                .zip(lowest)
                .map(|(middle, (low, row))| (middle, *low, format!("{} {} {}", row.op, row.dtype, row.shape))),
            rows: figures.len(),
            reaching: figures.iter().filter(|(figure, _)| reaches(*figure, goal.wanted)).count(),
        })
    };
    GOALS.iter().flat_map(|goal| settings.iter().filter_map(move |&setting| judge_goal(goal, setting))).collect()
}

/// The verdicts as a Markdown table.
pub fn render(verdicts: &[Verdict]) -> String {
    let states: BTreeSet<State> = verdicts.iter().map(|verdict| verdict.state).collect();
    let state = (states.len() > 1).then_some("state");
    let header = ["kernel", "against", "threads"].into_iter().chain(state);
    let header = header.chain(["wanted", "median", "", "rows", "lowest row"]).map(String::from).collect();
    let lines = verdicts.iter().map(|verdict| {
        let word = match verdict.standing() {
            Standing::Reached => "reached",
            Standing::MedianOnly => "by the median",
            Standing::FallsShort => "falls short",
            Standing::NotMeasured => "not measured",
        };
        let (reached, lowest) = match &verdict.reached {
            Some((middle, low, shape)) => (format!("{middle:.2}"), format!("{low:.2} {shape}")),
            None => ("-".into(), "-".into()),
        };
        let mut line = vec![verdict.kernel.into(), verdict.against.into(), verdict.threads.to_string()];
        line.extend(state.map(|_| verdict.state.to_string()));
        line.extend([format!("{:.2}", verdict.wanted), reached, word.into()]);
        line.extend([format!("{} of {}", verdict.reaching, verdict.rows), lowest]);
        line
    });
    layout(&std::iter::once(header).chain(lines).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Dtype, Op, Unit};
    use crate::row::Figures;
    use std::collections::BTreeMap;

    fn row(op: Op, shape: &str, isa: &str, ratios: &[(&str, f64)]) -> Row {
        Row {
            op,
            shape: shape.into(),
            dtype: Dtype::F32,
            isa: isa.into(),
            threads: 2,
            unit: Unit::Gflops,
            rotated: None,
            figures: Figures {
                state: State::Unknown,
                kiln: Some(90.0),
                kiln_packed: Some(90.0),
                kiln_unpacked: None,
                limit: 100.0,
                limit_name: "fma".into(),
                percent: Some(90.0),
                peers: BTreeMap::new(),
                ratio: None,
                ratios: ratios.iter().map(|(name, ratio)| (name.to_string(), *ratio)).collect(),
                rounds: 5,
            },
            states: Vec::new(),
            missing: BTreeMap::new(),
            notes: BTreeMap::new(),
            samples: BTreeMap::new(),
        }
    }

    fn find(rows: &[Row], kernel: &str) -> Verdict {
        judge(rows).into_iter().find(|verdict| verdict.kernel == kernel).expect("the goal concerns these rows")
    }

    #[test]
    fn the_median_of_the_rows_counts() {
        let shapes = ["m128 n2048 k2048 cold", "m512 n2048 k2048", "m2048 n2048 k2048"];
        let ratios = [1.5, 0.9, 1.1];
        let rows: Vec<_> = (shapes.iter().zip(ratios))
            .map(|(shape, ratio)| row(Op::Gemm, shape, "avx512", &[("packed/torch", ratio)]))
            .collect();
        let verdict = find(&rows, "f32 GEMM, M >= 128, AVX-512, packed");
        assert_eq!((verdict.standing(), verdict.reaching, verdict.rows), (Standing::MedianOnly, 2, 3));
        assert_eq!(verdict.reached, Some((1.1, 0.9, "gemm f32 m512 n2048 k2048".into())));
        assert_eq!(find(&rows, "f32 GEMM, M = 512, AVX-512").rows, 1);
        // The packed form was compared; the other was not measured.
        assert_eq!(find(&rows, "f32 GEMM, M >= 128, AVX-512, unpacked").standing(), Standing::NotMeasured);
    }

    #[test]
    fn states_are_judged_apart() {
        let mut row = row(Op::Gemm, "m512 n2048 k2048", "amx", &[("packed/torch", 2.1)]);
        row.dtype = Dtype::Bf16;
        row.figures.state = State::Alone;
        let mut shared = row.figures.clone();
        (shared.state, shared.percent) = (State::Shared, Some(20.0));
        shared.ratios.insert("packed/torch".into(), 1.5);
        row.states.push(shared);
        let verdicts = judge(&[row]);
        let of = |state, against: &str| {
            let mut found = verdicts.iter().filter(|verdict| verdict.state == state && verdict.against == against);
            found.next().map(|verdict| (verdict.wanted, verdict.standing()))
        };
        let best = "PyTorch, the better of plain and prepacked";
        assert_eq!(of(State::Alone, best), Some((2.0, Standing::Reached)));
        assert_eq!(of(State::Shared, best), Some((1.4, Standing::Reached)));
        // The peak is wanted of whole cores only.
        assert_eq!(of(State::Alone, "AMX peak"), Some((0.5, Standing::Reached)));
        assert_eq!(of(State::Shared, "AMX peak"), None);
        let text = render(&verdicts);
        assert!(text.lines().next().is_some_and(|header| header.contains("| state")), "{text}");
    }

    #[test]
    fn the_better_of_the_peers_counts() {
        let peers = [("packed/torch", 1.3), ("packed/gemm", 0.8), ("packed/torch mkl packed", 1.1)];
        let rows = [row(Op::Gemm, "m512 n2048 k2048", "avx2", &peers)];
        let verdict = find(&rows, "f32 GEMM held to AVX2, packed");
        assert_eq!(verdict.standing(), Standing::FallsShort);
        assert_eq!(verdict.reached.map(|reached| reached.0), Some(0.8));
        assert!(!judge(&rows).iter().any(|verdict| verdict.kernel.contains("AVX-512")));
    }

    #[test]
    fn shapes_are_read() {
        let decode = row(Op::Decode, "h16/8 q1 k4096 d128 cold", "avx2", &[("unpacked/torch", 2.0)]);
        assert_eq!(find(&[decode], "attention decode, 4096 cached").standing(), Standing::Reached);
        let short = row(Op::Attention, "h16/8 q128 k128 d128", "avx2", &[("unpacked/torch", 2.0)]);
        assert!(!judge(&[short]).iter().any(|verdict| verdict.kernel.contains("prefill")));
        let square = row(Op::Gemm, "square 512", "avx2", &[("packed/torch", 2.0)]);
        assert!(!judge(&[square]).iter().any(|verdict| verdict.kernel.contains("held")));
    }
}
