//! Loops for a cache simulator: the same operation by its definition and by our kernels, once, on one thread.
//!
//! `benches/cachegrind.sh` runs them under Valgrind with the caches of the i5-10210U and compares the misses. Each
//! problem is larger than its 6 MB of L3, and is what tiling and blocking are for: a product, attention of a long
//! sequence, softmax along a dimension that is not the last, and norms of many rows and of one long row.

mod norms;

use crate::case::{Case, Dtype, Op, Shape};
use crate::isa::Isa;
use crate::operands::Operands;
use crate::session::configure;
use burn::tensor::{Tensor, TensorPrimitive, activation};
use burn_flex::{Flex, FlexTensor};
use burn_kiln::Kiln;
use burn_kiln_fusion::config::IsaChoice;
use burn_kiln_fusion::{AttentionInputs, AttentionOptions, FusedOps};
use kiln_kernels::Caches;
use kiln_kernels::simd::Tier;
use norms::{MATRIX, Norm, NormOperands, ROW};
use rayon::ThreadPoolBuilder;
use std::hint::black_box;
use std::sync::Arc;

/// Who runs the operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Loops {
    /// Nobody: operands are made, and that is all. What this misses is taken from the others.
    None,
    /// The definition, loop by loop.
    Naive,
    /// Our tiled kernels (products, attention).
    Tiled,
    /// Our cache-blocked kernels (softmax, norms).
    Blocked,
    /// As `none`, for the problem of one long row (norms).
    NoneRow,
    /// As `naive`, for one long row.
    NaiveRow,
    /// As `blocked`, for one long row.
    BlockedRow,
    /// Our kernel of one long row with a block as large as the row.
    WholeRow,
}

/// No kernel for this operation here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cachegrind compares gemm, attention, softmax and norms (these also of one long row), not {0} by {1:?}")]
pub struct NotCompared(pub Op, pub Loops);

/// The caches that are simulated.
pub const CACHES: Caches = Caches { l1d: 32 << 10, l2: 256 << 10, l3: 6 << 20 };

/// `[m, k]·[k, n]`: B is 7.7 MB, a column of it 1200 lines. No power of two, which would make naive loops miss more
/// than they must.
const PRODUCT: [usize; 3] = [96, 1600, 1200];
/// Keys and values are 4 MiB each.
const ATTENTION: Shape = Shape::Heads { heads: 1, kv_heads: 1, queries: 96, keys: 16384, dim: 64 };
/// `[rows, d]`, softmax down the columns: the lines of a column are 7.7 MB.
const COLUMNS: [usize; 2] = [120_000, 40];

/// Runs `op` once as `loops` says.
///
/// # Errors
/// [`NotCompared`] for an operation without such loops.
pub fn run(op: Op, loops: Loops) -> Result<(), NotCompared> {
    match op {
        Op::LayerNorm => return run_norm(Norm::Layer, loops).ok_or(NotCompared(op, loops)),
        Op::RmsNorm => return run_norm(Norm::Rms, loops).ok_or(NotCompared(op, loops)),
        _ => {}
    }
    let shape = match op {
        Op::Attention => ATTENTION,
        Op::Gemm => Shape::Linear { m: PRODUCT[0], n: PRODUCT[1], k: PRODUCT[2] },
        Op::Softmax => Shape::Rows { rows: COLUMNS[0], d: COLUMNS[1] },
        other => return Err(NotCompared(other, loops)),
    };
    if !matches!(loops, Loops::None | Loops::Naive | Loops::Tiled | Loops::Blocked) {
        return Err(NotCompared(op, loops));
    }
    let op_of_case = if op == Op::Attention { Op::Vision } else { op };
    let case = Case { op: op_of_case, shape, dtype: Dtype::F32, cold: false };
    let pool = ThreadPoolBuilder::new().num_threads(1).build().expect("one thread can be started");
    let isa = Isa { tier: Tier::Avx2, choice: IsaChoice::Avx2 };
    let config = Arc::new(configure(isa, Some(CACHES), 1, &case));
    pool.install(|| {
        let operands = Operands::random(&case);
        let set = &operands.sets[0];
        match loops {
            Loops::None => drop(black_box(operands)),
            Loops::Naive => drop(black_box(run_naive(op, set))),
            _ => burn_kiln::scope(&config, || match op {
                Op::Gemm => {
                    let b = set[1].reshape([PRODUCT[2], PRODUCT[1]].into());
                    drop(black_box(lift::<2>(&set[0]).matmul(lift(&b))));
                }
                Op::Attention => {
                    let inputs = AttentionInputs::<Kiln<Flex>> { q: lift(&set[0]), k: lift(&set[1]), v: lift(&set[2]) };
                    let options = AttentionOptions::default();
                    drop(black_box(<Kiln<Flex> as FusedOps>::attention(inputs, &options, None, &config)));
                }
                _ => drop(black_box(activation::softmax(lift::<2>(&set[0]), 0))),
            }),
        }
    });
    Ok(())
}

/// Runs a norm as `loops` says; none where it has no such loops.
fn run_norm(norm: Norm, loops: Loops) -> Option<()> {
    let row = matches!(loops, Loops::NoneRow | Loops::NaiveRow | Loops::BlockedRow | Loops::WholeRow);
    let mut operands = NormOperands::new(if row { ROW } else { MATRIX });
    match loops {
        Loops::None | Loops::NoneRow => drop(black_box(operands)),
        Loops::Naive | Loops::NaiveRow => drop(black_box(operands.run_naive(norm).len())),
        Loops::Blocked | Loops::BlockedRow => drop(black_box(operands.run_kernel(norm, None).len())),
        Loops::WholeRow => drop(black_box(operands.run_kernel(norm, Some(usize::MAX)).len())),
        Loops::Tiled => return None,
    }
    Some(())
}

fn lift<const D: usize>(tensor: &FlexTensor) -> Tensor<Kiln<Flex>, D> {
    Tensor::from_primitive(TensorPrimitive::Float(tensor.clone()))
}

fn run_naive(op: Op, set: &[FlexTensor]) -> Vec<f32> {
    let floats = |i: usize| set[i].storage::<f32>();
    match (op, ATTENTION) {
        (Op::Gemm, _) => multiply(floats(0), floats(1), PRODUCT),
        (Op::Attention, Shape::Heads { queries, keys, dim, .. }) => {
            attend(floats(0), floats(1), floats(2), [queries, keys, dim])
        }
        _ => normalize_columns(floats(0), COLUMNS),
    }
}

/// `C[i, j] = Σ A[i, p]·B[p, j]`, in that order.
fn multiply(a: &[f32], b: &[f32], [m, n, k]: [usize; 3]) -> Vec<f32> {
    let mut c = vec![0.0; m * n];
    for i in 0..m {
        for j in 0..n {
            c[i * n + j] = (0..k).map(|p| a[i * k + p] * b[p * n + j]).sum();
        }
    }
    c
}

/// For each query: all scores, their softmax, the weighted sum of the values, element by element.
fn attend(q: &[f32], k: &[f32], v: &[f32], [queries, keys, dim]: [usize; 3]) -> Vec<f32> {
    let scale = 1.0 / (dim as f32).sqrt();
    let mut out = vec![0.0; queries * dim];
    for i in 0..queries {
        let query = &q[i * dim..][..dim];
        let score = |j: usize| scale * query.iter().zip(&k[j * dim..]).map(|(q, k)| q * k).sum::<f32>();
        let mut weights: Vec<f32> = (0..keys).map(score).collect();
        let max = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        for weight in &mut weights {
            *weight = (*weight - max).exp();
        }
        let total: f32 = weights.iter().sum();
        for e in 0..dim {
            out[i * dim + e] = (0..keys).map(|j| weights[j] / total * v[j * dim + e]).sum();
        }
    }
    out
}

/// Softmax of each column, one column after the other.
fn normalize_columns(x: &[f32], [rows, d]: [usize; 2]) -> Vec<f32> {
    let mut out = vec![0.0; rows * d];
    for j in 0..d {
        let max = (0..rows).map(|i| x[i * d + j]).fold(f32::NEG_INFINITY, f32::max);
        let total: f32 = (0..rows).map(|i| (x[i * d + j] - max).exp()).sum();
        for i in 0..rows {
            out[i * d + j] = (x[i * d + j] - max).exp() / total;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn naive_loops_by_hand() {
        assert_eq!(multiply(&[1.0, 2.0, 3.0, 4.0], &[5.0, 6.0, 7.0, 8.0], [2, 2, 2]), [19.0, 22.0, 43.0, 50.0]);
        // Equal keys weigh equally.
        assert_eq!(attend(&[1.0], &[2.0, 2.0], &[3.0, 5.0], [1, 2, 1]), [4.0]);
        assert_eq!(normalize_columns(&[0.0, 7.0, 0.0, 7.0], [2, 2]), [0.5; 4]);
    }

    #[test]
    fn other_operations_and_loops_are_refused() {
        assert_eq!(run(Op::Add, Loops::None), Err(NotCompared(Op::Add, Loops::None)));
        assert_eq!(run(Op::Softmax, Loops::NaiveRow), Err(NotCompared(Op::Softmax, Loops::NaiveRow)));
        assert_eq!(run(Op::RmsNorm, Loops::Tiled), Err(NotCompared(Op::RmsNorm, Loops::Tiled)));
    }
}
