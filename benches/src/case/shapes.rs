//! The shapes of the released 2B, 4B and 8B models and of their vision towers.

use super::{Case, Dtype, Op, Shape};

/// `[out, in]` of the linear layers of one decoder layer. Query, key and output projections, gate (as up), down.
pub const LAYERS: [(usize, usize); 13] = [
    // 2B: hidden 2048, 16 heads and 8 key heads of 128, intermediate 6144.
    (2048, 2048),
    (1024, 2048),
    (6144, 2048),
    (2048, 6144),
    // 4B: hidden 2560, 32 heads and 8 key heads of 128, intermediate 9728.
    (4096, 2560),
    (1024, 2560),
    (2560, 4096),
    (9728, 2560),
    (2560, 9728),
    // 8B: hidden 4096, 32 heads and 8 key heads of 128, intermediate 12288.
    (4096, 4096),
    (1024, 4096),
    (12288, 4096),
    (4096, 12288),
];

/// `[out, in]` of one vision block: hidden 1024, intermediate 4096. Query, key and value; projection; both layers of
/// the MLP.
const VISION: [(usize, usize); 4] = [(3072, 1024), (1024, 1024), (4096, 1024), (1024, 4096)];

/// Heads, key heads and head size of the decoders, 2B and 8B (4B is as 8B).
const DECODERS: [(usize, usize, usize); 2] = [(16, 8, 128), (32, 8, 128)];

/// A choice of shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Shapes {
    /// Every one.
    All,
    /// A few of each operation, each goal's among them: what a recorded table has.
    Standard,
    /// One or two of each kind, those of the 2B model.
    Quick,
}

impl Shapes {
    /// The cases of `op` in `dtype`.
    pub fn cases(self, op: Op, dtype: Dtype) -> Vec<Case> {
        let wanted = match self {
            Self::All => return cases(op, dtype),
            Self::Standard => list_standard(op),
            Self::Quick => list_quick(op),
        };
        cases(op, dtype).into_iter().filter(|case| wanted.contains(&case.label().as_str())).collect()
    }
}

/// Every case of `op` in `dtype`.
pub fn cases(op: Op, dtype: Dtype) -> Vec<Case> {
    let case = |shape, cold| Case { op, shape, dtype, cold };
    let linear = |m, (n, k)| case(Shape::Linear { m, n, k }, m <= 128);
    match op {
        Op::Gemm => {
            let text = [128, 512, 2048].into_iter().flat_map(|m| LAYERS.map(|layer| linear(m, layer)));
            let vision = [1024, 4096].into_iter().flat_map(|m| VISION.map(|layer| linear(m, layer)));
            let squares = [64, 128, 256, 512, 1024, 2048, 4096].map(|n| case(Shape::Square { n }, false));
            text.chain(vision).chain(squares).collect()
        }
        Op::Gemv => LAYERS.map(|layer| linear(1, layer)).into(),
        Op::Skinny => LAYERS.map(|layer| linear(16, layer)).into(),
        Op::Scaling => [LAYERS[0], LAYERS[2], LAYERS[3], LAYERS[11]].map(|layer| linear(512, layer)).into(),
        Op::Attention => {
            let lengths = [128, 512, 1024, 2048, 4096, 8192];
            DECODERS
                .into_iter()
                .flat_map(|(heads, kv_heads, dim)| {
                    lengths.map(|n| case(Shape::Heads { heads, kv_heads, queries: n, keys: n, dim }, false))
                })
                .collect()
        }
        Op::Vision => [64, 72]
            .into_iter()
            .flat_map(|dim| {
                [1024, 4096].map(|n| case(Shape::Heads { heads: 16, kv_heads: 16, queries: n, keys: n, dim }, false))
            })
            .collect(),
        Op::Decode => DECODERS
            .into_iter()
            .flat_map(|(heads, kv_heads, dim)| {
                [1024, 4096, 16384].map(|keys| case(Shape::Heads { heads, kv_heads, queries: 1, keys, dim }, true))
            })
            .collect(),
        Op::Softmax | Op::LayerNorm | Op::RmsNorm | Op::AddNorm => [
            (1, 2048, false),
            (64, 1024, false),
            (128, 2048, false),
            (64, 4096, false),
            (16384, 2048, true),
            (8192, 4096, true),
        ]
        .map(|(rows, d, cold)| case(Shape::Rows { rows, d }, cold))
        .into(),
        Op::Rope => [1, 128, 2048]
            .map(|n| case(Shape::Heads { heads: 16, kv_heads: 16, queries: n, keys: n, dim: 128 }, n == 2048))
            .into(),
        _ => [1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20]
            .map(|n| case(Shape::Rows { rows: 1, d: n }, n > 1 << 20))
            .into(),
    }
}

/// Labels of [`Shapes::Standard`].
fn list_standard(op: Op) -> &'static [&'static str] {
    match op {
        Op::Gemm => {
            &["m128 n6144 k2048 cold", "m512 n2048 k2048", "m512 n2048 k6144", "m2048 n2048 k2048", "m1024 n4096 k1024"]
        }
        Op::Gemv => &["m1 n6144 k2048 cold", "m1 n2048 k6144 cold"],
        Op::Skinny => &["m16 n6144 k2048 cold"],
        Op::Scaling => &["m512 n2048 k2048", "m512 n6144 k2048"],
        Op::Attention => &["h16/8 q512 k512 d128", "h16/8 q2048 k2048 d128", "h16/8 q4096 k4096 d128"],
        Op::Vision => &["h16/16 q1024 k1024 d64", "h16/16 q1024 k1024 d72", "h16/16 q4096 k4096 d64"],
        Op::Decode => &["h16/8 q1 k4096 d128 cold"],
        Op::Softmax | Op::LayerNorm | Op::RmsNorm | Op::AddNorm => &["128x2048", "16384x2048 cold"],
        Op::Rope => &["h16 l1 d128", "h16 l128 d128"],
        Op::Gelu | Op::Add => &["1K", "256K", "16M cold"],
        Op::Exp | Op::Mul => &["1K", "256K"],
        _ => &["256K", "16M cold"],
    }
}

/// Labels of [`Shapes::Quick`].
fn list_quick(op: Op) -> &'static [&'static str] {
    match op {
        Op::Gemm => &["m128 n6144 k2048 cold", "m512 n2048 k2048", "square 64", "square 512"],
        Op::Gemv => &["m1 n6144 k2048 cold"],
        Op::Skinny => &["m16 n6144 k2048 cold"],
        Op::Scaling => &["m512 n2048 k2048"],
        Op::Attention => &["h16/8 q512 k512 d128"],
        Op::Vision => &["h16/16 q1024 k1024 d64"],
        Op::Decode => &["h16/8 q1 k4096 d128 cold"],
        Op::Softmax | Op::LayerNorm | Op::RmsNorm | Op::AddNorm => &["128x2048", "16384x2048 cold"],
        Op::Rope => &["h16 l128 d128"],
        Op::Gelu | Op::Add => &["1K", "256K", "16M cold"],
        _ => &["1K", "256K"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn every_operation_has_cases_and_quick_ones() {
        for &op in Op::value_variants() {
            for dtype in Dtype::ALL {
                assert!(!cases(op, dtype).is_empty(), "{op}");
                let quick = Shapes::Quick.cases(op, dtype).len();
                assert_eq!(quick, list_quick(op).len(), "{op}");
                let standard = Shapes::Standard.cases(op, dtype).len();
                assert_eq!(standard, list_standard(op).len(), "{op}");
                assert!((1..=4).contains(&quick) && (1..=5).contains(&standard), "{op}: {quick}, {standard}");
            }
        }
    }

    #[test]
    fn labels_tell_cases_apart() {
        for &op in Op::value_variants() {
            let mut labels: Vec<_> = cases(op, Dtype::F32).iter().map(Case::label).collect();
            let count = labels.len();
            labels.sort();
            labels.dedup();
            assert_eq!(labels.len(), count, "{op}");
        }
    }
}
