//! What the figures have to show: goals, and whether the rows of a run reach them.

use crate::case::{Dtype, Op};
use crate::measure::median;
use crate::row::Row;
use crate::table::layout;

/// One goal: of the rows that it concerns, the median of a figure has to be at least so much.
struct Goal {
    kernel: &'static str,
    against: &'static str,
    wanted: f64,
    /// Whether a row counts.
    concerns: fn(&Row) -> bool,
    /// The row's figure; `None` where the peer is missing.
    figure: fn(&Row) -> Option<f64>,
}

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
    /// Median of the rows, and the lowest of them with its shape; `None` where no row has the figure.
    pub reached: Option<(f64, f64, String)>,
    /// Rows that have the figure.
    pub rows: usize,
}

impl Verdict {
    /// Whether the median reaches what is wanted; `None` where nothing was measured.
    pub fn passes(&self) -> Option<bool> {
        // Ratios are written with two digits: what is written as reached is reached.
        self.reached.as_ref().map(|(median, _, _)| *median >= self.wanted - 0.005)
    }
}

/// Rows of a linear layer in the models' shapes with `m` at least so much.
fn is_linear(row: &Row, at_least: usize) -> bool {
    row.op == Op::Gemm && rows_of(row).is_some_and(|m| m >= at_least)
}

/// `m` of a linear layer.
fn rows_of(row: &Row) -> Option<usize> {
    row.shape.split_whitespace().find_map(|word| word.strip_prefix('m'))?.parse().ok()
}

/// Keys of attention.
fn keys_of(row: &Row) -> usize {
    row.shape.split_whitespace().find_map(|word| word.strip_prefix('k')?.parse().ok()).unwrap_or(0)
}

fn is_wide(row: &Row) -> bool {
    !["portable", "avx2"].contains(&row.isa.as_str())
}

fn is_cold(row: &Row) -> bool {
    row.shape.ends_with("cold")
}

/// The ratio over `peer`, of the given form or the better of both.
fn over(row: &Row, form: &str, peer: &str) -> Option<f64> {
    row.ratios.get(&format!("{form}/{peer}")).copied()
}

fn best_over(row: &Row, peer: &str) -> Option<f64> {
    let forms = [over(row, "packed", peer), over(row, "unpacked", peer)];
    forms.into_iter().flatten().max_by(f64::total_cmp)
}

/// The lowest of the ratios over `peers`: over the best of them.
fn over_all(row: &Row, form: &str, peers: &[&str]) -> Option<f64> {
    peers.iter().filter_map(|peer| over(row, form, peer)).min_by(f64::total_cmp)
}

const MKL: [&str; 2] = ["torch", "torch mkl packed"];
const F32_AVX2: [&str; 3] = ["torch", "torch mkl packed", "gemm"];

fn is_f32(row: &Row) -> bool {
    row.dtype == Dtype::F32
}

fn is_norm(row: &Row) -> bool {
    matches!(row.op, Op::Softmax | Op::LayerNorm | Op::RmsNorm | Op::AddNorm)
}

fn is_activation(row: &Row) -> bool {
    matches!(row.op, Op::Gelu | Op::GeluTanh | Op::Silu | Op::SiluMul)
}

fn fraction(row: &Row) -> Option<f64> {
    row.percent.map(|percent| percent / 100.0)
}

/// Whether a row has at least 1 K elements of output: all but none of them have.
fn is_prefill(row: &Row) -> bool {
    let keys = keys_of(row);
    match row.op {
        Op::Attention => (512..=4096).contains(&keys),
        Op::Vision => true,
        _ => false,
    }
}

const GOALS: &[Goal] = &[
    Goal {
        kernel: "f32 GEMM, M >= 128, AVX-512, packed",
        against: "MKL",
        wanted: 1.0,
        concerns: |row| is_linear(row, 128) && is_f32(row) && is_wide(row),
        figure: |row| over_all(row, "packed", &MKL),
    },
    Goal {
        kernel: "f32 GEMM, M >= 128, AVX-512, unpacked",
        against: "MKL",
        wanted: 0.93,
        concerns: |row| is_linear(row, 128) && is_f32(row) && is_wide(row),
        figure: |row| over(row, "unpacked", "torch"),
    },
    Goal {
        kernel: "f32 GEMM, M = 512, AVX-512",
        against: "FMA peak",
        wanted: 0.90,
        concerns: |row| rows_of(row) == Some(512) && row.op == Op::Gemm && is_f32(row) && is_wide(row),
        figure: fraction,
    },
    Goal {
        kernel: "f32 GEMM held to AVX2, packed",
        against: "MKL, gemm crate",
        wanted: 1.0,
        concerns: |row| is_linear(row, 128) && is_f32(row) && row.isa == "avx2",
        figure: |row| over_all(row, "packed", &F32_AVX2),
    },
    Goal {
        kernel: "f32 GEMM held to AVX2, unpacked",
        against: "MKL, gemm crate",
        wanted: 0.93,
        concerns: |row| is_linear(row, 128) && is_f32(row) && row.isa == "avx2",
        figure: |row| over_all(row, "unpacked", &["torch", "gemm"]),
    },
    Goal {
        kernel: "bf16 GEMM on AMX, M >= 512",
        against: "PyTorch bf16",
        wanted: 2.0,
        concerns: |row| is_linear(row, 512) && !is_f32(row) && row.isa == "amx",
        figure: |row| best_over(row, "torch"),
    },
    Goal {
        kernel: "bf16 GEMM on AMX, M >= 512",
        against: "PyTorch bf16 prepacked",
        wanted: 1.5,
        concerns: |row| is_linear(row, 512) && !is_f32(row) && row.isa == "amx",
        figure: |row| over(row, "packed", "torch prepacked"),
    },
    Goal {
        kernel: "bf16 GEMM on AMX, M = 128",
        against: "its roofline",
        wanted: 0.80,
        concerns: |row| rows_of(row) == Some(128) && row.op == Op::Gemm && !is_f32(row) && row.isa == "amx",
        figure: fraction,
    },
    Goal {
        kernel: "bf16-weight GEMM held to AVX2",
        against: "PyTorch bf16 and f32",
        wanted: 1.0,
        concerns: |row| is_linear(row, 128) && !is_f32(row) && row.isa == "avx2",
        figure: |row| over_all(row, "packed", &["torch", "torch prepacked", "torch f32"]),
    },
    Goal {
        kernel: "GEMV out of cache",
        against: "read bandwidth",
        wanted: 0.92,
        concerns: |row| row.op == Op::Gemv,
        figure: fraction,
    },
    Goal {
        kernel: "GEMV out of cache, f32",
        against: "PyTorch",
        wanted: 1.0,
        concerns: |row| row.op == Op::Gemv && is_f32(row),
        figure: |row| over_all(row, "packed", &["torch", "torch prepacked", "torch mkl packed"]),
    },
    Goal {
        kernel: "GEMV out of cache, bf16",
        against: "PyTorch",
        wanted: 1.15,
        concerns: |row| row.op == Op::Gemv && !is_f32(row),
        figure: |row| over_all(row, "packed", &["torch", "torch prepacked"]),
    },
    Goal {
        kernel: "attention prefill and vision, f32",
        against: "PyTorch SDPA",
        wanted: 1.2,
        concerns: |row| is_prefill(row) && is_f32(row),
        figure: |row| best_over(row, "torch"),
    },
    Goal {
        kernel: "attention prefill and vision, bf16",
        against: "PyTorch SDPA",
        wanted: 1.2,
        concerns: |row| is_prefill(row) && !is_f32(row),
        figure: |row| best_over(row, "torch"),
    },
    Goal {
        kernel: "attention decode, 4096 cached",
        against: "PyTorch SDPA",
        wanted: 1.5,
        concerns: |row| row.op == Op::Decode && keys_of(row) == 4096,
        figure: |row| best_over(row, "torch"),
    },
    Goal {
        kernel: "softmax, norms in cache",
        against: "PyTorch eager",
        wanted: 1.3,
        concerns: |row| is_norm(row) && !is_cold(row),
        figure: |row| best_over(row, "torch"),
    },
    Goal {
        kernel: "softmax, norms out of cache",
        against: "copy bandwidth",
        wanted: 0.92,
        concerns: |row| is_norm(row) && is_cold(row),
        figure: fraction,
    },
    Goal {
        kernel: "GELU, SiLU in cache",
        against: "PyTorch eager",
        wanted: 1.3,
        concerns: |row| is_activation(row) && !is_cold(row),
        figure: |row| best_over(row, "torch"),
    },
    Goal {
        kernel: "GELU, SiLU out of cache",
        against: "copy bandwidth",
        wanted: 0.92,
        concerns: |row| is_activation(row) && is_cold(row),
        figure: fraction,
    },
    Goal {
        kernel: "add, mul",
        against: "PyTorch eager",
        wanted: 1.0,
        concerns: |row| matches!(row.op, Op::Add | Op::Mul),
        figure: |row| best_over(row, "torch"),
    },
    Goal {
        kernel: "everything, median of rows",
        against: "plain Flex",
        wanted: 0.95,
        concerns: |row| row.op != Op::Scaling,
        figure: |row| best_over(row, "flex"),
    },
    Goal {
        kernel: "GEMM M = 512, all threads",
        against: "1 thread (of 2: 1.85)",
        wanted: 1.85,
        concerns: |row| row.op == Op::Scaling && row.threads > 1,
        figure: |row| over(row, "packed", crate::engines::KILN_ONE),
    },
];

/// Every goal that the rows can say something about, for each number of threads among them.
pub fn judge(rows: &[Row]) -> Vec<Verdict> {
    let mut threads: Vec<usize> = rows.iter().map(|row| row.threads).collect();
    threads.sort_unstable_by(|a, b| b.cmp(a));
    threads.dedup();
    let judge_goal = |goal: &Goal, threads: usize| {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.threads == threads && (goal.concerns)(row)).collect();
        let figures: Vec<(f64, &Row)> = rows.iter().filter_map(|row| Some(((goal.figure)(row)?, *row))).collect();
        let middle = median(&figures.iter().map(|(figure, _)| *figure).collect::<Vec<_>>());
        let lowest = figures.iter().min_by(|a, b| a.0.total_cmp(&b.0));
        (!rows.is_empty()).then(|| Verdict {
            kernel: goal.kernel,
            against: goal.against,
            wanted: goal.wanted,
            threads,
            reached: middle
                .zip(lowest)
                .map(|(middle, (low, row))| (middle, *low, format!("{} {} {}", row.op, row.dtype, row.shape))),
            rows: figures.len(),
        })
    };
    GOALS.iter().flat_map(|goal| threads.iter().filter_map(move |&threads| judge_goal(goal, threads))).collect()
}

/// The verdicts as a Markdown table.
pub fn render(verdicts: &[Verdict]) -> String {
    let header = ["kernel", "against", "threads", "wanted", "reached", "", "rows", "lowest row"].map(String::from);
    let lines = verdicts.iter().map(|verdict| {
        let word = match verdict.passes() {
            Some(true) => "reached",
            Some(false) => "falls short",
            None => "not measured",
        };
        let (reached, lowest) = match &verdict.reached {
            Some((middle, low, shape)) => (format!("{middle:.2}"), format!("{low:.2} {shape}")),
            None => ("-".into(), "-".into()),
        };
        vec![
            verdict.kernel.into(),
            verdict.against.into(),
            verdict.threads.to_string(),
            format!("{:.2}", verdict.wanted),
            reached,
            word.into(),
            verdict.rows.to_string(),
            lowest,
        ]
    });
    layout(&std::iter::once(header.into()).chain(lines).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::Unit;
    use std::collections::BTreeMap;

    fn row(op: Op, shape: &str, isa: &str, ratios: &[(&str, f64)]) -> Row {
        Row {
            op,
            shape: shape.into(),
            dtype: Dtype::F32,
            isa: isa.into(),
            threads: 2,
            unit: Unit::Gflops,
            kiln: Some(90.0),
            kiln_packed: Some(90.0),
            kiln_unpacked: None,
            limit: 100.0,
            limit_name: "fma".into(),
            percent: Some(90.0),
            peers: BTreeMap::new(),
            ratio: None,
            ratios: ratios.iter().map(|(name, ratio)| (name.to_string(), *ratio)).collect(),
            missing: BTreeMap::new(),
            notes: BTreeMap::new(),
            rounds: 5,
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
        assert_eq!(verdict.passes(), Some(true));
        assert_eq!(verdict.reached, Some((1.1, 0.9, "gemm f32 m512 n2048 k2048".into())));
        assert_eq!(find(&rows, "f32 GEMM, M = 512, AVX-512").rows, 1);
        // The packed form was compared; the other was not measured.
        assert_eq!(find(&rows, "f32 GEMM, M >= 128, AVX-512, unpacked").passes(), None);
    }

    #[test]
    fn the_better_of_the_peers_counts() {
        let peers = [("packed/torch", 1.3), ("packed/gemm", 0.8), ("packed/torch mkl packed", 1.1)];
        let rows = [row(Op::Gemm, "m512 n2048 k2048", "avx2", &peers)];
        let verdict = find(&rows, "f32 GEMM held to AVX2, packed");
        assert_eq!((verdict.reached.as_ref().map(|r| r.0), verdict.passes()), (Some(0.8), Some(false)));
        assert!(!judge(&rows).iter().any(|verdict| verdict.kernel.contains("AVX-512")));
    }

    #[test]
    fn shapes_are_read() {
        let decode = row(Op::Decode, "h16/8 q1 k4096 d128 cold", "avx2", &[("unpacked/torch", 2.0)]);
        assert_eq!(find(&[decode], "attention decode, 4096 cached").passes(), Some(true));
        let short = row(Op::Attention, "h16/8 q128 k128 d128", "avx2", &[("unpacked/torch", 2.0)]);
        assert!(!judge(&[short]).iter().any(|verdict| verdict.kernel.contains("prefill")));
        let square = row(Op::Gemm, "square 512", "avx2", &[("packed/torch", 2.0)]);
        assert!(!judge(&[square]).iter().any(|verdict| verdict.kernel.contains("held")));
    }
}
