//! The limit of a case: what the machine's peaks leave it.

use crate::case::{Case, Op, Unit};
use crate::peaks::Peaks;
use serde::{Deserialize, Serialize};

/// The most that a case can reach, in its unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// GFLOP/s or GB/s.
    pub figure: f64,
    /// What sets it: the instruction of the arithmetic peak, or a bandwidth.
    pub name: String,
}

/// The limit of `case`.
///
/// - GFLOP/s: `min(peak, intensity · bandwidth)` with `intensity = FLOP / bytes` and the bandwidth of reading
///   (Williams, Waterman and Patterson, "Roofline", CACM 52(4), 2009). A case that stays in cache has no memory to wait
///   for: only the peak counts.
/// - GB/s out of cache: the bandwidth of reading where nearly nothing is written (products of few rows, attention of
///   one query), else of the better way to copy. Products of few rows are held to the arithmetic peak as well.
/// - GB/s in cache: the bandwidth of a copy of that size.
pub fn limit(case: &Case, peaks: &Peaks) -> Limit {
    let (arithmetic, instruction) = peaks.arithmetic(case.dtype);
    let intensity = case.flop() / case.bytes();
    match case.unit() {
        Unit::Gflops => {
            let memory = intensity * peaks.memory.read;
            match case.cold && memory < arithmetic {
                true => Limit { figure: memory, name: "read".into() },
                false => Limit { figure: arithmetic, name: instruction.into() },
            }
        }
        Unit::Gbytes if matches!(case.op, Op::Gemv | Op::Skinny | Op::Decode) => {
            let compute = arithmetic / intensity;
            match compute < peaks.memory.read {
                true => Limit { figure: compute, name: instruction.into() },
                false => Limit { figure: peaks.memory.read, name: "read".into() },
            }
        }
        Unit::Gbytes => match peaks.copy_within(case.bytes()).filter(|_| !case.cold) {
            Some(figure) => Limit { figure, name: "cached copy".into() },
            None => Limit { figure: peaks.memory.best_copy(), name: "copy".into() },
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{Dtype, Shape};
    use crate::peaks::{Bandwidth, Bf16Peak, CachedCopy};

    fn peaks() -> Peaks {
        Peaks {
            isa: "avx512".into(),
            threads: 2,
            fma: 500.0,
            bf16: Some(Bf16Peak { instruction: "vdpbf16ps", gflops: 1000.0 }),
            memory: Bandwidth { read: 40.0, copy: 30.0, copy_streaming: Some(36.0) },
            cached_copy: vec![CachedCopy { bytes: 1 << 20, gbytes: 200.0 }],
            states: Default::default(),
        }
    }

    fn case(op: Op, shape: Shape, dtype: Dtype, cold: bool) -> Limit {
        limit(&Case { op, shape, dtype, cold }, &peaks())
    }

    #[test]
    fn arithmetic_limits_large_products() {
        let shape = Shape::Linear { m: 512, n: 2048, k: 2048 };
        assert_eq!(case(Op::Gemm, shape, Dtype::F32, false), Limit { figure: 500.0, name: "fma".into() });
        assert_eq!(case(Op::Gemm, shape, Dtype::Bf16, true), Limit { figure: 1000.0, name: "vdpbf16ps".into() });
    }

    #[test]
    fn memory_limits_products_of_few_rows() {
        // 2·8·n·k FLOP over about 4·n·k bytes: 4 FLOP a byte, 160 GFLOP/s of 500.
        let shape = Shape::Linear { m: 8, n: 4096, k: 4096 };
        let limit = case(Op::Gemm, shape, Dtype::F32, true);
        assert_eq!(limit.name, "read");
        assert!((limit.figure - 160.0).abs() < 2.0, "{limit:?}");
        assert_eq!(case(Op::Gemv, shape, Dtype::F32, true), Limit { figure: 40.0, name: "read".into() });
        // 16 rows of bf16 at 500 GFLOP/s would be read at 500 / 16 GB/s.
        let mut slow = peaks();
        slow.bf16 = None;
        let skinny = Case {
            op: Op::Skinny,
            shape: Shape::Linear { m: 16, n: 1 << 16, k: 1 << 16 },
            dtype: Dtype::Bf16,
            cold: true,
        };
        assert!((limit_of(&skinny, &slow) - 500.0 / 16.0).abs() < 0.1);
    }

    fn limit_of(case: &Case, peaks: &Peaks) -> f64 {
        limit(case, peaks).figure
    }

    #[test]
    fn copies_limit_rows() {
        let rows = |rows| Shape::Rows { rows, d: 1024 };
        assert_eq!(case(Op::Softmax, rows(1 << 16), Dtype::F32, true), Limit { figure: 36.0, name: "copy".into() });
        assert_eq!(case(Op::Softmax, rows(64), Dtype::F32, false), Limit { figure: 200.0, name: "cached copy".into() });
    }
}
