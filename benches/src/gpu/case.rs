//! What is measured: an operation on a shape of a dtype, and what it costs at least.

use crate::case::{Shape, Unit};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fmt;

/// Element type of all operands but ids and angles; arithmetic is f32 in Kiln's kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 4 bytes.
    F32,
    /// 2 bytes.
    F16,
    /// 2 bytes.
    Bf16,
}

impl Dtype {
    /// Bytes of an element.
    pub fn size(self) -> usize {
        self.burn().size()
    }

    /// Burn's name of it.
    pub fn burn(self) -> burn::tensor::DType {
        match self {
            Self::F32 => burn::tensor::DType::F32,
            Self::F16 => burn::tensor::DType::F16,
            Self::Bf16 => burn::tensor::DType::BF16,
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_name(self, f)
    }
}

/// An operation that has a CubeCL kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Op {
    /// `x·Wᵀ`; of one row it is a GEMV.
    Linear,
    /// `down(silu(x·gateᵀ) ⊙ (x·upᵀ))`.
    MlpGated,
    /// RMS norm and the projections to queries, keys and values.
    NormLinears,
    /// Residual addition and RMS norm.
    AddNorm,
    /// RMS norm with weight.
    RmsNorm,
    /// Layer norm with weight and bias.
    LayerNorm,
    /// Softmax of the last dimension.
    Softmax,
    /// RMS norm of each head of queries and keys, and rotation.
    QkNormRope,
    /// Causal grouped-query attention of a prompt.
    Attention,
    /// Attention of one token against a cache.
    Decode,
    /// Attention of a picture's patches.
    Vision,
    /// GELU by tanh.
    GeluTanh,
    /// GELU by erf.
    GeluErf,
    /// `x·sigmoid(x)`.
    Silu,
    /// Rows of a table by id.
    Embedding,
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_name(self, f)
    }
}

/// The name on the command line.
fn write_name<T: clap::ValueEnum>(value: &T, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.pad(value.to_possible_value().as_ref().map_or("", |value| value.get_name()))
}

/// One thing to measure. Of a linear layer, an MLP, norm and projections, and an embedding, [`Shape::Linear`] means:
///
/// - `m` rows, `n` outputs of all projections together (queries half of them, keys and values a quarter each), `k`
///   inputs;
/// - `m` rows, `n` the intermediate size, `k` the hidden size;
/// - `m` ids, a table of `n` rows of `k`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// The operation.
    pub op: Op,
    /// Its operands' sizes.
    pub shape: Shape,
    /// Its operands' elements.
    pub dtype: Dtype,
}

/// Rows from which a product is bound by arithmetic on every card: 2 FLOP a row and weight, of 4 bytes at most, are 32
/// FLOP a byte.
const MANY_ROWS: usize = 64;

impl Case {
    /// GFLOP/s for products of many rows and attention of a prompt, GB/s for what memory decides.
    pub fn unit(&self) -> Unit {
        let many = match self.shape {
            Shape::Linear { m, .. } => self.op != Op::Embedding && m >= MANY_ROWS,
            _ => matches!(self.op, Op::Attention | Op::Vision),
        };
        if many { Unit::Gflops } else { Unit::Gbytes }
    }

    /// Whether about as much is written as is read.
    pub fn is_copy(&self) -> bool {
        !matches!(self.op, Op::Linear | Op::MlpGated | Op::NormLinears | Op::Attention | Op::Decode | Op::Vision)
    }

    /// Products and sums of one call, a product and a sum being two; 0 where only bytes count.
    pub fn flop(&self) -> f64 {
        match (self.op, self.shape) {
            (Op::Linear | Op::NormLinears, Shape::Linear { m, n, k }) => 2.0 * (m * n * k) as f64,
            (Op::MlpGated, Shape::Linear { m, n, k }) => 6.0 * (m * n * k) as f64,
            (Op::Attention | Op::Decode | Op::Vision, Shape::Heads { heads, queries, keys, dim, .. }) => {
                let hidden = if self.op == Op::Attention { queries * (queries - 1) / 2 } else { 0 };
                4.0 * (heads * dim * (queries * keys - hidden)) as f64
            }
            _ => 0.0,
        }
    }

    /// Bytes that one call has to read and write, each operand once. Angles are f32, ids 4 bytes.
    pub fn bytes(&self) -> f64 {
        let (elements, others) = match (self.op, self.shape) {
            (Op::MlpGated, Shape::Linear { m, n, k }) => (3 * n * k + 2 * m * k, 0),
            (Op::Embedding, Shape::Linear { m, k, .. }) => (m * k, 4 * m * k + 4 * m),
            (_, Shape::Linear { m, n, k }) => (n * k + m * k + m * n, 0),
            (Op::QkNormRope, Shape::Heads { heads, kv_heads, queries, dim, .. }) => {
                (2 * (heads + kv_heads) * queries * dim, 4 * queries * dim)
            }
            (_, Shape::Heads { heads, kv_heads, queries, keys, dim }) => {
                (2 * heads * queries * dim + 2 * kv_heads * keys * dim, 0)
            }
            (Op::AddNorm, Shape::Rows { rows, d }) => (4 * rows * d, 0),
            (_, Shape::Rows { rows, d }) => (2 * rows * d, 0),
            (_, Shape::Square { n }) => (3 * n * n, 0),
        };
        (elements * self.dtype.size() + others) as f64
    }

    /// The figure of a call that takes `seconds`, in [`Case::unit`].
    pub fn figure(&self, seconds: f64) -> f64 {
        let work = if self.unit() == Unit::Gflops { self.flop() } else { self.bytes() };
        work / seconds / 1e9
    }

    /// The shape in words.
    pub fn label(&self) -> String {
        match self.shape {
            Shape::Linear { m, n, k } => format!("m{m} n{n} k{k}"),
            Shape::Square { n } => format!("square {n}"),
            Shape::Heads { heads, kv_heads, queries, dim, .. } if self.op == Op::QkNormRope => {
                format!("h{heads}/{kv_heads} l{queries} d{dim}")
            }
            Shape::Heads { heads, kv_heads, queries, keys, dim } => {
                format!("h{heads}/{kv_heads} q{queries} k{keys} d{dim}")
            }
            Shape::Rows { rows, d } => format!("{rows}x{d}"),
        }
    }

    /// Sizes of the float operands, in the order in which the operation takes them, and whether each is angles, which
    /// are f32.
    pub fn operands(&self) -> Vec<(Vec<usize>, bool)> {
        let sizes: Vec<Vec<usize>> = match (self.op, self.shape) {
            (Op::MlpGated, Shape::Linear { m, n, k }) => vec![vec![m, k], vec![n, k], vec![n, k], vec![k, n]],
            (Op::NormLinears, Shape::Linear { m, n, k }) => {
                vec![vec![m, k], vec![k], vec![n / 2, k], vec![n / 4, k], vec![n / 4, k]]
            }
            (Op::Embedding, Shape::Linear { n, k, .. }) => vec![vec![n, k]],
            (_, Shape::Linear { m, n, k }) => vec![vec![m, k], vec![n, k]],
            (_, Shape::Square { n }) => vec![vec![n, n], vec![n, n]],
            (Op::QkNormRope, Shape::Heads { heads, kv_heads, queries, dim, .. }) => {
                let angles = vec![1, queries, dim / 2];
                let heads = [heads, kv_heads].map(|heads| (vec![1, heads, queries, dim], false));
                let rest = [(vec![dim], false), (vec![dim], false), (angles.clone(), true), (angles, true)];
                return heads.into_iter().chain(rest).collect();
            }
            (_, Shape::Heads { heads, kv_heads, queries, keys, dim }) => {
                let cache = vec![1, kv_heads, keys, dim];
                vec![vec![1, heads, queries, dim], cache.clone(), cache]
            }
            (op, Shape::Rows { rows, d }) => {
                let (x, vector) = (vec![rows, d], vec![d]);
                match op {
                    Op::AddNorm => vec![x.clone(), x, vector],
                    Op::LayerNorm => vec![x, vector.clone(), vector],
                    Op::RmsNorm => vec![x, vector],
                    _ => vec![x],
                }
            }
        };
        sizes.into_iter().map(|sizes| (sizes, false)).collect()
    }

    /// Bytes of all operands.
    pub fn operand_bytes(&self) -> usize {
        let size = |(sizes, angles): &(Vec<usize>, bool)| {
            sizes.iter().product::<usize>() * if *angles { 4 } else { self.dtype.size() }
        };
        self.operands().iter().map(size).sum()
    }

    /// The request that prepares PyTorch's side, with `sets` sets of operands.
    pub fn request(&self, sets: usize) -> Value {
        let sizes = match self.shape {
            Shape::Linear { m, n, k } => json!({ "m": m, "n": n, "k": k }),
            Shape::Square { n } => json!({ "square": true, "n": n }),
            Shape::Heads { heads, kv_heads, queries, dim, .. } if self.op == Op::QkNormRope => {
                json!({ "heads": heads, "kv_heads": kv_heads, "length": queries, "dim": dim })
            }
            Shape::Heads { heads, kv_heads, queries, keys, dim } => {
                json!({ "heads": heads, "kv_heads": kv_heads, "queries": queries, "keys": keys, "dim": dim })
            }
            Shape::Rows { rows, d } => json!({ "rows": rows, "d": d }),
        };
        let (op, dtype) = (self.op.to_string(), self.dtype.to_string());
        json!({ "do": "prepare", "op": op, "dtype": dtype, "sizes": sizes, "sets": sets })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(op: Op, shape: Shape) -> Case {
        Case { op, shape, dtype: Dtype::F16 }
    }

    #[test]
    fn work_by_hand() {
        let linear = Shape::Linear { m: 2, n: 8, k: 5 };
        assert_eq!((case(Op::Linear, linear).flop(), case(Op::Linear, linear).bytes()), (160.0, 2.0 * 66.0));
        assert_eq!((case(Op::MlpGated, linear).flop(), case(Op::MlpGated, linear).bytes()), (480.0, 2.0 * 140.0));
        // Rows are f16, outputs f32.
        assert_eq!(case(Op::Embedding, linear).bytes(), 2.0 * 10.0 + 4.0 * 10.0 + 8.0);
        let heads = Shape::Heads { heads: 2, kv_heads: 1, queries: 3, keys: 3, dim: 8 };
        // 1, 2 and 3 of 3 keys: 6 pairs.
        assert_eq!(case(Op::Attention, heads).flop(), 4.0 * 2.0 * 8.0 * 6.0);
        assert_eq!(case(Op::Vision, heads).flop(), 4.0 * 2.0 * 8.0 * 9.0);
        assert_eq!(case(Op::QkNormRope, heads).bytes(), 2.0 * 144.0 + 4.0 * 24.0);
        assert_eq!(case(Op::NormLinears, linear).operand_bytes(), 2 * (10 + 5 + 40));
    }

    #[test]
    fn few_rows_wait_for_memory() {
        let unit = |m| case(Op::Linear, Shape::Linear { m, n: 8, k: 8 }).unit();
        assert_eq!([1, 16, 128].map(unit), [Unit::Gbytes, Unit::Gbytes, Unit::Gflops]);
    }
}
