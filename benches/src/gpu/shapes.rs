//! The shapes of Qwen3-VL-2B, and small ones.

use super::case::Op;
use crate::case::Shape;

/// A choice of shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Shapes {
    /// Those of Qwen3-VL-2B.
    #[value(name = "2b")]
    B2,
    /// Small ones: every kernel, in a minute on a software device.
    Small,
}

/// `[out, in]` of the linear layers of a decoder layer: query and output projection, gate (as up), down.
const LAYERS: [(usize, usize); 3] = [(2048, 2048), (6144, 2048), (2048, 6144)];

/// Rows: a token, a few, a picture, a prompt.
const ROWS: [usize; 4] = [1, 16, 128, 512];

impl Shapes {
    /// The shapes of an operation.
    pub fn list(self, op: Op) -> Vec<Shape> {
        match self {
            Self::B2 => list_2b(op),
            Self::Small => list_small(op),
        }
    }

    /// Bytes that sets of operands add up to at least, so that no cache holds them: the largest of today's cards have
    /// 50 to 128 MB. Small shapes are not rotated.
    pub fn cold_bytes(self) -> usize {
        match self {
            Self::B2 => 256 << 20,
            Self::Small => 0,
        }
    }
}

fn linears<const N: usize>(ms: [usize; N], n: usize, k: usize) -> Vec<Shape> {
    ms.map(|m| Shape::Linear { m, n, k }).into()
}

fn rows<const N: usize>(sizes: [(usize, usize); N]) -> Vec<Shape> {
    sizes.map(|(rows, d)| Shape::Rows { rows, d }).into()
}

fn heads<const N: usize>(heads: usize, kv_heads: usize, dim: usize, lengths: [(usize, usize); N]) -> Vec<Shape> {
    lengths.map(|(queries, keys)| Shape::Heads { heads, kv_heads, queries, keys, dim }).into()
}

fn list_2b(op: Op) -> Vec<Shape> {
    match op {
        Op::Linear => LAYERS.into_iter().flat_map(|(n, k)| linears(ROWS, n, k)).collect(),
        Op::MlpGated => linears(ROWS, 6144, 2048),
        Op::NormLinears => linears(ROWS, 4096, 2048),
        // A token, a prompt, and what fills a card.
        Op::AddNorm | Op::RmsNorm => rows([(1, 2048), (512, 2048), (16_384, 2048)]),
        Op::LayerNorm => rows([(1024, 1024), (16_384, 2048)]),
        Op::Softmax => rows([(1, 151_936), (512, 2048), (16_384, 2048)]),
        Op::QkNormRope => heads(16, 8, 128, [(1, 1), (512, 512), (8192, 8192)]),
        Op::Attention => heads(16, 8, 128, [(512, 512), (1024, 1024), (2048, 2048)]),
        Op::Decode => heads(16, 8, 128, [(1, 4096)]),
        Op::Vision => heads(16, 16, 64, [(1024, 1024)]),
        Op::GeluTanh => rows([(1024, 4096), (16_384, 2048)]),
        Op::GeluErf => rows([(256, 4096), (16_384, 2048)]),
        Op::Silu => rows([(512, 6144), (16_384, 2048)]),
        Op::Embedding => linears([1, 512], 32_768, 2048),
    }
}

fn list_small(op: Op) -> Vec<Shape> {
    match op {
        Op::Linear | Op::MlpGated | Op::NormLinears => linears([1, 64], 256, 128),
        Op::QkNormRope => heads(4, 2, 64, [(8, 8)]),
        Op::Attention => heads(4, 2, 64, [(32, 32)]),
        Op::Decode => heads(4, 2, 64, [(1, 128)]),
        Op::Vision => heads(4, 4, 64, [(32, 32)]),
        Op::Embedding => linears([8], 64, 128),
        _ => rows([(8, 256)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::case::{Case, Dtype};
    use clap::ValueEnum;

    #[test]
    fn every_operation_has_shapes_that_fit_a_small_card() {
        for &op in Op::value_variants() {
            for shapes in [Shapes::B2, Shapes::Small] {
                let list = shapes.list(op);
                assert!(!list.is_empty(), "{op}");
                for shape in list {
                    let bytes = Case { op, shape, dtype: Dtype::F32 }.operand_bytes();
                    assert!(bytes <= 512 << 20, "{op} {shape:?}: {bytes}");
                }
            }
        }
    }
}
