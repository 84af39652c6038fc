//! The goals, and which rows and figures each is about.

use crate::case::{Dtype, Op};
use crate::engines::KILN_ONE;
use crate::row::Row;

/// One goal: of the rows that it concerns, the median of a figure has to be at least so much.
pub(super) struct Goal {
    pub(super) kernel: &'static str,
    pub(super) against: &'static str,
    pub(super) wanted: f64,
    /// Whether a row counts.
    pub(super) concerns: fn(&Row) -> bool,
    /// The row's figure; `None` where the peer is missing.
    pub(super) figure: fn(&Row) -> Option<f64>,
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
        kernel: "everything",
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
        figure: |row| over(row, "packed", KILN_ONE),
    },
];
