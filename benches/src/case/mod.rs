//! What is measured: an operation on a shape of a dtype, and what it costs.

mod shapes;

use serde::{Deserialize, Serialize};
use std::fmt;

pub use shapes::{LAYERS, Shapes, cases};

/// Element type of the operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 4 bytes.
    F32,
    /// 2 bytes; sums are f32.
    Bf16,
}

impl Dtype {
    /// Both.
    pub const ALL: [Self; 2] = [Self::F32, Self::Bf16];

    /// Bytes of an element.
    pub fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        })
    }
}

/// An operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Op {
    /// `x·Wᵀ` of a prompt, and squares `A·B`.
    Gemm,
    /// `x·Wᵀ` of one token, weights from memory.
    Gemv,
    /// `x·Wᵀ` of 16 tokens, weights from memory.
    Skinny,
    /// GEMM of 512 tokens with all threads, against one thread.
    Scaling,
    /// Causal grouped-query attention of a prompt.
    Attention,
    /// Attention of a picture's patches.
    Vision,
    /// Attention of one token against a cache in memory.
    Decode,
    /// Softmax of the last dimension.
    Softmax,
    /// Layer norm with weight and bias.
    LayerNorm,
    /// RMS norm with weight.
    RmsNorm,
    /// Residual addition and RMS norm.
    AddNorm,
    /// GELU by erf.
    Gelu,
    /// GELU by tanh.
    GeluTanh,
    /// `x·sigmoid(x)`.
    Silu,
    /// `silu(gate) ⊙ up`.
    SiluMul,
    /// Exponential.
    Exp,
    /// Sum of two tensors.
    Add,
    /// Product of two tensors, element by element.
    Mul,
    /// Rotary embedding.
    Rope,
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = clap::ValueEnum::to_possible_value(self).expect("no operation is hidden");
        f.pad(value.get_name())
    }
}

/// Sizes of the operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// `[m, k]` by a weight `[n, k]`, read transposed.
    Linear {
        /// Rows.
        m: usize,
        /// Output features.
        n: usize,
        /// Input features.
        k: usize,
    },
    /// `[n, n]` by `[n, n]`.
    Square {
        /// Rows, columns and depth.
        n: usize,
    },
    /// `q` `[1, heads, queries, dim]`, `k` and `v` `[1, kv_heads, keys, dim]`.
    Heads {
        /// Query heads.
        heads: usize,
        /// Key heads.
        kv_heads: usize,
        /// Queries.
        queries: usize,
        /// Keys.
        keys: usize,
        /// Elements of a head.
        dim: usize,
    },
    /// `[rows, d]`; element-wise operations have one row.
    Rows {
        /// Rows.
        rows: usize,
        /// Elements of a row.
        d: usize,
    },
}

/// One thing to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Case {
    /// The operation.
    pub op: Op,
    /// Its operands' sizes.
    pub shape: Shape,
    /// Its operands' elements.
    pub dtype: Dtype,
    /// Whether operands rotate over more than 1 GiB, so that no cache holds them.
    pub cold: bool,
}

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// 10⁹ floating-point operations a second.
    #[serde(rename = "GFLOP/s")]
    Gflops,
    /// 10⁹ bytes a second, read and written.
    #[serde(rename = "GB/s")]
    Gbytes,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Gflops => "GFLOP/s",
            Self::Gbytes => "GB/s",
        })
    }
}

impl Case {
    /// GFLOP/s for products of many rows, GB/s for what memory decides.
    pub fn unit(&self) -> Unit {
        match self.op {
            Op::Gemm | Op::Scaling | Op::Attention | Op::Vision => Unit::Gflops,
            _ => Unit::Gbytes,
        }
    }

    /// Whether query `i` of `n` sees keys `0 ..= i + m - n` only.
    pub fn is_causal(&self) -> bool {
        matches!(self.op, Op::Attention)
    }

    /// Floating-point operations of one call; 0 for operations that are counted in bytes only.
    ///
    /// Products: `2·m·n·k`. Attention: `4·heads·dim` for each pair of a query and a key that it sees.
    pub fn flop(&self) -> f64 {
        match self.shape {
            Shape::Linear { m, n, k } => 2.0 * m as f64 * n as f64 * k as f64,
            Shape::Square { n } => 2.0 * (n as f64).powi(3),
            Shape::Heads { heads, queries, keys, dim, .. } if self.op != Op::Rope => {
                let (q, k) = (queries as f64, keys as f64);
                let hidden = if self.is_causal() { q * (q - 1.0) / 2.0 } else { 0.0 };
                4.0 * heads as f64 * dim as f64 * (q * k - hidden)
            }
            _ => 0.0,
        }
    }

    /// Bytes that one call has to read and write, each operand once.
    pub fn bytes(&self) -> f64 {
        let size = self.dtype.size() as f64;
        let elements = match self.shape {
            Shape::Linear { m, n, k } => (n * k + m * k + m * n) as f64,
            Shape::Square { n } => 3.0 * (n as f64).powi(2),
            // The rotary table is f32, half a head for each of cosine and sine.
            Shape::Heads { heads, queries, dim, .. } if self.op == Op::Rope => {
                return 2.0 * (heads * queries * dim) as f64 * size + 4.0 * (queries * dim) as f64;
            }
            Shape::Heads { heads, kv_heads, queries, keys, dim } => {
                2.0 * (heads * queries * dim) as f64 + 2.0 * (kv_heads * keys * dim) as f64
            }
            Shape::Rows { rows, d } => {
                let operands = match self.op {
                    Op::Add | Op::Mul | Op::SiluMul => 3.0,
                    Op::AddNorm => 4.0,
                    _ => 2.0,
                };
                operands * (rows * d) as f64
            }
        };
        elements * size
    }

    /// The figure of a call that takes `seconds`, in [`Case::unit`].
    pub fn figure(&self, seconds: f64) -> f64 {
        let work = match self.unit() {
            Unit::Gflops => self.flop(),
            Unit::Gbytes => self.bytes(),
        };
        work / seconds / 1e9
    }

    /// The shape in words, for a table and for `--shape`.
    pub fn label(&self) -> String {
        let shape = match self.shape {
            Shape::Linear { m, n, k } => format!("m{m} n{n} k{k}"),
            Shape::Square { n } => format!("square {n}"),
            Shape::Heads { heads, queries, dim, .. } if self.op == Op::Rope => format!("h{heads} l{queries} d{dim}"),
            Shape::Heads { heads, kv_heads, queries, keys, dim } => {
                format!("h{heads}/{kv_heads} q{queries} k{keys} d{dim}")
            }
            Shape::Rows { rows: 1, d } => name_size(d),
            Shape::Rows { rows, d } => format!("{rows}x{d}"),
        };
        if self.cold { format!("{shape} cold") } else { shape }
    }
}

/// `1024` as `1K`, `16777216` as `16M`.
fn name_size(n: usize) -> String {
    match n {
        n if n >= 1 << 20 && n.is_multiple_of(1 << 20) => format!("{}M", n >> 20),
        n if n >= 1 << 10 && n.is_multiple_of(1 << 10) => format!("{}K", n >> 10),
        n => n.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(op: Op, shape: Shape, dtype: Dtype) -> Case {
        Case { op, shape, dtype, cold: false }
    }

    #[test]
    fn work_by_hand() {
        let linear = case(Op::Gemm, Shape::Linear { m: 2, n: 3, k: 5 }, Dtype::Bf16);
        assert_eq!((linear.flop(), linear.bytes()), (60.0, 2.0 * (15.0 + 10.0 + 6.0)));
        // Queries see 2, 3 and 4 of 4 keys: 9 pairs.
        let heads = Shape::Heads { heads: 2, kv_heads: 1, queries: 3, keys: 4, dim: 8 };
        assert_eq!(case(Op::Attention, heads, Dtype::F32).flop(), 4.0 * 2.0 * 8.0 * 9.0);
        assert_eq!(case(Op::Decode, heads, Dtype::F32).bytes(), 4.0 * (2.0 * 48.0 + 2.0 * 32.0));
        let rows = Shape::Rows { rows: 4, d: 8 };
        assert_eq!(case(Op::AddNorm, rows, Dtype::F32).bytes(), 512.0);
        assert_eq!(case(Op::Add, rows, Dtype::Bf16).bytes(), 192.0);
    }

    #[test]
    fn a_figure_is_work_over_time() {
        let linear = case(Op::Gemm, Shape::Square { n: 1000 }, Dtype::F32);
        assert_eq!(linear.figure(0.5), 4.0);
        let add = case(Op::Add, Shape::Rows { rows: 1, d: 1 << 20 }, Dtype::F32);
        assert_eq!(add.figure(12.0 * (1 << 20) as f64 / 1e9), 1.0);
    }

    #[test]
    fn labels() {
        assert_eq!(case(Op::Add, Shape::Rows { rows: 1, d: 64 << 20 }, Dtype::F32).label(), "64M");
        assert_eq!(case(Op::Gelu, Shape::Rows { rows: 1, d: 1000 }, Dtype::F32).label(), "1000");
        let cold = Case { cold: true, ..case(Op::Gemv, Shape::Linear { m: 1, n: 6, k: 2 }, Dtype::F32) };
        assert_eq!(cold.label(), "m1 n6 k2 cold");
        assert_eq!(Op::LayerNorm.to_string(), "layer_norm");
    }
}
