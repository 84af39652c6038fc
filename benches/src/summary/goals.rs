//! The goals, and which rows and figures each is about.

use crate::case::{Dtype, Op};
use crate::engines::KILN_ONE;
use crate::row::Row;
use crate::state::State;

/// One goal: of the rows that it concerns, the median of a figure has to be at least so much.
pub(super) struct Goal {
    pub(super) kernel: &'static str,
    pub(super) against: &'static str,
    pub(super) wanted: f64,
    /// Of which state of the cores.
    pub(super) state: Within,
    /// Whether a row counts.
    pub(super) concerns: fn(&Row) -> bool,
    /// The row's figure; `None` where the peer is missing.
    pub(super) figure: fn(&Row) -> Option<f64>,
}

/// States of the cores in which a goal holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Within {
    /// Any.
    Any,
    /// Each thread has a core of its own, as far as anybody knows.
    Alone,
    /// A busy hyperthread takes a part of some cores, or of all.
    Shared,
}

impl Within {
    /// Whether the goal is one of rows in `state`.
    pub(super) fn holds(self, state: State) -> bool {
        let is_shared = matches!(state, State::Shared | State::Partly);
        match self {
            Self::Any => state != State::Mixed,
            Self::Alone => matches!(state, State::Alone | State::Unknown),
            Self::Shared => is_shared,
        }
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
    row.figures.ratios.get(&format!("{form}/{peer}")).copied()
}

fn best_over(row: &Row, peer: &str) -> Option<f64> {
    let forms = [over(row, "packed", peer), over(row, "unpacked", peer)];
    forms.into_iter().flatten().max_by(f64::total_cmp)
}

/// The lowest of the ratios over `peers`: over the best of them.
fn over_all(row: &Row, form: &str, peers: &[&str]) -> Option<f64> {
    peers.iter().filter_map(|peer| over(row, form, peer)).min_by(f64::total_cmp)
}

const BF16: [&str; 2] = ["torch", "torch prepacked"];
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
    row.figures.percent.map(|percent| percent / 100.0)
}

/// Whether a row is one of the sequences that attention of a prompt is judged by.
fn is_prefill(row: &Row) -> bool {
    let keys = keys_of(row);
    match row.op {
        Op::Attention => (512..=4096).contains(&keys),
        Op::Vision => true,
        _ => false,
    }
}

/// Every goal.
pub(super) const GOALS: &[Goal] = &[
    Goal {
        kernel: "f32 GEMM, M >= 128, AVX-512, packed",
        against: "MKL",
        wanted: 1.0,
        state: Within::Any,
        concerns: |row| is_linear(row, 128) && is_f32(row) && is_wide(row),
        figure: |row| over_all(row, "packed", &MKL),
    },
    Goal {
        kernel: "f32 GEMM, M >= 128, AVX-512, unpacked",
        against: "MKL",
        wanted: 0.93,
        state: Within::Any,
        concerns: |row| is_linear(row, 128) && is_f32(row) && is_wide(row),
        figure: |row| over(row, "unpacked", "torch"),
    },
    Goal {
        kernel: "f32 GEMM, M = 512, AVX-512",
        against: "FMA peak",
        wanted: 0.90,
        state: Within::Any,
        concerns: |row| rows_of(row) == Some(512) && row.op == Op::Gemm && is_f32(row) && is_wide(row),
        figure: fraction,
    },
    Goal {
        kernel: "f32 GEMM held to AVX2, packed",
        against: "MKL, gemm crate",
        wanted: 1.0,
        state: Within::Any,
        concerns: |row| is_linear(row, 128) && is_f32(row) && row.isa == "avx2",
        figure: |row| over_all(row, "packed", &F32_AVX2),
    },
    Goal {
        kernel: "f32 GEMM held to AVX2, unpacked",
        against: "MKL, gemm crate",
        wanted: 0.93,
        state: Within::Any,
        concerns: |row| is_linear(row, 128) && is_f32(row) && row.isa == "avx2",
        figure: |row| over_all(row, "unpacked", &["torch", "gemm"]),
    },
    Goal {
        kernel: "f32 GEMM, M >= 128, packed",
        against: "MKL packed",
        wanted: 1.05,
        state: Within::Any,
        concerns: |row| is_linear(row, 128) && is_f32(row),
        figure: |row| over(row, "packed", "torch mkl packed"),
    },
    Goal {
        kernel: "f32 GEMM, M >= 128, packed",
        against: "FMA peak",
        wanted: 0.93,
        state: Within::Alone,
        concerns: |row| is_linear(row, 128) && is_f32(row),
        figure: fraction,
    },
    Goal {
        kernel: "bf16 GEMM on AMX, M >= 512",
        against: "PyTorch, the better of plain and prepacked",
        wanted: 2.0,
        state: Within::Alone,
        concerns: |row| is_linear(row, 512) && !is_f32(row) && row.isa == "amx",
        figure: |row| over_all(row, "packed", &BF16),
    },
    Goal {
        kernel: "bf16 GEMM on AMX, M >= 512",
        against: "PyTorch, the better of plain and prepacked",
        wanted: 1.4,
        state: Within::Shared,
        concerns: |row| is_linear(row, 512) && !is_f32(row) && row.isa == "amx",
        figure: |row| over_all(row, "packed", &BF16),
    },
    Goal {
        kernel: "bf16 GEMM on AMX, M >= 512",
        against: "AMX peak",
        wanted: 0.50,
        state: Within::Alone,
        concerns: |row| is_linear(row, 512) && !is_f32(row) && row.isa == "amx",
        figure: fraction,
    },
    Goal {
        kernel: "bf16 GEMM on AMX, M = 128, cold",
        against: "PyTorch, the better of plain and prepacked",
        wanted: 1.5,
        state: Within::Any,
        concerns: |row| rows_of(row) == Some(128) && row.op == Op::Gemm && !is_f32(row) && row.isa == "amx",
        figure: |row| over_all(row, "packed", &BF16),
    },
    Goal {
        kernel: "bf16-weight GEMM held to AVX2",
        against: "PyTorch bf16 and f32",
        wanted: 1.0,
        state: Within::Any,
        concerns: |row| is_linear(row, 128) && !is_f32(row) && row.isa == "avx2",
        figure: |row| over_all(row, "packed", &["torch", "torch prepacked", "torch f32"]),
    },
    Goal {
        kernel: "GEMV out of cache",
        against: "read bandwidth",
        wanted: 0.92,
        state: Within::Any,
        concerns: |row| row.op == Op::Gemv,
        figure: fraction,
    },
    Goal {
        kernel: "GEMV out of cache, f32",
        against: "PyTorch",
        wanted: 1.0,
        state: Within::Any,
        concerns: |row| row.op == Op::Gemv && is_f32(row),
        figure: |row| over_all(row, "packed", &["torch", "torch prepacked", "torch mkl packed"]),
    },
    Goal {
        kernel: "GEMV out of cache, bf16",
        against: "PyTorch",
        wanted: 1.15,
        state: Within::Any,
        concerns: |row| row.op == Op::Gemv && !is_f32(row),
        figure: |row| over_all(row, "packed", &["torch", "torch prepacked"]),
    },
    Goal {
        kernel: "attention prefill and vision, f32",
        against: "PyTorch SDPA",
        wanted: 1.2,
        state: Within::Any,
        concerns: |row| is_prefill(row) && is_f32(row),
        figure: |row| best_over(row, "torch"),
    },
    Goal {
        kernel: "attention prefill and vision, bf16",
        against: "PyTorch SDPA",
        wanted: 1.2,
        state: Within::Any,
        concerns: |row| is_prefill(row) && !is_f32(row),
        figure: |row| best_over(row, "torch"),
    },
    Goal {
        kernel: "attention prefill and vision, bf16 on AMX",
        against: "PyTorch SDPA",
        wanted: 1.5,
        state: Within::Any,
        concerns: |row| is_prefill(row) && !is_f32(row) && row.isa == "amx",
        figure: |row| best_over(row, "torch"),
    },
    Goal {
        kernel: "attention prefill and vision, AVX2",
        against: "PyTorch SDPA",
        wanted: 1.5,
        state: Within::Any,
        concerns: |row| is_prefill(row) && row.isa == "avx2",
        figure: |row| best_over(row, "torch"),
    },
    Goal {
        kernel: "attention prefill and vision, AVX2",
        against: "FMA peak",
        wanted: 0.75,
        state: Within::Any,
        concerns: |row| is_prefill(row) && row.isa == "avx2",
        figure: fraction,
    },
    Goal {
        kernel: "attention decode, 4096 cached",
        against: "read bandwidth",
        wanted: 0.85,
        state: Within::Any,
        concerns: |row| row.op == Op::Decode && keys_of(row) == 4096,
        figure: fraction,
    },
    Goal {
        kernel: "16 rows out of cache",
        against: "read bandwidth, or arithmetic",
        wanted: 0.85,
        state: Within::Any,
        concerns: |row| row.op == Op::Skinny,
        figure: fraction,
    },
    Goal {
        kernel: "attention decode, 4096 cached",
        against: "PyTorch SDPA",
        wanted: 1.5,
        state: Within::Any,
        concerns: |row| row.op == Op::Decode && keys_of(row) == 4096,
        figure: |row| best_over(row, "torch"),
    },
    Goal {
        kernel: "softmax, norms in cache",
        against: "PyTorch eager",
        wanted: 1.3,
        state: Within::Any,
        concerns: |row| is_norm(row) && !is_cold(row),
        figure: |row| best_over(row, "torch"),
    },
    Goal {
        kernel: "softmax, norms out of cache",
        against: "copy bandwidth",
        wanted: 0.92,
        state: Within::Any,
        concerns: |row| is_norm(row) && is_cold(row),
        figure: fraction,
    },
    Goal {
        kernel: "GELU, SiLU in cache",
        against: "PyTorch eager",
        wanted: 1.3,
        state: Within::Any,
        concerns: |row| is_activation(row) && !is_cold(row),
        figure: |row| best_over(row, "torch"),
    },
    Goal {
        kernel: "GELU, SiLU out of cache",
        against: "copy bandwidth",
        wanted: 0.92,
        state: Within::Any,
        concerns: |row| is_activation(row) && is_cold(row),
        figure: fraction,
    },
    Goal {
        kernel: "add, mul",
        against: "PyTorch eager",
        wanted: 1.0,
        state: Within::Any,
        concerns: |row| matches!(row.op, Op::Add | Op::Mul),
        figure: |row| best_over(row, "torch"),
    },
    Goal {
        kernel: "everything",
        against: "plain Flex",
        wanted: 0.95,
        state: Within::Any,
        concerns: |row| row.op != Op::Scaling,
        figure: |row| best_over(row, "flex"),
    },
    Goal {
        kernel: "GEMM M = 512, all threads",
        against: "1 thread (of 2: 1.85)",
        wanted: 1.85,
        state: Within::Any,
        concerns: |row| row.op == Op::Scaling && row.threads > 1,
        figure: |row| over(row, "packed", KILN_ONE),
    },
];
