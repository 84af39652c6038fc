//! Kernels of Kiln and the same ops on plain Flex, for regressions; some seconds. Run alone on the machine: `cargo
//! bench -p kiln-benches`.
//!
//! The bench `kernels` measures against limits and other libraries; this keeps what criterion is good at, a comparison
//! with the last run.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kiln_benches::case::{Case, Dtype, Op, Shape, Unit};
use kiln_benches::engines::{self, FLEX, KILN, KILN_PACKED, Peer, Place};
use kiln_benches::isa::Isa;
use kiln_benches::operands::Operands;
use kiln_benches::session::configure;
use rayon::ThreadPoolBuilder;
use std::sync::Arc;
use std::time::Duration;

/// Sizes of a 2B model's layers: a prompt, one token, and rows of activations. In cache, where they fit.
fn cases() -> Vec<Case> {
    let linear = |m| Shape::Linear { m, n: 2048, k: 2048 };
    let heads = |queries, keys| Shape::Heads { heads: 16, kv_heads: 8, queries, keys, dim: 128 };
    let rows = Shape::Rows { rows: 128, d: 2048 };
    let both = [
        (Op::Gemm, linear(128)),
        (Op::Gemv, linear(1)),
        (Op::Attention, heads(512, 512)),
        (Op::Decode, heads(1, 4096)),
        (Op::Softmax, rows),
        (Op::LayerNorm, rows),
        (Op::RmsNorm, rows),
        (Op::Gelu, rows),
        (Op::Add, rows),
    ];
    let case = |(op, shape), dtype| Case { op, shape, dtype, cold: false };
    Dtype::ALL.into_iter().flat_map(|dtype| both.map(|pair| case(pair, dtype))).collect()
}

fn bench_all(criterion: &mut Criterion) {
    let pool = Arc::new(ThreadPoolBuilder::new().build().expect("threads can be started"));
    for case in cases() {
        let config = Arc::new(configure(Isa::best(), None, pool.current_num_threads(), &case));
        let place = Place { pool: Arc::clone(&pool), config };
        let operands = Operands::random(&case);
        let mut group = criterion.benchmark_group(format!("{} {}", case.op, case.dtype));
        group.throughput(match case.unit() {
            // Floating-point operations, not elements.
            Unit::Gflops => Throughput::Elements(case.flop() as u64),
            Unit::Gbytes => Throughput::Bytes(case.bytes() as u64),
        });
        let (engines, _) = engines::prepare(&case, &operands, &place, &place, &[Peer::Flex]);
        for mut engine in engines {
            // Flex in bf16 takes a second a call for some of these, and nothing of ours could make it slower.
            let is_ours = [KILN, KILN_PACKED].contains(&engine.name());
            if !is_ours && (engine.name() != FLEX || case.dtype == Dtype::Bf16) {
                continue;
            }
            group.bench_function(BenchmarkId::new(engine.name().to_string(), case.label()), |bencher| {
                bencher.iter_custom(|calls| engine.run(calls as usize).expect("it runs these shapes"));
            });
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(300));
    targets = bench_all
}
criterion_main!(benches);
