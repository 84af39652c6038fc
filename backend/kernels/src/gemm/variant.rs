//! Which algorithm a product runs.

use crate::gemm::shape::{Layout, ProductShape};
use crate::simd::{PANEL, Tier};
use core::fmt;
use serde::{Deserialize, Serialize};

/// The algorithms of a product `[m, k] · [k, n]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// Few rows against B whose columns are contiguous (a weight `[n, k]`): dot products (gemv/dots.rs).
    Dot,
    /// Few rows against B whose rows are contiguous: B is streamed row by row into the output (gemv/axpy.rs).
    Axpy,
    /// Packing would not pay: the register tile reads a strided A, and B too if its rows are contiguous f32.
    Unpacked,
    /// Packed blocks.
    Blocked,
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dot => "dot products",
            Self::Axpy => "rows of B",
            Self::Unpacked => "tiles of strided operands",
            Self::Blocked => "packed blocks",
        })
    }
}

/// Up to this many rows of A, B is read once and not packed: packing writes and reads B once more, which that many rows
/// of arithmetic do not pay for. (At 16 rows of a 2048 x 2048 weight that is in the L3 cache: 116 against 87 GFLOP/s on
/// AVX-512 and 68 against 58 on AVX2; packed, 130 against 82 and 80 against 66.)
pub const GEMV_ROWS: usize = 16;

/// Rows and columns, and depth, up to which both operands are in the L1 or L2 cache and packing takes a good part of
/// the time of multiplying. (Without packing against with it, one thread: AVX2 24³ 1.5, 48³ 1.25, 96³ 1.1, 64 x 64 x
/// 256 1.15, 128³ 1.07; AVX-512 32³ 1.2 to 1.5, 48³ 0.9 to 1.06, 64³ 1.0, 80³ 0.9.)
fn unpacked_sizes(tier: Tier) -> [usize; 2] {
    match tier {
        Tier::Portable => [64, 64],
        Tier::Avx2 => [128, 256],
        _ => [32, 32],
    }
}

/// Up to this many columns of B, an element of A is used too seldom to be packed: two register tiles of AVX2, one of
/// AVX-512. (1000 x 30 x 500: 1.3 to 1.4 of the speed with packing on both.)
const UNPACKED_COLS: usize = 32;

/// The depth up to which those columns of B stay in the L2 cache beside A.
const UNPACKED_DEPTH: usize = 704;

impl Variant {
    /// Whether this algorithm can multiply operands of `shape`.
    pub fn applies(self, shape: &ProductShape) -> bool {
        let gemv = shape.m <= GEMV_ROWS;
        match self {
            Self::Dot => gemv && matches!(shape.layout, Layout::Columns | Layout::Packed),
            Self::Axpy => gemv && shape.layout == Layout::Rows,
            Self::Unpacked => shape.a.is_f32() && shape.layout != Layout::Packed,
            Self::Blocked => true,
        }
    }

    /// The algorithm by constants of `tier`: what runs without a plan.
    pub fn choose(tier: Tier, shape: &ProductShape) -> Self {
        let &ProductShape { m, n, k, layout, .. } = shape;
        let in_place = shape.b.is_f32() && layout == Layout::Rows;
        let [most, deepest] = unpacked_sizes(tier);
        let small = m <= most && n <= most && k <= deepest;
        let narrow = n <= UNPACKED_COLS && k <= UNPACKED_DEPTH;
        let by_preference = [
            // Less than a tile is left to the algorithms for few rows.
            (Self::Unpacked, m >= 4 && n >= PANEL && small && in_place),
            (Self::Dot, true),
            (Self::Axpy, true),
            (Self::Unpacked, narrow || (small && in_place)),
        ];
        by_preference
            .into_iter()
            .find(|&(variant, wanted)| wanted && variant.applies(shape))
            .map_or(Self::Blocked, |(variant, _)| variant)
    }

    /// Whether a norm of A's rows is applied while they are packed, or else once before, into a buffer of `[m, k]`.
    ///
    /// Where A is packed, applying it then moves fewer bytes, so there is nothing to choose: a pass before reads 4
    /// bytes an element, writes 4 and has them read again by packing, 12 in all. Fused, rows are measured and packed
    /// while they are in the cache, 4 bytes, or measured first and read again by parts that pack for themselves, 8.
    /// Those parts apply the norm again for every `nc` columns: three operations an element beside `nc` multiply-adds,
    /// two thousandths. Algorithms that do not pack A would apply it for every tile of columns: they take normalised
    /// rows, mostly 16 at most.
    pub fn fuses_norm(self) -> bool {
        self == Self::Blocked
    }
}
